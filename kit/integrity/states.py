"""What clients read of their orders against the ledger: a state that it gave the order, and none that was over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from kit.integrity.answer import Check, Wording, by_order
from kit.integrity.client_tables import FOUND, STATES
from kit.integrity.columns import Rows
from kit.integrity.counting import counts, present, spread
from kit.integrity.evidence import Evidence
from kit.integrity.ledger_tables import ACCEPTED, CANCELLED, FILL, REJECTED
from kit.integrity.moments import Moments, streamed
from kit.model import Finding

STATE = Wording(
    name="reads-equal-ledger",
    noun="reads of orders",
    hold="show a state that the ledger gave the order, and none that was known to be over",
    broke="show a state that the ledger never gave the order, or one that was known to be over",
)
NEW, OPEN, PARTLY, FILLED, OFF, REFUSED = range(len(STATES))


class State(NamedTuple):
    """An order from the event `seq` on."""

    seq: int
    state: int
    filled: int


BEFORE = State(0, NEW, 0)


def reads_equal_ledger(evidence: Evidence) -> Finding:
    """For each answered GET of an order: (status, filledQty) is the order's after some prefix of its ledger events; a
    prefix that holds all events that any subscriber had received before the GET was sent.

    OPEN may still read ACCEPTED: the contract does not say when it changes. An order that was accepted twice has no
    one state; it is `one-event-per-order`.
    """
    reads = evidence.reads.where(evidence.reads["status"] == FOUND)
    asked = present(reads["order"], evidence.order_count)
    asked &= counts(evidence.accepted["order"], evidence.order_count) <= 1
    reads = reads.where(asked[reads["order"]]) if len(reads) else reads
    states, market = _states(evidence, asked), _markets(evidence)
    known = Moments(streamed(evidence.stream)).before(market[reads["order"]], reads["invoked_ns"])
    rows = zip(*(part.tolist() for part in (reads["order"], reads["state"], reads["filled"], known)), strict=True)
    wrong = np.array([not _possible(states.get(row[0], [BEFORE]), *row[1:]) for row in rows], dtype=bool)
    bad = reads["order"][wrong]

    def example(number: int) -> str:
        at = np.flatnonzero(wrong & (reads["order"] == number))[0]
        told = STATES[reads["state"][at]] if reads["state"][at] >= 0 else "an unknown state"
        seen = int(known[at])
        right = [f"{STATES[one.state]} with {one.filled}" for one in _left(states.get(number, [BEFORE]), seen)]
        said = f"order {evidence.order_of(number)} was read as {told} with {reads['filled'][at]} filled"
        return f"{said}, when only {' or '.join(right[:3])} was possible (seq {seen} had been streamed)"

    return by_order(STATE, evidence, examined=len(reads), bad=bad, example=example)


def _markets(evidence: Evidence) -> np.ndarray:
    size, accepted, stored = evidence.order_count, evidence.accepted, evidence.orders
    market = spread(accepted["order"], accepted["market"].astype(np.int64), size, -1)
    return np.where(market < 0, spread(stored["order"], stored["market"].astype(np.int64), size, -1), market)


def _left(states: list[State], known: int) -> list[State]:
    """The states that are possible once `known` is: the last that it names, and all later ones."""
    first = max((place for place, one in enumerate(states) if one.seq <= known), default=0)
    return states[first:]


def _possible(states: list[State], state: int, filled: int, known: int) -> bool:
    return any(
        filled == one.filled and (state == one.state or (state == NEW and one.state == OPEN))
        for one in _left(states, known)
    )


def _states(evidence: Evidence, asked: np.ndarray) -> dict[int, list[State]]:
    """For each order that was asked for, its states in the order of its events."""
    accepted = evidence.accepted
    wanted = spread(accepted["order"], accepted["qty"], evidence.order_count).tolist()
    states: dict[int, list[State]] = {}
    for order, seq, kind, qty in _events(evidence, asked):
        mine = states.setdefault(order, [BEFORE])
        filled = mine[-1].filled
        if kind == FILL:
            filled += qty
            mine.append(State(seq, FILLED if filled >= wanted[order] else PARTLY, filled))
        else:
            mine.append(State(seq, {ACCEPTED: OPEN, REJECTED: REFUSED, CANCELLED: OFF}[kind], filled))
    return states


def _events(evidence: Evidence, asked: np.ndarray) -> Iterator[tuple[int, int, int, int]]:
    """(order, seq, type, lots) of every event of these orders, in the order of the ledger."""
    events = evidence.events
    asked = np.append(asked, False)  # the last is for no order, −1
    told = np.isin(events["type"], (ACCEPTED, REJECTED, CANCELLED, FILL))
    own, other = told & asked[events["order"]], asked[events["maker"]]
    rows: Rows = events.where(own | other)
    names = ("order", "maker", "seq", "type", "qty")
    for order, maker, seq, kind, qty in zip(*(rows[name].tolist() for name in names), strict=True):
        for number in (order, maker):
            if number >= 0 and asked[number]:
                yield number, seq, kind, qty


CHECKS = (
    Check(
        name=STATE.name,
        find=reads_equal_ledger,
        needs=("attempts", "events", "orders", "stream", "run"),
        timed=True,
    ),
)
