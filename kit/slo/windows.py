"""When was it steady again: seconds of the history against the steady objectives.

Owns recovery; must not know phases' names.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kit.slo.objective import Metric, Objective
from kit.slo.samples import NS, Table, first_orders, is_error, latency_ms, percentile

WINDOW_S = 1.0
# Metrics that one second of history can answer.
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
    return (bad[-1] + 1) * WINDOW_S


def _windows(attempts: Table, since: float, until: float, steady: Sequence[Objective]) -> list[bool | None]:
    """Per whole window whether it was steady; None if nothing was meant to be sent in it."""
    count = int((until - since) / WINDOW_S)
    window = np.floor((attempts["intended_ns"] - int(since * NS)) / (WINDOW_S * NS)).astype("int64")
    firsts = first_orders(attempts)
    latency = dict(iter(latency_ms(firsts).groupby(window[firsts.index])))
    errors = dict(iter(is_error(attempts).groupby(window)))
    return [_steady(latency.get(place), errors.get(place), steady) for place in range(count)]


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
