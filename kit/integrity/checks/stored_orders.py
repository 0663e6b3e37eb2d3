"""What is stored of an order beside the ledger: the same order that was sequenced, of the same client and key."""

from __future__ import annotations

import numpy as np

from kit.integrity.arrays.grouping import firsts
from kit.integrity.evidence import order_content
from kit.integrity.evidence.evidence import Evidence
from kit.integrity.findings.check import Check, Wording, by_order
from kit.model import Finding

STORED = Wording(
    name="stored-as-sequenced",
    noun="stored orders",
    hold="are what was sequenced",
    broke="are not what was sequenced",
)
SAME = ("content", "client", "key")


def stored_as_sequenced(evidence: Evidence) -> Finding:
    """E3c. Client, key, market, side, type, tif, qty and price of each stored order equal its accepted event's.

    An order that is stored and never sequenced is `accepted-equals-sequenced`.
    """
    orders, accepted = evidence.orders, evidence.accepted
    index = np.append(firsts(accepted["order"], evidence.order_count), -1)[orders["order"]]
    known = np.flatnonzero(index >= 0)
    there = index[known]
    differs = np.logical_or.reduce([orders[column][known] != accepted[column][there] for column in SAME])
    bad = orders["order"][known[differs]]

    def example(number: int) -> str:
        at = np.flatnonzero(differs & (orders["order"][known] == number))[:1]
        stored = evidence.rows("orders", known[at])[0]
        row = evidence.rows("events", accepted["index"][there[at]])[0]
        return f"order {row['order_id']}: {order_content.differences(_whole(stored), _whole(row), 'sequenced')}"

    return by_order(STORED, evidence, examined=len(known), bad=bad, example=example)


def _whole(row: dict) -> dict:
    return order_content.canonical(row) | {"client": row["client_id"], "key": row["idempotency_key"]}


CHECKS = (Check(name=STORED.name, find=stored_as_sequenced, needs=("events", "orders")),)
