"""Check the time of acceptance: one value for each order, in every answer that tells it, and by everybody's clock."""

from __future__ import annotations

import numpy as np

from kit.integrity.arrays.grouping import spread
from kit.integrity.arrays.json_columns import parse
from kit.integrity.arrays.parquet_table import to_numpy
from kit.integrity.evidence.client_tables import FOUND
from kit.integrity.evidence.evidence import Evidence, acknowledged
from kit.integrity.findings.check import Checks, Result, by_order
from kit.model import NS_PER_S

CHECKS = Checks()

# Another unit or time zone is off by far more. A request may also be carried out after its client has given up.
APART_NS = 60 * NS_PER_S
# Acknowledgements that are read again. Most are equal to others but for their order.
SAMPLE_MAX = 5_000
NEVER = np.iinfo(np.int64).max


@CHECKS.add(
    "accepted-at-is-true",
    noun="stored orders",
    hold="have one time of acceptance, at which they were sent",
    broke="have a time of acceptance at which they were not sent, or several",
    needs=("attempts", "orders"),
    timed=True,
)
def accepted_at_is_true(evidence: Evidence) -> Result:
    """Check that the stored time of acceptance lies between the key's attempts, and that answers tell the same time.

    first attempt − APART_NS ≤ stored ≤ end of the last attempt + APART_NS. Reads of an order, and a sample of its
    acknowledgements, tell the stored time where they tell one.
    """
    orders = evidence.orders
    stored = spread(orders["order"], orders["accepted_ns"], evidence.order_count, 0)
    off = orders["order"][_not_sent_then(evidence)]
    order, told = _told(evidence)
    differs = order[(told != 0) & (stored[order] != 0) & (told != stored[order])]
    bad = np.union1d(off, differs)

    def example(number: int) -> str:
        name, kept = evidence.order_id(number), int(stored[number])
        other = told[(order == number) & (told != 0) & (told != kept)]
        if len(other):
            return f"order {name} is stored as accepted at {kept}, an answer says {other[0]}"
        return f"order {name} is stored as accepted at {kept} ns, when its client had not sent it"

    return by_order(evidence, examined=len(orders), bad=bad, example=example)


def _not_sent_then(evidence: Evidence) -> np.ndarray:
    """Return which stored orders were accepted when no attempt of their key was under way, or nearly."""
    sent, orders, size = evidence.sent, evidence.orders, evidence.key_count
    first, last = np.full(size + 1, NEVER), np.zeros(size + 1, dtype=np.int64)  # the last entry is for no key, −1
    np.minimum.at(first, sent["key"], sent["invoked_ns"])
    np.maximum.at(last, sent["key"], np.maximum(sent["completed_ns"], sent["late_ns"]))
    key, at = orders["key"], orders["accepted_ns"].astype(np.int64)
    known = (key >= 0) & (first[key] != NEVER)
    return known & ((at < np.where(known, first[key], 0) - APART_NS) | (at > last[key] + APART_NS))


def _told(evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Return the orders of answers and the time of acceptance that each tells; 0 for none."""
    reads = evidence.order_reads.where(evidence.order_reads["status"] == FOUND)
    confirmed = evidence.sent.where(acknowledged(evidence.sent) & (evidence.sent["answer_order"] >= 0))
    step = max(1, len(confirmed) // SAMPLE_MAX)
    sample = confirmed.where(np.arange(len(confirmed)) % step == 0)
    parsed = [to_numpy(parse(texts, {"acceptedAt": int})["acceptedAt"]) for texts in evidence.replies(sample["index"])]
    return (
        np.concatenate([reads["order"], sample["answer_order"]]).astype(np.int64),
        np.concatenate([reads["accepted_at"], *parsed]).astype(np.int64),
    )
