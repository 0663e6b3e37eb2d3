"""What clients read of their orders against the ledger: a state that it gave the order, and none that was over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from kit.integrity.arrays.grouping import counts, present, spread
from kit.integrity.evidence.client_tables import FOUND, STATES
from kit.integrity.evidence.evidence import Evidence
from kit.integrity.evidence.ledger_tables import ACCEPTED, CANCELLED, FILL, REJECTED
from kit.integrity.evidence.observed_progress import ObservedProgress, streamed_events
from kit.integrity.findings.check import Check, Wording, by_order
from kit.model import Finding

STATE = Wording(
    name="reads-equal-ledger",
    noun="reads of orders",
    hold="show a state that the ledger gave the order, and none that was known to be over",
    broke="show a state that the ledger never gave the order, or one that was known to be over",
)
NEW, OPEN, PARTLY, FILLED, OFF, REFUSED = range(len(STATES))
BEFORE = -1  # beside the types of events: what an order is before any
LAST = np.iinfo(np.int64).max
SHOWN_MAX = 3


class States(NamedTuple):
    """The states of some orders, by order and seq: what each event made of its order, after what it was before any."""

    order: np.ndarray
    seq: np.ndarray
    state: np.ndarray
    filled: np.ndarray
    until: np.ndarray  # seq of the next one, LAST where there is none


def reads_equal_ledger(evidence: Evidence) -> Finding:
    """For each answered GET of an order: (status, filledQty) is the order's after some prefix of its ledger events; a
    prefix that holds all events that any subscriber had received before the GET was sent.

    OPEN may still read ACCEPTED: the contract does not say when it changes. An order that was accepted twice has no
    one state; it is `one-event-per-order`.
    """
    reads = evidence.order_reads.where(evidence.order_reads["status"] == FOUND)
    asked = present(reads["order"], evidence.order_count)
    asked &= counts(evidence.accepted["order"], evidence.order_count) <= 1
    reads = reads.where(asked[reads["order"]]) if len(reads) else reads
    order, state, filled = reads["order"], reads["state"], reads["filled"]
    known = ObservedProgress(streamed_events(evidence.stream)).before(_markets(evidence)[order], reads["invoked_ns"])
    states = _states(evidence, asked)
    read, index = _possible(states, order, known)
    fits = (states.filled[index] == filled[read]) & (
        (states.state[index] == state[read]) | ((states.state[index] == OPEN) & (state[read] == NEW))
    )
    wrong = ~present(read[fits], len(reads))

    def example(number: int) -> str:
        at = np.flatnonzero(wrong & (order == number))[0]
        told = STATES[state[at]] if state[at] >= 0 else "an unknown state"
        right = [f"{STATES[states.state[one]]} with {states.filled[one]}" for one in index[read == at][:SHOWN_MAX]]
        said = f"order {evidence.order_id(number)} was read as {told} with {filled[at]} filled"
        return f"{said}, when only {' or '.join(right)} was possible (seq {known[at]} had been streamed)"

    return by_order(STATE, evidence, examined=len(reads), bad=order[wrong], example=example)


def _markets(evidence: Evidence) -> np.ndarray:
    size, accepted, stored = evidence.order_count, evidence.accepted, evidence.orders
    market = spread(accepted["order"], accepted["market"].astype(np.int64), size, -1)
    return np.where(market < 0, spread(stored["order"], stored["market"].astype(np.int64), size, -1), market)


def _possible(states: States, order: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (read, place in `states`): the states that a read of `order` may show once the seq `known` was known."""
    begin, end = (np.searchsorted(states.order, order, side=side) for side in ("left", "right"))  # type: ignore[call-overload]
    sizes = end - begin
    read = np.repeat(np.arange(len(order)), sizes)
    index = np.arange(len(read)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + np.repeat(begin, sizes)
    there = states.until[index] > known[read]
    return read[there], index[there]


def _states(evidence: Evidence, asked: np.ndarray) -> States:
    """Of each order that was asked for."""
    before = np.flatnonzero(asked)
    nothing = np.zeros(len(before), dtype=np.int64)
    parts = [(before, nothing, nothing + BEFORE, nothing), *_events(evidence, asked)]
    order, seq, kind, qty = (np.concatenate(columns).astype(np.int64) for columns in zip(*parts, strict=True))
    by_order = np.lexsort((seq, order))
    order, seq, kind, qty = order[by_order], seq[by_order], kind[by_order], qty[by_order]
    lots = np.cumsum(np.where(kind == FILL, qty, 0))
    # An order starts with the state that no event made: what others were filled with until there is not its own.
    filled = lots - lots[kind == BEFORE][np.cumsum(kind == BEFORE) - 1]
    wanted = spread(evidence.accepted["order"], evidence.accepted["qty"], evidence.order_count)[order]
    state = np.select(
        [kind == BEFORE, kind == FILL, kind == ACCEPTED, kind == REJECTED],
        [NEW, np.where(filled >= wanted, FILLED, PARTLY), OPEN, REFUSED],
        OFF,
    )
    last = np.append(order[1:] != order[:-1], True) if len(order) else np.zeros(0, dtype=bool)
    return States(order, seq, state, filled, np.where(last, LAST, np.append(seq[1:], 0)))


def _events(evidence: Evidence, asked: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """(order, seq, type, lots) of every event of these orders, as their own or as makers."""
    events, asked = evidence.events, np.append(asked, False)  # the last is for no order, −1
    told = np.isin(events["type"], (ACCEPTED, REJECTED, CANCELLED, FILL))
    for column in ("order", "maker"):
        rows = events.where(told & asked[events[column]])
        yield rows[column], rows["seq"], rows["type"], rows["qty"]


CHECKS = (
    Check(
        name=STATE.name,
        find=reads_equal_ledger,
        needs=("attempts", "events", "orders", "stream", "run"),
        timed=True,
    ),
)
