"""Heartbeats: what a busy machine makes of a healthy task is no silence, what a frozen one leaves out is."""

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
def test_the_rate_is_that_of_the_pauses_between_beats(beats: list[tuple[float, float]], rate: float | None):
    """Three beats in ten seconds are one each five seconds: counted as three, a healthy task seemed to fall silent."""
    assert _rate(beats) == rate
