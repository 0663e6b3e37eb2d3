"""Check the status of answers: new once, cancels of one's own orders accepted, and what must be refused refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

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
    SERVER_ERROR,
    TOO_MANY,
    UNAVAILABLE,
    good,
    refused,
)
from kit.integrity.evidence.evidence import Evidence, final_status
from kit.integrity.evidence.order_contract import broken_fields
from kit.integrity.evidence.refusals import of_task
from kit.integrity.findings.check import Checks, Result, by_key, by_order, by_row, plural
from kit.integrity.findings.counterexample import Step, Subject
from kit.model import NS_PER_MS, NS_PER_S

CHECKS = Checks()

# A refused client that comes back later than this has missed more than the fault: tasks refuse for a second at a time.
RETRY_AFTER_S_MAX = 10
# Answers that a counterexample shows.
SHOWN_MAX = 6
# Names that no refusal has: those of an order, a book, and trades.
REVEALING = frozenset({"side", "qty", "price", "status", "filledQty", "acceptedAt", "bids", "asks", "trades"})
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

    It comes from the same client or another one. Only definite answers (2xx, or 4xx other than 408 and 429) count, and
    none that came after the client's time-out: it may have sent the order with a free id under the same key since.
    """
    probes = evidence.taken.where(evidence.taken["late_ns"] == 0)
    wrong = (final_status(probes) != CONFLICT) | (probes["answer"] != ID_TAKEN)
    return _refusals(evidence, probes, wrong, "with the id of an acknowledged order")


@CHECKS.add(
    "malformed-requests-refused",
    noun="requests that break the contract",
    hold="were refused with 400, the field and nothing else",
    broke="were not refused with 400, the field and nothing else",
    needs=("attempts",),
)
def malformed_requests_refused(evidence: Evidence) -> Result:
    """Check that a request that breaks one rule of the contract is answered 400, which names the field.

    The rules concern the characters and length of identifiers, the bounds and types of numbers, the words of side,
    type, time in force and market, missing, repeated and unknown fields and query parameters, and bodies that are no
    JSON object. A refusal reveals nothing of an order, a book or trades. Only definite answers (2xx, or 4xx other than
    408 and 429) and 500 count.
    """
    probes = evidence.malformed
    wrong = (final_status(probes) != INVALID_REQUEST) | ~_names_the_field(evidence, probes)
    return _refusals(evidence, probes, wrong, "that breaks the contract")


def _names_the_field(evidence: Evidence, probes: Rows) -> np.ndarray:
    """Return which answers name a field that breaks the contract, and nothing of what was asked for."""
    markets = {evidence.markets[number] for number in evidence.market_ranges.by_market}
    named = [
        not (broken := broken_fields(row, markets)) or (reply.get("field") in broken and not REVEALING & reply.keys())
        for row in evidence.rows("attempts", probes["index"])
        for reply in [loads(row["reply"])]
    ]
    return np.array(named, dtype=bool)


@CHECKS.add(
    "refusals-say-when",
    noun="answers of the API",
    hold="say when to come back, and soon, if they are 429 or 503",
    broke="are 429 or 503 without Retry-After or with a long one",
    needs=("attempts",),
)
def refusals_say_when(evidence: Evidence) -> Result:
    """Check that every 429 and 503 of a task carries Retry-After, in whole seconds from 1 to RETRY_AFTER_S_MAX."""
    attempts = evidence.attempts
    status = final_status(attempts)
    answered = status > 0
    told_s = attempts["retry_after_s"]
    wrong = (told_s < 1) | (told_s > RETRY_AFTER_S_MAX)
    refused_now = attempts.where(((status == TOO_MANY) | (status == UNAVAILABLE)) & wrong)
    bad = refused_now.where(of_task(evidence, refused_now, final_status(refused_now)))

    def example() -> str:
        row = evidence.first_row("attempts", bad)
        reason = loads(row["reply"]).get("error", "no reason")
        return f"the {row['op']} of client {row['client_id']} was answered {row['status']} ({reason}) {_when(row)}"

    return by_row(
        evidence,
        examined=int(answered.sum()),
        violations=len(bad),
        example=example,
        subject=lambda: Subject(steps=tuple(_told(evidence, bad))),
    )


def _when(row: Mapping[str, Any]) -> str:
    told_s = row["retry_after_s"]
    return f"with Retry-After: {told_s}, more than {RETRY_AFTER_S_MAX}" if told_s else "without Retry-After"


def _told(evidence: Evidence, bad: Rows) -> Iterator[Step]:
    """Yield some of the answers."""
    for row in evidence.rows("attempts", bad["index"][:SHOWN_MAX]):
        what = f"{row['op']} of client {row['client_id']} is answered {row['status']} {_when(row)}"
        yield {"t": row["completed_ns"] / NS_PER_S, "what": what, "source": "client", "client_id": row["client_id"]}


def _refusals(evidence: Evidence, probes: Rows, wrong: np.ndarray, what: str) -> Result:
    status = final_status(probes)
    definite = good(status) | refused(status) | (status == SERVER_ERROR)
    bad = probes.where(definite & wrong)

    def example() -> str:
        row = evidence.first_row("attempts", bad)
        reason = loads(row["reply"]).get("error", "no reason")
        sent = {name: row[name] for name in ORDER_FIELDS if row["op"] == "order" or row[name]}
        return f"the {row['op']} {sent} {what} was answered {row['late_status'] or row['status']} ({reason})"

    return by_row(
        evidence,
        examined=int(definite.sum()),
        violations=len(bad),
        example=example,
        subject=lambda: Subject(orders=(int(bad["order"][0]),), keys=(int(bad["key"][0]),)),
    )
