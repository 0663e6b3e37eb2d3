"""Measure latencies and errors without the worst second: one blip of a shared machine is no property of a build.

In a phase of a few seconds, one slow second is more than the 5 % of samples that a p95 allows. A build that is slow or
fails for longer still breaks its objective: BLIP_S is all that is left out, once in a phase or window.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# The longest disturbance that says nothing about a build: a pause of the scheduler or of the collector of a neighbour.
BLIP_S = 1.0
# A second that holds more than half of the samples is what was measured, and not a disturbance of it.
LEFT_SHARE_MIN = 0.5

Values = Any


def percentile(times_s: Values, values: Values, share: int) -> float:
    """Return the percentile of the samples without the second whose removal lowers it most.

    The smallest sample that at least `share` percent of the others do not exceed, as in `kit.slo.samples.percentile`.
    A second with more than half of the samples stays in. Raises ValueError without samples.
    """
    order = np.argsort(np.asarray(times_s, dtype="float64"), kind="stable")
    at, sizes = np.asarray(times_s, dtype="float64")[order], np.asarray(values, dtype="float64")[order]
    if not len(at):
        raise ValueError("no samples have no percentile")
    levels = np.unique(sizes)

    def holds(level: float) -> bool:
        left, over = _left(at, sizes > level)
        return bool((over <= left - np.ceil(left * share / 100)).any())

    # The smallest level that holds; it holds for the greatest sample, which nothing exceeds.
    low, high = 0, len(levels) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(levels[middle]) else (middle + 1, high)
    return float(levels[low])


def share(times_s: Values, bad: Values) -> float:
    """Return the share of bad samples without the second that holds most of them. Raises ValueError without samples."""
    order = np.argsort(np.asarray(times_s, dtype="float64"), kind="stable")
    at, wrong = np.asarray(times_s, dtype="float64")[order], np.asarray(bad, dtype=bool)[order]
    if not len(at):
        raise ValueError("no samples have no share")
    left, wrong_left = _left(at, wrong)
    return float((wrong_left / left).min())


def _left(at: Values, bad: Values) -> tuple[Values, Values]:
    """Count the samples that are left, and the bad ones among them: without a blip, and without each possible one.

    The best second to leave out begins with a bad sample.
    """
    begins = np.searchsorted(at, at[bad], side="left")
    ends = np.searchsorted(at, at[bad] + BLIP_S, side="right")
    before = np.concatenate([[0], np.cumsum(bad)])
    left, bad_left = len(bad) - (ends - begins), before[-1] - (before[ends] - before[begins])
    enough = left >= LEFT_SHARE_MIN * len(bad)
    return np.concatenate([[len(bad)], left[enough]]), np.concatenate([[before[-1]], bad_left[enough]])
