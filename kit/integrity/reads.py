"""What clients read of their orders: their own writes, and never older than what they read before."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kit.integrity.answer import Check, Wording, by_order
from kit.integrity.evidence import Column, Evidence, Table
from kit.integrity.payloads import parse
from kit.model import Finding, Outcome

# How far an order has come; a read may not go back. The last three are ends and never change into each other.
RANKS = {"ACCEPTED": 0, "OPEN": 1, "PARTIALLY_FILLED": 2, "FILLED": 3, "CANCELLED": 3, "REJECTED": 3}
UNKNOWN_RANK = -1

OWN_WRITES = Wording(
    name="read-your-writes",
    noun="orders read back",
    hold="were found by the client who had been told of them",
    broke="were not found although their client had been told of them",
)
MONOTONE = Wording(
    name="monotone-reads",
    noun="orders read back",
    hold="never went back in status or filled quantity",
    broke="went back in status or filled quantity",
)


def read_your_writes(evidence: Evidence) -> Finding:
    """A GET that starts after an order's 2xx came, and is answered at all, is answered 200 with that order."""
    reads = _answered(evidence)
    told = _told(evidence, reads["order_no"])
    since = told.reindex(reads["order_no"]).to_numpy()
    due = reads[~np.isnan(since.astype("float64"))]
    due = due[due["invoked_ns"].to_numpy() > told.loc[due["order_no"]].to_numpy()]
    body = parse(due["reply"], {"orderId": str})
    bad = due[(due["status"] != 200) | (body["orderId"] != due["order_id"])]

    def example(order: int) -> str:
        row = bad[bad["order_no"] == order].iloc[0]
        after_ms = (row["invoked_ns"] - told[order]) / 1e6
        return f"order {row['order_id']} was answered {row['status']} {after_ms:.0f} ms after it had been acknowledged"

    examined = due["order_no"].nunique()
    return by_order(OWN_WRITES, evidence, examined=examined, bad=bad["order_no"].to_numpy(), example=example)


def monotone_reads(evidence: Evidence) -> Finding:
    """For reads a, b of one order with a complete before b starts: filledQty and the rank of status do not fall, an
    end status stays; and what is stored at the end is not behind any read.
    """
    reads = _answered(evidence)
    reads = reads[reads["status"] == 200]
    body = parse(reads["reply"], {"status": str, "filledQty": int})
    rank = body["status"].map(RANKS).fillna(UNKNOWN_RANK).astype("int64")
    seen = reads[["order_no", "invoked_ns", "completed_ns"]].assign(
        filled=body["filledQty"], rank=rank, read_status=body["status"]
    )
    bad = seen[seen["rank"] == UNKNOWN_RANK]["order_no"]
    bad = np.union1d(bad, np.union1d(_went_back(seen), _ahead_of_store(evidence, seen)))

    def example(order: int) -> str:
        rows = seen[seen["order_no"] == order].sort_values("completed_ns")
        told = [f"{row.read_status} with {row.filled} filled" for row in rows.itertuples()]
        return f"order {evidence.order_of(order)} was read as {', then '.join(told[:4])}"

    return by_order(MONOTONE, evidence, examined=seen["order_no"].nunique(), bad=bad, example=example)


def _answered(evidence: Evidence) -> Table:
    attempts = evidence.attempts
    reads = attempts[(attempts["op"] == "get_order") & (attempts["order_no"] >= 0)]
    return reads[(reads["outcome"] == Outcome.OK) | reads["status"].isin((403, 404))]


def _told(evidence: Evidence, numbers: Column) -> Column:
    """When each of the orders was first acknowledged, by the order id in the answer."""
    sent = evidence.sent
    # Few orders are read back: only the answers under their keys are worth parsing.
    keys = [table.loc[table["order_no"].isin(numbers), "key_no"] for table in (sent, evidence.orders)]
    good = sent[(sent["outcome"] == Outcome.OK) & sent["key_no"].isin(np.concatenate(keys))]
    ids = parse(good["reply"], {"orderId": str})["orderId"]
    places = evidence.order_names.get_indexer(pd.Index(ids))
    times: Column = pd.Series(good["completed_ns"].to_numpy(), index=places)
    return times[times.index >= 0].groupby(level=0).min()


def _went_back(seen: Table) -> np.ndarray:
    """Orders with a read that is behind an earlier one."""
    earlier = seen.sort_values("completed_ns")
    done = earlier[["completed_ns", "order_no"]].assign(
        most=earlier.groupby("order_no")["filled"].cummax(),
        furthest=earlier.groupby("order_no")["rank"].cummax(),
        end=earlier["read_status"].where(earlier["rank"] == RANKS["FILLED"]),
    )
    done["end"] = done.groupby("order_no")["end"].ffill()
    pairs: Table = pd.merge_asof(
        seen.sort_values("invoked_ns"),
        done.rename(columns={"completed_ns": "at_ns"}),
        left_on="invoked_ns",
        right_on="at_ns",
        by="order_no",
        allow_exact_matches=False,
    )
    behind = (pairs["filled"] < pairs["most"]) | (pairs["rank"] < pairs["furthest"])
    behind |= pairs["end"].notna() & (pairs["end"] != pairs["read_status"])
    return pairs.loc[behind, "order_no"].to_numpy()


def _ahead_of_store(evidence: Evidence, seen: Table) -> np.ndarray:
    """Orders of which a client read more than is stored in the end."""
    stored = evidence.orders.drop_duplicates("order_no").set_index("order_no")["filled_qty"]
    most = seen.groupby("order_no")["filled"].max()
    final = stored.reindex(most.index)
    return most.index[(most > final).to_numpy()].to_numpy()


CHECKS = (
    Check(name=OWN_WRITES.name, find=read_your_writes, needs=("attempts", "orders"), timed=True),
    Check(name=MONOTONE.name, find=monotone_reads, needs=("attempts", "orders"), timed=True),
)
