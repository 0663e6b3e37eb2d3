"""Check the status of answers: new once, cancels of one's own orders accepted, and what must be refused refused."""

from __future__ import annotations

import numpy as np

from kit.integrity.arrays.columns import Rows
from kit.integrity.arrays.grouping import counts, present
from kit.integrity.arrays.json_columns import loads
from kit.integrity.checks.authorization import owners
from kit.integrity.checks.order_reads import first_acknowledged
from kit.integrity.evidence.client_tables import (
    CANCEL,
    CONFLICT,
    FOUND,
    ID_TAKEN,
    INFO,
    INVALID_REQUEST,
    NEW_CANCEL,
    NEW_ORDER,
    ORDER,
    PROBED,
    good,
    refused,
)
from kit.integrity.evidence.evidence import Evidence, final_status
from kit.integrity.findings.check import Checks, Result, by_key, by_order, by_row, plural
from kit.integrity.findings.counterexample import Subject
from kit.model import NS_PER_MS

CHECKS = Checks()

ORDER_FIELDS = ("client_id", "idempotency_key", "order_id", "symbol", "side", "type", "tif", "qty", "price")


@CHECKS.add(
    "answered-as-new-once",
    noun="acknowledged keys",
    hold="were answered as new once",
    broke="were not answered as new exactly once",
    needs=("attempts",),
)
def answered_as_new_once(evidence: Evidence) -> Result:
    """Check that one attempt of a key is answered as new (201 for an order, 202 for a cancel), all others with 200.

    |{new answers}| ≤ 1, and = 1 unless the answer to some attempt, which may have been the new one, was lost. No 2xx
    has another status.
    """
    attempts, size = evidence.attempts, evidence.key_count
    asked = attempts.where(((attempts["op"] == ORDER) | (attempts["op"] == CANCEL)) & (attempts["key"] >= 0))
    asked = asked.where(~np.isin(asked["kind"], PROBED))
    key, status = asked["key"], final_status(asked)
    new = status == np.where(asked["op"] == ORDER, NEW_ORDER, NEW_CANCEL)
    confirmed, lost = present(key[good(status)], size), present(key[_lost(asked, status)], size)
    first = counts(key[new], size)
    bad = confirmed & ((first > 1) | ((first == 0) & ~lost))
    bad |= present(key[good(status) & ~new & (status != FOUND)], size)

    def example(number: int) -> str:
        client, name = evidence.client_and_key(number)
        statuses = ", ".join(map(str, status[key == number]))
        return (
            f"key {name} of client {client} was answered as new {plural(int(first[number]), 'time')}, "
            f"its attempts got {statuses}"
        )

    return by_key(evidence, examined=int(confirmed.sum()), bad=np.flatnonzero(bad), example=example)


def _lost(asked: Rows, status: np.ndarray) -> np.ndarray:
    """Return which attempts may have been carried out without an answer that says so."""
    return (asked["outcome"] == INFO) & ~good(status) & ~refused(status)


@CHECKS.add(
    "own-orders-cancellable",
    noun="cancels of acknowledged orders",
    hold="were not refused",
    broke="were refused, although their client had been acknowledged the order",
    needs=("attempts",),
    timed=True,
)
def own_orders_cancellable(evidence: Evidence) -> Result:
    """Check that a cancel by the order's client, sent after the order's 2xx, is never refused (4xx), however late.

    Cancels under a key that was used for something else are left out. 408 and 429 refuse nothing finally.
    """
    cancels, acknowledged_ns = evidence.cancels, first_acknowledged(evidence)
    cancels = cancels.where(~np.isin(cancels["kind"], PROBED) & (cancels["order"] >= 0))
    order = cancels["order"]
    due = cancels.where(
        (cancels["invoked_ns"] > acknowledged_ns[order]) & (owners(evidence)[order] == cancels["client"])
    )
    status = final_status(due)
    bad = due.where(refused(status))

    def example(number: int) -> str:
        row = evidence.first_row("attempts", bad, order=number)
        after_ms = (row["invoked_ns"] - acknowledged_ns[number]) / NS_PER_MS
        return (
            f"the cancel of order {row['order_id']} was answered {row['late_status'] or row['status']} "
            f"{after_ms:.0f} ms after the order had been acknowledged"
        )

    return by_order(evidence, examined=int((good(status) | refused(status)).sum()), bad=bad["order"], example=example)


@CHECKS.add(
    "taken-order-id-refused",
    noun="orders with the id of another order",
    hold="were refused with 409 OrderIdReused",
    broke="were not refused with 409 OrderIdReused",
    needs=("attempts",),
)
def taken_order_id_refused(evidence: Evidence) -> Result:
    """Check that an order under a new key with the id of an acknowledged order is answered 409 OrderIdReused.

    It comes from the same client or another one. Only definite answers (2xx, or 4xx other than 408 and 429) count.
    """
    probes = evidence.taken
    wrong = (final_status(probes) != CONFLICT) | (probes["answer"] != ID_TAKEN)
    return _refusals(evidence, probes, wrong, "with the id of an acknowledged order")


@CHECKS.add(
    "malformed-orders-refused",
    noun="orders that break the contract",
    hold="were refused with 400",
    broke="were not refused with 400",
    needs=("attempts",),
)
def malformed_orders_refused(evidence: Evidence) -> Result:
    """Check that an order that breaks one rule of the contract is answered 400.

    The rules concern the characters and length of identifiers, the bounds of numbers, and the words of side, type, time
    in force and market. Only definite answers (2xx, or 4xx other than 408 and 429) count.
    """
    probes = evidence.malformed
    return _refusals(evidence, probes, final_status(probes) != INVALID_REQUEST, "that breaks the contract")


def _refusals(evidence: Evidence, probes: Rows, wrong: np.ndarray, what: str) -> Result:
    status = final_status(probes)
    definite = good(status) | refused(status)
    bad = probes.where(definite & wrong)

    def example() -> str:
        row = evidence.first_row("attempts", bad)
        reason = loads(row["reply"]).get("error", "no reason")
        sent = {name: row[name] for name in ORDER_FIELDS}
        return f"the order {sent} {what} was answered {row['late_status'] or row['status']} ({reason})"

    return by_row(
        evidence,
        examined=int(definite.sum()),
        violations=len(bad),
        example=example,
        subject=lambda: Subject(orders=(int(bad["order"][0]),), keys=(int(bad["key"][0]),)),
    )
