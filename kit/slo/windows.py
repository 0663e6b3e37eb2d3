"""Measure recovery: the time until the history meets the steady-state objectives for a sustained stretch.

Recovery is the first stretch of STRETCH_S in which the objectives hold. A later relapse does not undo it: the phase
`after` has objectives of its own, which judge all of its time.
"""

from __future__ import annotations

from collections.abc import Sequence

from kit.model import NS_PER_S, Phase
from kit.slo import blips
from kit.slo.objectives import Metric, Objective
from kit.slo.samples import Table, first_orders, is_error, latency_ms, percentile, within

# A stretch may begin at every full second. At 50 orders a second the p95 of one second is its third slowest order, so
# a stretch lasts several, and its worst second is left out as in every phase (`kit.slo.blips`).
STEP_S = 1.0
STRETCH_S = 5.0
# The last stretches are cut off by the end of the load. A shorter one proves nothing.
STRETCH_S_MIN = 3.0
# Metrics that can be measured in one stretch, with their percentile.
BY_WINDOW = {
    Metric.LATENCY_MS_P50: 50,
    Metric.LATENCY_MS_P95: 95,
    Metric.LATENCY_MS_P99: 99,
    Metric.ERROR_RATE: None,
}


def recovery_s(attempts: Table, *, since: float, until: float, steady: Sequence[Objective]) -> float | None:
    """Return the seconds from `since` to the start of the first stretch that meets `steady` (epoch s).

    None if no stretch up to `until` does. Objectives that cannot be measured in a stretch are ignored.
    """
    asked = [one for one in steady if Metric(one.metric) in BY_WINDOW]
    rest = within(attempts, "intended_ns", Phase(name="rest", start=since, end=until))
    firsts = first_orders(rest)
    starts = range(max(1, int((until - since - STRETCH_S_MIN) / STEP_S) + 1))
    for start in (since + step * STEP_S for step in starts):
        stretch = Phase(name="stretch", start=start, end=min(start + STRETCH_S, until))
        if _steady(within(rest, "intended_ns", stretch), within(firsts, "intended_ns", stretch), stretch, asked):
            return start - since
    return None


def _steady(attempts: Table, firsts: Table, stretch: Phase, steady: Sequence[Objective]) -> bool:
    """Return whether the objectives hold in a stretch; one without a first attempt at an order shows nothing."""
    is_whole = stretch.end - stretch.start >= STRETCH_S
    return not firsts.empty and all(_met(one, attempts, firsts, is_whole) for one in steady)


def _met(one: Objective, attempts: Table, firsts: Table, is_whole: bool) -> bool:
    """Return whether one objective holds. A stretch that is cut off is too short to leave a second out."""
    percentage = BY_WINDOW[Metric(one.metric)]
    if percentage is None:
        errors = is_error(attempts)
        return one.met(blips.share(attempts["intended_ns"] / NS_PER_S, errors) if is_whole else float(errors.mean()))
    took_ms = latency_ms(firsts)
    if is_whole:
        return one.met(blips.percentile(firsts["intended_ns"] / NS_PER_S, took_ms, percentage))
    return one.met(percentile(took_ms, percentage))
