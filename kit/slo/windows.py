"""When was it steady again: windows of the history against the steady objectives.

Owns recovery; must not know phases' names.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kit.model import NS_PER_S
from kit.slo.objectives import Metric, Objective
from kit.slo.samples import Table, first_orders, is_error, latency_ms, percentile

# Windows begin every second and last five: at 50 orders a second, one second's p95 is its third slowest order, and a
# single slow second of a shared machine is not a system that has not recovered.
STEP_S = 1.0
WINDOW_STEPS = 5
# Metrics that one window can answer.
BY_WINDOW = {
    Metric.LATENCY_MS_P50: 50,
    Metric.LATENCY_MS_P95: 95,
    Metric.LATENCY_MS_P99: 99,
    Metric.ERROR_RATE: None,
}


def recovery_s(attempts: Table, *, since: float, until: float, steady: Sequence[Objective]) -> float | None:
    """Seconds from `since` (epoch s) to the first window from which every window until `until` keeps to `steady`.

    None if the last window does not, or if nothing was sent. A window in which nothing was meant to be sent says
    nothing and counts as the one after it. Objectives that a window cannot answer are left to the phase.
    """
    good = _windows(attempts, since, until, [one for one in steady if Metric(one.metric) in BY_WINDOW])
    said = [place for place, met in enumerate(good) if met is not None]
    if not said or not good[said[-1]]:
        return None
    bad = [place for place in said if not good[place]]
    if not bad:
        return 0.0
    return (bad[-1] + 1) * STEP_S


def _windows(attempts: Table, since: float, until: float, steady: Sequence[Objective]) -> list[bool | None]:
    """Per whole window whether it was steady; None if nothing was meant to be sent in it."""
    count = max(1, int((until - since) / STEP_S) - WINDOW_STEPS + 1)
    step = np.floor((attempts["intended_ns"] - int(since * NS_PER_S)) / (STEP_S * NS_PER_S)).astype("int64")
    firsts = first_orders(attempts)
    latency = dict(iter(latency_ms(firsts).groupby(step[firsts.index])))
    errors = dict(iter(is_error(attempts).groupby(step)))
    return [_steady(_joined(latency, place), _joined(errors, place), steady) for place in range(count)]


def _joined(by_step: dict[int, Table], place: int) -> Table | None:
    """The samples of the window that begins with the step `place`."""
    parts = [by_step[step] for step in range(place, place + WINDOW_STEPS) if step in by_step]
    return pd.concat(parts) if parts else None


def _steady(latency: Table | None, errors: Table | None, steady: Sequence[Objective]) -> bool | None:
    if errors is None:
        return None
    for one in steady:
        share = BY_WINDOW[Metric(one.metric)]
        if share is None and not one.met(float(errors.mean())):
            return False
        if share is not None and latency is not None and not one.met(percentile(latency, share)):
            return False
    return True
