"""Measure recovery: the time until every later window of the history meets the steady-state objectives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kit.model import NS_PER_S
from kit.slo.objectives import Metric, Objective
from kit.slo.samples import Table, first_orders, is_error, latency_ms, percentile

# Windows begin every second and last five seconds. At 50 orders a second the p95 of one second is its third slowest
# order, and one slow second of a shared machine does not mean that the system has not recovered.
STEP_S = 1.0
WINDOW_STEPS = 5
# Metrics that can be measured in one window, with their percentile.
BY_WINDOW = {
    Metric.LATENCY_MS_P50: 50,
    Metric.LATENCY_MS_P95: 95,
    Metric.LATENCY_MS_P99: 99,
    Metric.ERROR_RATE: None,
}


def recovery_s(attempts: Table, *, since: float, until: float, steady: Sequence[Objective]) -> float | None:
    """Return the seconds from `since` (epoch s) until every window up to `until` meets `steady`.

    None if the last window does not, or if nothing was sent. A window in which no send was scheduled counts as the one
    after it. Objectives that cannot be measured in a window are ignored.
    """
    good = _windows(attempts, since, until, [one for one in steady if Metric(one.metric) in BY_WINDOW])
    measured = [number for number, met in enumerate(good) if met is not None]
    if not measured or not good[measured[-1]]:
        return None
    bad = [number for number in measured if not good[number]]
    if not bad:
        return 0.0
    return (bad[-1] + 1) * STEP_S


def _windows(attempts: Table, since: float, until: float, steady: Sequence[Objective]) -> list[bool | None]:
    """Return for each window whether it was steady; None if no send was scheduled in it."""
    count = max(1, int((until - since) / STEP_S) - WINDOW_STEPS + 1)
    step = np.floor((attempts["intended_ns"] - int(since * NS_PER_S)) / (STEP_S * NS_PER_S)).astype("int64")
    firsts = first_orders(attempts)
    latency = dict(iter(latency_ms(firsts).groupby(step[firsts.index])))
    errors = dict(iter(is_error(attempts).groupby(step)))
    return [_steady(_joined(latency, step), _joined(errors, step), steady) for step in range(count)]


def _joined(by_step: dict[int, Table], first: int) -> Table | None:
    """Join the samples of the window that begins with the step `first`."""
    parts = [by_step[step] for step in range(first, first + WINDOW_STEPS) if step in by_step]
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
