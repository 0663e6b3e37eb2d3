"""Check effects by what the load's clients saw: late answers, and requests without an answer.

Clients know no component and no zone, so their history proves less than metrics of the targets. It is used only where
no other evidence exists.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from kit.faults.proofs.paperbroker_metrics import NOT_OVER, UNKNOWN_EXPECTED, slow_over_ms
from kit.faults.proofs.proof_context import Action, Proof, ProofContext, unproven
from kit.faults.proofs.rates import Tally, combine, judge_share
from kit.faults.proofs.windows import Windows, windows_of
from kit.model import NS_PER_MS, NS_PER_S, WARM_UP_S

# One zone of two gets half of all requests, but a load balancer may prefer targets that answer, and requests of the
# last seconds of a short fault are answered after it.
ZONE_EXPECTED = 0.2
# Statuses by which a load balancer reports that it could not reach a target.
GATEWAY_STATUSES = (502, 503, 504)
# Attempts are grouped by the second of their intended send.
SPREAD_S = 1.0
NO_HISTORY = "no client's history"


def prove_slow_clients(
    context: ProofContext, action: Action, *, added_ms: float | None = None, expected: float = UNKNOWN_EXPECTED
) -> Proof:
    """Check that orders took longer from intended send to answer while the action was in force, and not after it."""
    windows = windows_of(context, action)
    firsts = _firsts(context)
    if windows is None or firsts is None:
        return unproven(NOT_OVER if windows is None else NO_HISTORY)
    took_ms = (firsts["completed_ns"] - firsts["intended_ns"]).to_numpy() / NS_PER_MS
    times = firsts["intended_ns"].to_numpy() / NS_PER_S
    usual = took_ms[times <= windows.injected_at]
    if not len(usual):
        return unproven("clients: no order before the fault")
    over_ms = slow_over_ms(float(np.quantile(usual, 0.9)), added_ms)
    return _judge(times, took_ms > over_ms, windows, expected=expected, words=f"took over {over_ms:.0f} ms")


def prove_failed_clients(context: ProofContext, action: Action) -> Proof:
    """Check that requests timed out or got 502, 503 or 504 while the action was in force, and not after it."""
    windows = windows_of(context, action)
    firsts = _firsts(context)
    if windows is None or firsts is None:
        return unproven(NOT_OVER if windows is None else NO_HISTORY)
    failed = (firsts["outcome"] == "info").to_numpy() | firsts["status"].isin(GATEWAY_STATUSES).to_numpy()
    times = firsts["intended_ns"].to_numpy() / NS_PER_S
    return _judge(times, failed, windows, expected=ZONE_EXPECTED, words="got no answer of the API")


def _firsts(context: ProofContext) -> pd.DataFrame | None:
    """Return the first attempts of orders after the load's warm-up; later attempts depend on the first ones."""
    if context.attempts is None or context.attempts.empty:
        return None
    attempts = context.attempts
    warm_ns = attempts["intended_ns"].min() + int(WARM_UP_S * NS_PER_S)
    chosen = (attempts["kind"] == "first") & (attempts["op"] == "order") & (attempts["intended_ns"] >= warm_ns)
    return attempts.loc[chosen]


def _judge(times: np.ndarray, odd: np.ndarray, windows: Windows, *, expected: float, words: str) -> Proof:
    """Judge the share of affected orders, grouped by the second of their intended send."""
    seconds, of = np.unique(np.floor(times), return_inverse=True)
    counts, odds = np.bincount(of), np.bincount(of, weights=odd)
    tallies = [
        Tally(t=float(t) + SPREAD_S, n=float(n), x=float(x)) for t, n, x in zip(seconds, counts, odds, strict=True)
    ]
    seen = judge_share(tallies, windows, expected=expected, place="all", words=words, spread_s=SPREAD_S)
    return combine([seen], "orders of clients")
