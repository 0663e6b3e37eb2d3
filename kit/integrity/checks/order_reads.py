"""Check what clients read of their orders: the content and a state that the ledger gave, and never an older state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from kit.integrity.arrays.columns import Rows
from kit.integrity.arrays.grouping import counts, firsts, present, spread
from kit.integrity.arrays.ids import NO_ID
from kit.integrity.arrays.json_columns import loads
from kit.integrity.checks.authorization import owners
from kit.integrity.evidence import order_content
from kit.integrity.evidence.client_tables import FOUND, OK, STATES
from kit.integrity.evidence.evidence import Evidence
from kit.integrity.evidence.ledger_tables import ACCEPTED, CANCELLED, FILL, REJECTED
from kit.integrity.evidence.observed_progress import ObservedProgress, streamed_events
from kit.integrity.findings.check import Checks, Result, by_order
from kit.model import NS_PER_MS

CHECKS = Checks()

# By status, how far the order has come. A read may not go back. The last three are final and never change.
RANKS = np.array([0, 1, 2, 3, 3, 3, -1])
UNKNOWN_RANK, END_RANK = -1, 3
NEVER = np.iinfo(np.int64).max


@CHECKS.add(
    "read-your-writes",
    noun="orders read back",
    hold="were found by the client that had been acknowledged",
    broke="were not found, although their client had been acknowledged",
    needs=("attempts", "orders"),
    timed=True,
)
def read_your_writes(evidence: Evidence) -> Result:
    """Check that a GET by the order's client, sent after the order's 2xx, is answered 200 with that order.

    GETs without an answer are not counted. Reads by other clients belong to `unauthorized-refused`.
    """
    reads, acknowledged_ns = evidence.order_reads, first_acknowledged(evidence)
    order, invoked = reads["order"], reads["invoked_ns"]
    due = (
        reads.where((invoked > acknowledged_ns[order]) & (owners(evidence)[order] == reads["client"]))
        if len(reads)
        else reads
    )
    order = due["order"]
    bad = due.where((due["status"] != FOUND) | (due["answer_order"] != order))

    def example(number: int) -> str:
        row = evidence.first_row("order_reads", bad, order=number)
        after_ms = (row["invoked_ns"] - acknowledged_ns[number]) / NS_PER_MS
        return f"order {row['order_id']} was answered {row['status']} {after_ms:.0f} ms after it had been acknowledged"

    return by_order(evidence, examined=len(np.unique(order)), bad=bad["order"], example=example)


def first_acknowledged(evidence: Evidence) -> np.ndarray:
    """Return when each order was first acknowledged, by the order id in the answer. NEVER if it was not."""
    sent, times = evidence.sent, np.full(evidence.order_count, NEVER, dtype=np.int64)
    order = sent["answer_order"]
    good = (sent["outcome"] == OK) & (order >= 0)
    np.minimum.at(times, order[good], sent["completed_ns"][good])
    return times


@CHECKS.add(
    "reads-as-ordered",
    noun="orders read back",
    hold="were read with the content that was sequenced",
    broke="were read with other content than was sequenced",
    needs=("attempts", "events", "orders", "run"),
)
def reads_as_ordered(evidence: Evidence) -> Result:
    """Check that every 200 shows the order with the content that was sequenced.

    Symbol, side, type, tif, qty, price and idempotency key equal the order's accepted event, or its stored order where
    it has none. The answer names no other client.
    """
    reads = _found(evidence)
    size, accepted, orders = evidence.order_count, evidence.accepted, evidence.orders
    wanted = spread(accepted["order"], accepted["content"], size)
    wanted = np.where(wanted == 0, spread(orders["order"], orders["content"], size), wanted)
    keys = spread(accepted["order"], accepted["key"], size, NO_ID)
    keys = np.where(keys == NO_ID, spread(orders["order"], orders["key"], size, NO_ID), keys)
    known = reads.where(wanted[reads["order"]] != 0)
    other_key = (known["answer_key"] != NO_ID) & (known["answer_key"] != keys[known["order"]])
    bad = known.where((known["answer"] != wanted[known["order"]]) | other_key)

    def example(number: int) -> str:
        row = evidence.first_row("order_reads", bad, order=number)
        answer = loads(row["reply"])
        read = order_content.canonical(answer, order_content.CLIENT)
        read |= {"client": answer.get("clientId", row["client_id"])}
        read |= {"key": answer["idempotencyKey"]} if "idempotencyKey" in answer else {}
        at = firsts(accepted["order"], size)[number]
        name, index = (
            ("events", accepted["index"][at]) if at >= 0 else ("orders", firsts(orders["order"], size)[number])
        )
        held = _content(evidence, name, int(index)) | {"client": row["client_id"]}
        held["key"] = evidence.row(name, int(index))["idempotency_key"]
        return f"order {row['order_id']}: {order_content.differences(held, {'key': held['key']} | read, 'read')}"

    return by_order(evidence, examined=len(np.unique(known["order"])), bad=bad["order"], example=example)


def _content(evidence: Evidence, name: str, index: int) -> dict:
    return order_content.canonical(evidence.rows(name, [index])[0])


def _found(evidence: Evidence) -> Rows:
    return evidence.order_reads.where(evidence.order_reads["status"] == FOUND)


@CHECKS.add(
    "monotone-reads",
    noun="orders read back",
    hold="never went back in status or filled quantity",
    broke="went back in status or filled quantity",
    needs=("attempts", "orders"),
    timed=True,
)
def monotone_reads(evidence: Evidence) -> Result:
    """Check that an order never goes back in status or filled quantity between two reads.

    For reads a and b of one order, where a was answered before b was sent, filledQty and the rank of the status do not
    fall, and a final status stays. What is stored at the end is not behind any read.
    """
    reads = _found(evidence)
    # Few orders are read back, so a small data frame is fast enough.
    columns = ("order", "invoked_ns", "completed_ns", "filled", "state")
    seen = pd.DataFrame({column: reads[column].astype("int64") for column in columns})
    seen["rank"] = RANKS[seen["state"]]
    bad = seen.loc[seen["rank"] == UNKNOWN_RANK, "order"].to_numpy()
    bad = np.union1d(bad, np.union1d(_went_back(seen), _ahead_of_store(evidence, seen)))

    def example(order: int) -> str:
        rows = seen[seen["order"] == order].sort_values("completed_ns")
        states = [STATES[state] if state >= 0 else "unknown" for state in rows["state"]]
        shown = [f"{state} with {lots} filled" for state, lots in zip(states, rows["filled"], strict=True)]
        return f"order {evidence.order_id(order)} was read as {', then '.join(shown[:4])}"

    return by_order(evidence, examined=seen["order"].nunique(), bad=bad, example=example)


def _went_back(seen: pd.DataFrame) -> np.ndarray:
    """Find orders with a read that shows less than an earlier one."""
    earlier = seen.sort_values("completed_ns")
    done = earlier[["completed_ns", "order"]].assign(
        most=earlier.groupby("order")["filled"].cummax(),
        furthest=earlier.groupby("order")["rank"].cummax(),
        end=earlier["state"].where(earlier["rank"] == END_RANK),
    )
    done["end"] = done.groupby("order")["end"].ffill()
    pairs = pd.merge_asof(
        seen.sort_values("invoked_ns"),
        done.rename(columns={"completed_ns": "at_ns"}),
        left_on="invoked_ns",
        right_on="at_ns",
        by="order",
        allow_exact_matches=False,
    )
    behind = (pairs["filled"] < pairs["most"]) | (pairs["rank"] < pairs["furthest"])
    behind |= pairs["end"].notna() & (pairs["end"] != pairs["state"])
    return pairs.loc[behind, "order"].to_numpy()


def _ahead_of_store(evidence: Evidence, seen: pd.DataFrame) -> np.ndarray:
    """Find orders of which a client read more than is stored at the end."""
    orders = evidence.orders
    stored = spread(orders["order"], orders["filled"], evidence.order_count, -1)
    final = stored[seen["order"]]
    return seen.loc[(final >= 0) & (seen["filled"].to_numpy() > final), "order"].to_numpy()


NEW, OPEN, PARTLY, FILLED, OFF, REFUSED = range(len(STATES))
BEFORE = -1  # the state before any event, beside the types of events
LAST = np.iinfo(np.int64).max
SHOWN_MAX = 3


class States(NamedTuple):
    """The states of some orders, sorted by order and seq: first the state before any event, then one for each event."""

    order: np.ndarray
    seq: np.ndarray
    state: np.ndarray
    filled: np.ndarray
    until: np.ndarray  # seq of the next one, LAST where there is none


@CHECKS.add(
    "reads-equal-ledger",
    noun="reads of orders",
    hold="show a state that the ledger gave the order and that was not known to be outdated",
    broke="show a state that the ledger never gave the order, or that was known to be outdated",
    needs=("attempts", "events", "orders", "stream", "run"),
    timed=True,
)
def reads_equal_ledger(evidence: Evidence) -> Result:
    """Check that each order read shows a state that the ledger's events give, and no outdated one.

    (status, filledQty) is the order's state after some prefix of its ledger events, and the prefix holds all events
    that any subscriber had received before the GET was sent. OPEN may be read as ACCEPTED, because the contract does
    not say when it changes. An order that was accepted twice has no single state and breaks `one-event-per-order`.
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
        shown = STATES[state[at]] if state[at] >= 0 else "an unknown state"
        right = [f"{STATES[states.state[one]]} with {states.filled[one]}" for one in index[read == at][:SHOWN_MAX]]
        read_as = f"order {evidence.order_id(number)} was read as {shown} with {filled[at]} filled"
        return f"{read_as}, but only {' or '.join(right)} was possible after seq {known[at]} had been streamed"

    return by_order(evidence, examined=len(reads), bad=order[wrong], example=example)


def _markets(evidence: Evidence) -> np.ndarray:
    size, accepted, stored = evidence.order_count, evidence.accepted, evidence.orders
    market = spread(accepted["order"], accepted["market"].astype(np.int64), size, -1)
    return np.where(market < 0, spread(stored["order"], stored["market"].astype(np.int64), size, -1), market)


def _possible(states: States, order: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """List (read, index in `states`): the states that a read of `order` may show when the seq `known` was known."""
    begin, end = (np.searchsorted(states.order, order, side=side) for side in ("left", "right"))  # type: ignore[call-overload]
    sizes = end - begin
    read = np.repeat(np.arange(len(order)), sizes)
    index = np.arange(len(read)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + np.repeat(begin, sizes)
    there = states.until[index] > known[read]
    return read[there], index[there]


def _states(evidence: Evidence, asked: np.ndarray) -> States:
    """List the states of each order that was read."""
    before = np.flatnonzero(asked)
    nothing = np.zeros(len(before), dtype=np.int64)
    parts = [(before, nothing, nothing + BEFORE, nothing), *_events(evidence, asked)]
    order, seq, kind, qty = (np.concatenate(columns).astype(np.int64) for columns in zip(*parts, strict=True))
    by_order = np.lexsort((seq, order))
    order, seq, kind, qty = order[by_order], seq[by_order], kind[by_order], qty[by_order]
    lots = np.cumsum(np.where(kind == FILL, qty, 0))
    # Subtract the lots of the orders before: each order begins with its state before any event.
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
    """List (order, seq, type, lots) of every event of these orders, as their own or as makers."""
    events, asked = evidence.events, np.append(asked, False)  # the last entry is for no order, −1
    relevant = np.isin(events["type"], (ACCEPTED, REJECTED, CANCELLED, FILL))
    for column in ("order", "maker"):
        rows = events.where(relevant & asked[events[column]])
        yield rows[column], rows["seq"], rows["type"], rows["qty"]
