"""What the load's clients saw: answers that came late, answers that did not come. The rules are in tallies.py.

Owns which attempts count. Clients know no component and no zone, so what they saw proves less than what the targets
told, and is asked only where nothing else can know.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from kit.faults.proofs.paperbroker_metrics import NOT_OVER, UNKNOWN_EXPECTED, slow_over_ms
from kit.faults.proofs.proof_context import Action, Proof, Scene, unproven
from kit.faults.proofs.rates import Tally, combine, judge_share
from kit.faults.proofs.windows import Windows, windows_of
from kit.model import NS_PER_MS, NS_PER_S, WARM_UP_S

# A zone of two gets half of all requests, but a load balancer may prefer whoever answers, and what was sent in the last
# seconds of a short fault is answered after it.
ZONE_EXPECTED = 0.2
# Statuses with which a load balancer says that it could not reach a target.
GATEWAY_STATUSES = (502, 503, 504)
# Attempts are gathered by the second that they were meant for: it tells of nothing earlier.
SPREAD_S = 1.0
NO_HISTORY = "no client's history"


def prove_slow_clients(
    scene: Scene, action: Action, *, added_ms: float | None = None, expected: float = UNKNOWN_EXPECTED
) -> Proof:
    """Orders took longer from their intended send to their answer while the action was in force, and no more after."""
    windows = windows_of(scene, action)
    firsts = _firsts(scene)
    if windows is None or firsts is None:
        return unproven(NOT_OVER if windows is None else NO_HISTORY)
    took_ms = (firsts["completed_ns"] - firsts["intended_ns"]).to_numpy() / NS_PER_MS
    times = firsts["intended_ns"].to_numpy() / NS_PER_S
    usual = took_ms[times <= windows.injected_at]
    if not len(usual):
        return unproven("clients: no order before the fault")
    over_ms = slow_over_ms(float(np.quantile(usual, 0.9)), added_ms)
    return _judge(times, took_ms > over_ms, windows, expected=expected, words=f"took over {over_ms:.0f} ms")


def prove_failed_clients(scene: Scene, action: Action) -> Proof:
    """Requests timed out or were answered 502, 503 or 504 while the action was in force, and no more after."""
    windows = windows_of(scene, action)
    firsts = _firsts(scene)
    if windows is None or firsts is None:
        return unproven(NOT_OVER if windows is None else NO_HISTORY)
    failed = (firsts["outcome"] == "info").to_numpy() | firsts["status"].isin(GATEWAY_STATUSES).to_numpy()
    times = firsts["intended_ns"].to_numpy() / NS_PER_S
    return _judge(times, failed, windows, expected=ZONE_EXPECTED, words="got no answer of the API")


def _firsts(scene: Scene) -> pd.DataFrame | None:
    """First attempts of orders, the load's warm-up left out: what comes after them depends on them."""
    if scene.attempts is None or scene.attempts.empty:
        return None
    attempts = scene.attempts
    warm_ns = attempts["intended_ns"].min() + int(WARM_UP_S * NS_PER_S)
    chosen = (attempts["kind"] == "first") & (attempts["op"] == "order") & (attempts["intended_ns"] >= warm_ns)
    return attempts.loc[chosen]


def _judge(times: np.ndarray, odd: np.ndarray, windows: Windows, *, expected: float, words: str) -> Proof:
    """By second of the intended send, stamped with its end."""
    seconds, of = np.unique(np.floor(times), return_inverse=True)
    counts, odds = np.bincount(of), np.bincount(of, weights=odd)
    tallies = [
        Tally(t=float(t) + SPREAD_S, n=float(n), x=float(x)) for t, n, x in zip(seconds, counts, odds, strict=True)
    ]
    seen = judge_share(tallies, windows, expected=expected, place="all", words=words, spread_s=SPREAD_S)
    return combine([seen], "orders of clients")
