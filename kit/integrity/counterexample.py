"""The whole story of one order as a timeline: attempts, answers, ledger events, what is stored, the fault.

Owns the sentences and their order; must not know why the order is told about.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kit.integrity.evidence import Evidence, Table

# A story is read by a person: more steps than this hide the point.
STEPS_MAX = 24
# How many violations are told to find the shortest story among them.
CANDIDATES_MAX = 4
# Orders that hang together by one key, or through a trade, beyond which a story is nobody's.
RELATED_MAX = 6
REPLY_CHARS_MAX = 160

Step = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What to tell: orders and keys by number (with all that hangs on them), a stretch of a ledger, own steps."""

    orders: tuple[int, ...] = ()
    keys: tuple[int, ...] = ()
    stretch: tuple[str, int, int] | None = None  # market, first and last seq
    steps: tuple[Step, ...] = ()


def candidates(bad: np.ndarray) -> np.ndarray:
    return bad[:CANDIDATES_MAX]


def story(evidence: Evidence, subject: Story) -> list[Step]:
    """The steps of `subject` by time; at most `STEPS_MAX`, the cut said as a step of its own."""
    orders, keys = _related(evidence, subject)
    steps = [
        *_attempt_steps(evidence, orders, keys),
        *_event_steps(evidence, _events(evidence, orders, keys, subject)),
        *_stored_steps(evidence, orders),
        *subject.steps,
    ]
    if steps:
        steps += _fault_steps(evidence)
    return _capped(sorted(steps, key=lambda step: (step["t"] is None, step["t"] or 0.0, step.get("seq") or 0)))


def _related(evidence: Evidence, subject: Story) -> tuple[np.ndarray, np.ndarray]:
    """The subject's orders with all orders of their keys, and the keys of these."""
    orders, keys = np.array(subject.orders, dtype="int64"), np.array(subject.keys, dtype="int64")
    for table in (evidence.accepted, evidence.rejected, evidence.orders):
        keys = np.union1d(keys, table.loc[table["order_no"].isin(orders), "key_no"])
    if not keys.size and orders.size:
        # Never sequenced nor stored: only its client knows the key.
        keys = evidence.sent.loc[evidence.sent["order_no"].isin(orders), "key_no"].unique()
    keys = keys[keys >= 0][:RELATED_MAX]
    for table in (evidence.accepted, evidence.rejected, evidence.orders):
        orders = np.union1d(orders, table.loc[table["key_no"].isin(keys), "order_no"])
    return orders[orders >= 0][:RELATED_MAX], keys


def _events(evidence: Evidence, orders: np.ndarray, keys: np.ndarray, subject: Story) -> Table:
    events = evidence.events
    chosen = events["order_no"].isin(orders) | events["taker_no"].isin(orders) | events["maker_no"].isin(orders)
    chosen |= events["key_no"].isin(keys)
    if subject.stretch is not None:
        market, first, last = subject.stretch
        chosen |= (events["market"] == market) & events["seq"].between(first, last)
    return events[chosen]


def _attempt_steps(evidence: Evidence, orders: np.ndarray, keys: np.ndarray) -> Iterator[Step]:
    attempts = evidence.attempts
    own = attempts["key_no"].isin(keys) & (attempts["op"] == "order")
    about = attempts["order_no"].isin(orders) & attempts["op"].isin(("cancel", "get_order"))
    for row in attempts[own | about].sort_values("invoked_ns").head(4 * STEPS_MAX).to_dict("records"):
        base = {"source": "client", "client_id": row["client_id"], "order_id": row["order_id"]}
        yield {"t": _seconds(row["invoked_ns"]), "what": _sent(row), **base, "attempt": row["kind"]}
        yield {"t": _seconds(row["completed_ns"]), "what": _got(row), **base, "status": row["status"]}
        if row["late_status"]:
            what = f"late answer {row['late_status']} to the attempt that had timed out"
            yield {"t": _seconds(row["late_ns"]), "what": what, **base, "status": row["late_status"]}


def _sent(row: dict[str, Any]) -> str:
    who = f"client {row['client_id']}"
    if row["op"] == "cancel":
        return f"{who} asks to cancel order {row['order_id']} ({row['kind']})"
    if row["op"] == "get_order":
        return f"{who} reads order {row['order_id']}"
    price = f" at {row['price']}" if row["price"] else ""
    what = f"{row['side']} {row['qty']} {row['symbol']} {row['type']}{price}"
    return f"{who} sends order {row['order_id']} under key {row['idempotency_key']}: {what} ({row['kind']})"


def _got(row: dict[str, Any]) -> str:
    took = f"after {(row['completed_ns'] - row['invoked_ns']) / 1e6:.0f} ms"
    if not row["status"]:
        return f"no answer {took} ({row['error'] or row['outcome']})"
    reply = row["reply"] if len(row["reply"]) <= REPLY_CHARS_MAX else row["reply"][:REPLY_CHARS_MAX] + "…"
    return f"answer {row['status']} {took}" + (f": {reply}" if reply else "")


def _event_steps(evidence: Evidence, events: Table) -> Iterator[Step]:
    # Enough of both ends: the cut is made over all steps together.
    shown = events if len(events) <= 4 * STEPS_MAX else pd.concat([events.head(2 * STEPS_MAX), events.tail(STEPS_MAX)])
    for row in shown.to_dict("records"):
        what = f"ledger {row['market']} seq {row['seq']}: {event_words(row)}"
        base = {"source": "ledger", "market": row["market"], "seq": row["seq"], "event_id": row["event_id"]}
        yield {"t": _seconds(row["ts_ns"]), "what": what, **base}


def event_words(row: dict[str, Any]) -> str:
    """One ledger event in words."""
    if row["type"] == "fill":
        sides = ("bought", "sold") if row["taker_side"] == "BUY" else ("sold", "bought")
        taker, maker = f"order {row['taker_order_id']}", f"order {row['maker_order_id']}"
        return f"trade {row['trade_id']}: {taker} {sides[0]} {row['qty']} at {row['price']}, {maker} {sides[1]}"
    if row["type"] == "accepted":
        price = f" at {row['price']}" if row["price"] else ""
        what = f"{row['side']} {row['qty']} {row['order_type']} {row['tif']}{price}"
        return f"order {row['order_id']} accepted: {what} (event {row['event_id']})"
    if row["type"] == "cancelled":
        return f"{row['qty']} of order {row['order_id']} cancelled ({row['reason']})"
    what = "cancel of order" if row["command"] == "cancel" else "order"
    return f"{what} {row['order_id']} {row['type']} ({row['reason']})"


def _stored_steps(evidence: Evidence, orders: np.ndarray) -> Iterator[Step]:
    for row in evidence.orders[evidence.orders["order_no"].isin(orders)].head(STEPS_MAX).to_dict("records"):
        what = f"stored at the end: order {row['order_id']} {row['status']}, {row['filled_qty']} of {row['qty']} filled"
        yield {"t": None, "what": what, "source": "store", "order_id": row["order_id"]}


def _fault_steps(evidence: Evidence) -> Iterator[Step]:
    fault = evidence.fault
    if fault is None:
        return
    for at, what in (
        (fault.injected_at, f"fault {fault.template} injected"),
        (fault.observed_at, "fault observed"),
        (fault.healed_at, "fault healed"),
    ):
        if at is not None:
            yield {"t": float(at), "what": what, "source": "fault"}


def _capped(steps: list[Step]) -> list[Step]:
    if len(steps) <= STEPS_MAX:
        return steps
    head, tail = STEPS_MAX * 2 // 3, STEPS_MAX - STEPS_MAX * 2 // 3 - 1
    cut = len(steps) - head - tail
    gap = {"t": steps[head]["t"], "what": f"… {cut} more steps left out …", "source": "kit"}
    return [*steps[:head], gap, *steps[-tail:]]


def _seconds(ns: int) -> float | None:
    return int(ns) / 1e9 if ns else None
