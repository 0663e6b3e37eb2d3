"""Build counterexamples: the timeline of a few orders with attempts, answers, ledger events, stored state and fault."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kit.integrity.evidence.client_tables import CANCEL, GET_ORDER, ORDER
from kit.integrity.evidence.evidence import Evidence
from kit.model import NS_PER_MS, NS_PER_S

# People read counterexamples, and more steps than this hide the point.
STEPS_MAX = 24
# The shortest timeline of so many violations is shown.
CANDIDATES_MAX = 4
# Orders or keys in one counterexample.
RELATED_MAX = 6
REPLY_CHARS_MAX = 160
FAULT = "fault"

Step = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a counterexample is about: orders and keys by number, a stretch of a ledger, further steps.

    `only` replaces the ledger events by those at these indices of the evidence.
    """

    orders: tuple[int, ...] = ()
    keys: tuple[int, ...] = ()
    stretch: tuple[int, int, int] | None = None  # market, first and last seq
    steps: tuple[Step, ...] = ()
    only: np.ndarray | None = None


def candidates(bad: np.ndarray) -> np.ndarray:
    return bad[:CANDIDATES_MAX]


def timeline(evidence: Evidence, subject: Subject) -> list[Step]:
    """List the steps of `subject` by time, at most `STEPS_MAX`. One step says how many were left out."""
    orders, keys = _related(evidence, subject)
    steps = [
        *_attempt_steps(evidence, orders, keys),
        *event_steps(evidence, _events(evidence, orders, keys, subject)),
        *_stored_steps(evidence, orders),
        *subject.steps,
    ]
    if steps:
        steps += _fault_steps(evidence)
    return _capped(sorted(steps, key=lambda step: (step["t"] is None, step["t"] or 0.0, step.get("seq") or 0)))


def _related(evidence: Evidence, subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    """Return the subject's orders with all orders of their keys, and these keys."""
    orders, keys = np.array(subject.orders, dtype=np.int64), np.array(subject.keys, dtype=np.int64)
    tables = (evidence.accepted, evidence.rejected, evidence.orders)
    if orders.size:
        keys = np.union1d(keys, np.concatenate([table["key"][np.isin(table["order"], orders)] for table in tables]))
        if not (keys >= 0).any():
            # The order was never sequenced or stored, so that only its client knows the key.
            keys = np.unique(evidence.sent["key"][np.isin(evidence.sent["order"], orders)])
    keys = keys[keys >= 0][:RELATED_MAX]
    if keys.size:
        orders = np.union1d(orders, np.concatenate([table["order"][np.isin(table["key"], keys)] for table in tables]))
    return orders[orders >= 0][:RELATED_MAX], keys


def _events(evidence: Evidence, orders: np.ndarray, keys: np.ndarray, subject: Subject) -> np.ndarray:
    """Return the indices of the ledger events to show."""
    events = evidence.events
    if subject.only is not None:
        return subject.only
    chosen = np.isin(events["order"], orders) | np.isin(events["maker"], orders) | np.isin(events["key"], keys)
    if subject.stretch is not None:
        market, first, last = subject.stretch
        seq = events["seq"]
        chosen |= (events["market"] == market) & (seq >= first) & (seq <= last)
    return np.flatnonzero(chosen)


def _attempt_steps(evidence: Evidence, orders: np.ndarray, keys: np.ndarray) -> Iterator[Step]:
    attempts = evidence.attempts
    op = attempts["op"]
    own = np.isin(attempts["key"], keys) & (op == ORDER)
    about = np.isin(attempts["order"], orders) & ((op == CANCEL) | (op == GET_ORDER))
    indices = np.flatnonzero(own | about)
    indices = indices[np.argsort(attempts["invoked_ns"][indices], kind="stable")][: 4 * STEPS_MAX]
    for row in evidence.rows("attempts", indices):
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
        return f"{who} reads order {row['order_id']} ({row['kind']})"
    price = f" at {row['price']}" if row["price"] else ""
    what = f"{row['side']} {row['qty']} {row['symbol']} {row['type']}{price}"
    return f"{who} sends order {row['order_id']} under key {row['idempotency_key']}: {what} ({row['kind']})"


def _got(row: dict[str, Any]) -> str:
    took = f"after {(row['completed_ns'] - row['invoked_ns']) / NS_PER_MS:.0f} ms"
    if not row["status"]:
        return f"no answer {took} ({row['error'] or row['outcome']})"
    reply = row["reply"] if len(row["reply"]) <= REPLY_CHARS_MAX else row["reply"][:REPLY_CHARS_MAX] + "…"
    return f"answer {row['status']} {took}" + (f": {reply}" if reply else "")


def event_steps(evidence: Evidence, indices: np.ndarray) -> Iterator[Step]:
    """Yield one step for each ledger event at these indices of the evidence."""
    # Enough of both ends, because the steps are cut later, all together.
    if len(indices) > 4 * STEPS_MAX:
        indices = np.concatenate([indices[: 2 * STEPS_MAX], indices[-STEPS_MAX:]])
    for row in evidence.rows("events", indices):
        what = f"ledger {row['market']} seq {row['seq']}: {event_words(row)}"
        base = {"source": "ledger", "market": row["market"], "seq": row["seq"], "event_id": row["event_id"]}
        yield {"t": _seconds(row["ts_ns"]), "what": what, **base}


def event_words(row: dict[str, Any]) -> str:
    """Describe one ledger event."""
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
    for row in evidence.rows("orders", np.flatnonzero(np.isin(evidence.orders["order"], orders))[:STEPS_MAX]):
        what = f"stored at the end: order {row['order_id']} {row['status']}, {row['filled_qty']} of {row['qty']} filled"
        yield {"t": None, "what": what, "source": "store", "order_id": row["order_id"]}


def balance_step(row: dict[str, Any]) -> Step:
    """Make the step that shows a stored balance."""
    what = f"stored at the end: client {row['client_id']} {row['qty']} lots of {row['market']}, cash {row['cash']}"
    return {"t": None, "what": what, "source": "store", "client_id": row["client_id"]}


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
            yield {"t": float(at), "what": what, "source": FAULT}


def _capped(steps: Sequence[Step]) -> list[Step]:
    """Keep the first and the last of too many steps, and every step of the fault."""
    if len(steps) <= STEPS_MAX:
        return list(steps)
    fault = {index for index, step in enumerate(steps) if step["source"] == FAULT}
    others = [index for index in range(len(steps)) if index not in fault]
    room = STEPS_MAX - len(fault) - 1
    head, tail = others[: room * 2 // 3], others[len(others) - (room - room * 2 // 3) :]
    cut = len(others) - room
    gap = {"t": steps[others[len(head)]]["t"], "what": f"… {cut} more steps left out …", "source": "kit"}
    kept = sorted({*head, *tail, *fault, others[len(head)]})
    return [gap if index == others[len(head)] else steps[index] for index in kept]


def _seconds(ns: int) -> float | None:
    return int(ns) / NS_PER_S if ns else None
