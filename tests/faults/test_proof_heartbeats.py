"""Test heartbeat rates: missing heartbeats of a stopped task are silence, late ones of a healthy task are not."""

from __future__ import annotations

import pytest

from kit.faults.proofs.paperbroker_metrics import _rate


@pytest.mark.parametrize(
    ("beats", "rate"),
    [
        ([(0, 1), (5, 1), (10, 1)], 0.2),
        ([(10, 1), (0, 1), (5, 1)], 0.2),
        ([(0, 1), (2, 1), (5, 1), (7, 1), (10, 1), (12, 1)], 5 / 12),
        ([(0, 2), (5, 2), (10, 2)], 0.4),
        ([(7, 3)], None),
        ([], None),
    ],
)
def test_the_rate_counts_the_intervals_between_heartbeats(beats: list[tuple[float, float]], rate: float | None):
    """Three heartbeats in ten seconds are one each five seconds, not three in ten."""
    assert _rate(beats) == rate
