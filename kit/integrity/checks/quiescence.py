"""Check that nothing is pending after the drain: every stored order is sequenced, and the outbox is empty."""

from __future__ import annotations

import numpy as np

from kit.integrity.arrays.grouping import present
from kit.integrity.evidence.evidence import Evidence
from kit.integrity.findings.check import Checks, Result, by_order, by_row
from kit.integrity.findings.counterexample import Subject
from kit.model import NS_PER_S

CHECKS = Checks()


@CHECKS.add(
    "accepted-equals-sequenced",
    noun="stored orders",
    hold="are sequenced",
    broke="were accepted but never sequenced",
    needs=("orders", "events"),
)
def accepted_equals_sequenced(evidence: Evidence) -> Result:
    """Q1. Check that every order that intake stored was sequenced.

    {orders stored by intake} ⊆ {orders of accepted and rejected events}: accepted − sequenced = 0.
    """
    size = evidence.order_count
    stored = present(evidence.orders["order"], size)
    sequenced = present(evidence.accepted["order"], size) | present(evidence.rejected["order"], size)
    bad = np.flatnonzero(stored & ~sequenced)

    def example(order: int) -> str:
        row = evidence.first_row("orders", evidence.orders, order=order)
        return (
            f"order {row['order_id']} (client {row['client_id']}) is stored as {row['status']}, but has no ledger event"
        )

    return by_order(evidence, examined=int(stored.sum()), bad=bad, example=example)


@CHECKS.add(
    "outbox-empty",
    noun="accepted orders",
    hold="have left the outbox",
    broke="still have an entry in the outbox",
    needs=("orders",),
    reads=("outbox",),
)
def outbox_empty(evidence: Evidence) -> Result:
    """Q2. Check that the outbox is empty after the drain."""

    def example() -> str:
        row = evidence.row("outbox", 0)
        return f"event {row['event_id']} of order {row['order_id']} ({row['market']})"

    def subject() -> Subject:
        row = evidence.row("outbox", 0)
        what = f"order {row['order_id']} ({row['market']}) enters the outbox as event {row['event_id']}"
        step = {"t": row["accepted_ns"] / NS_PER_S, "what": what, "source": "store"}
        return Subject(orders=(int(evidence.outbox["order"][0]),), steps=(step,))

    return by_row(
        evidence,
        examined=len(evidence.orders),
        violations=len(evidence.outbox),
        example=example,
        subject=subject,
    )
