"""What clients read of their orders: their own writes, as written, and never older than what they read before."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kit.integrity.arrays.columns import Rows
from kit.integrity.arrays.grouping import firsts, spread
from kit.integrity.arrays.json_columns import loads
from kit.integrity.checks.authorization import owners
from kit.integrity.evidence import order_content
from kit.integrity.evidence.client_tables import OK, STATES
from kit.integrity.evidence.evidence import Evidence
from kit.integrity.findings.check import Check, Wording, by_order
from kit.model import NS_PER_MS, Finding

# How far an order has come, by its state; a read may not go back. The last three are ends and never change.
RANKS = np.array([0, 1, 2, 3, 3, 3, -1])
UNKNOWN_RANK, END_RANK = -1, 3
FOUND = 200
NEVER = np.iinfo(np.int64).max

OWN_WRITES = Wording(
    name="read-your-writes",
    noun="orders read back",
    hold="were found by the client who had been told of them",
    broke="were not found although their client had been told of them",
)
AS_ORDERED = Wording(
    name="reads-as-ordered",
    noun="orders read back",
    hold="were read with the content that was sequenced",
    broke="were read with other content than was sequenced",
)
MONOTONE = Wording(
    name="monotone-reads",
    noun="orders read back",
    hold="never went back in status or filled quantity",
    broke="went back in status or filled quantity",
)


def read_your_writes(evidence: Evidence) -> Finding:
    """A GET by an order's client that starts after the order's 2xx came, and is answered at all, is answered 200 with
    that order. (What others ask is `unauthorized-refused`.)
    """
    reads, told = evidence.order_reads, _told(evidence)
    order, invoked = reads["order"], reads["invoked_ns"]
    due = reads.where((invoked > told[order]) & (owners(evidence)[order] == reads["client"])) if len(reads) else reads
    order = due["order"]
    bad = due.where((due["status"] != FOUND) | (due["answer_order"] != order))

    def example(number: int) -> str:
        row = evidence.rows("order_reads", bad["index"][bad["order"] == number][:1])[0]
        after_ms = (row["invoked_ns"] - told[number]) / NS_PER_MS
        return f"order {row['order_id']} was answered {row['status']} {after_ms:.0f} ms after it had been acknowledged"

    return by_order(OWN_WRITES, evidence, examined=len(np.unique(order)), bad=bad["order"], example=example)


def _told(evidence: Evidence) -> np.ndarray:
    """When each order was first acknowledged, by the order id in the answer."""
    sent, times = evidence.sent, np.full(evidence.order_count, NEVER, dtype=np.int64)
    order = sent["answer_order"]
    good = (sent["outcome"] == OK) & (order >= 0)
    np.minimum.at(times, order[good], sent["completed_ns"][good])
    return times


def reads_as_ordered(evidence: Evidence) -> Finding:
    """Symbol, side, type, tif, qty and price of each 200 equal the order's accepted event, or where it has none its
    stored order; and it names no other client.
    """
    reads = _found(evidence)
    size, accepted, orders = evidence.order_count, evidence.accepted, evidence.orders
    wanted = spread(accepted["order"], accepted["content"], size)
    wanted = np.where(wanted == 0, spread(orders["order"], orders["content"], size), wanted)
    known = reads.where(wanted[reads["order"]] != 0)
    bad = known.where(known["answer"] != wanted[known["order"]])

    def example(number: int) -> str:
        row = evidence.rows("order_reads", bad["index"][bad["order"] == number][:1])[0]
        answer = loads(row["reply"])
        said = order_content.canonical(answer, order_content.CLIENT)
        said |= {"client": answer.get("clientId", row["client_id"])}
        at = firsts(accepted["order"], size)[number]
        name, index = (
            ("events", accepted["index"][at]) if at >= 0 else ("orders", firsts(orders["order"], size)[number])
        )
        held = _content(evidence, name, int(index)) | {"client": row["client_id"]}
        return f"order {row['order_id']}: {order_content.differences(held, said, 'read')}"

    return by_order(AS_ORDERED, evidence, examined=len(np.unique(known["order"])), bad=bad["order"], example=example)


def _content(evidence: Evidence, name: str, index: int) -> dict:
    return order_content.canonical(evidence.rows(name, [index])[0])


def _found(evidence: Evidence) -> Rows:
    return evidence.order_reads.where(evidence.order_reads["status"] == FOUND)


def monotone_reads(evidence: Evidence) -> Finding:
    """For reads a, b of one order with a complete before b starts: filledQty and the rank of status do not fall, an
    end status stays; and what is stored at the end is not behind any read.
    """
    reads = _found(evidence)
    # Few orders are read back: these are sorted and grouped as a small frame.
    columns = ("order", "invoked_ns", "completed_ns", "filled", "state")
    seen = pd.DataFrame({column: reads[column].astype("int64") for column in columns})
    seen["rank"] = RANKS[seen["state"]]
    bad = seen.loc[seen["rank"] == UNKNOWN_RANK, "order"].to_numpy()
    bad = np.union1d(bad, np.union1d(_went_back(seen), _ahead_of_store(evidence, seen)))

    def example(order: int) -> str:
        rows = seen[seen["order"] == order].sort_values("completed_ns")
        states = [STATES[state] if state >= 0 else "unknown" for state in rows["state"]]
        told = [f"{state} with {lots} filled" for state, lots in zip(states, rows["filled"], strict=True)]
        return f"order {evidence.order_id(order)} was read as {', then '.join(told[:4])}"

    return by_order(MONOTONE, evidence, examined=seen["order"].nunique(), bad=bad, example=example)


def _went_back(seen: pd.DataFrame) -> np.ndarray:
    """Orders with a read that is behind an earlier one."""
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
    """Orders of which a client read more than is stored in the end."""
    orders = evidence.orders
    stored = spread(orders["order"], orders["filled"], evidence.order_count, -1)
    final = stored[seen["order"]]
    return seen.loc[(final >= 0) & (seen["filled"].to_numpy() > final), "order"].to_numpy()


CHECKS = (
    Check(name=OWN_WRITES.name, find=read_your_writes, needs=("attempts", "orders"), timed=True),
    Check(name=AS_ORDERED.name, find=reads_as_ordered, needs=("attempts", "events", "orders", "run")),
    Check(name=MONOTONE.name, find=monotone_reads, needs=("attempts", "orders"), timed=True),
)
