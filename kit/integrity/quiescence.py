"""After the drain nothing is on its way any more: what was let in is sequenced, and the outbox is empty."""

from __future__ import annotations

import numpy as np

from kit.integrity.answer import Check, Wording, by_order, by_row
from kit.integrity.counterexample import STEPS_MAX, Story
from kit.integrity.evidence import Evidence
from kit.model import Finding

SEQUENCED = Wording(
    name="accepted-equals-sequenced",
    noun="stored orders",
    hold="are sequenced",
    broke="were accepted but never sequenced",
)
OUTBOX = Wording(
    name="outbox-empty",
    noun="accepted orders",
    hold="have left the outbox",
    broke="still have an entry in the outbox",
)


def accepted_equals_sequenced(evidence: Evidence) -> Finding:
    """Q1. {orders stored by intake} ⊆ {orders of accepted and rejected events}: accepted − sequenced = 0."""
    stored = evidence.orders["order_no"].unique()
    sequenced = np.union1d(evidence.accepted["order_no"], evidence.rejected["order_no"])
    bad = np.setdiff1d(stored, sequenced)

    def example(order: int) -> str:
        row = evidence.orders[evidence.orders["order_no"] == order].iloc[0]
        return f"order {row['order_id']} (client {row['client_id']}) is stored as {row['status']}, no event tells of it"

    return by_order(SEQUENCED, evidence, examined=len(stored), bad=bad, example=example)


def outbox_empty(evidence: Evidence) -> Finding:
    """Q2. |outbox| = 0 after the drain."""
    left = evidence.outbox

    def example() -> str:
        row = left.iloc[0]
        return f"event {row['event_id']} of order {row['order_id']} ({row['market']})"

    def subject() -> Story:
        steps = tuple(
            {
                "t": row["accepted_ns"] / 1e9,
                "what": f"order {row['order_id']} ({row['market']}) enters the outbox as event {row['event_id']}",
                "source": "store",
            }
            for row in left.head(STEPS_MAX).to_dict("records")
        )
        return Story(orders=tuple(int(number) for number in left["order_no"].head(1)), steps=steps[:1])

    return by_row(
        OUTBOX,
        evidence,
        examined=len(evidence.orders),
        violations=len(left),
        example=example,
        subject=subject,
    )


CHECKS = (
    Check(name=SEQUENCED.name, find=accepted_equals_sequenced, needs=("orders", "events")),
    Check(name=OUTBOX.name, find=outbox_empty, needs=("orders",), reads=("outbox",)),
)
