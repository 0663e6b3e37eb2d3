"""Check order ids: each names one order, is free until an order has it, and is unknown before."""

from __future__ import annotations

import numpy as np

from kit.integrity.arrays.columns import Rows
from kit.integrity.arrays.grouping import counts, paired, present, spread, unpaired
from kit.integrity.evidence.client_tables import (
    CANCEL,
    CONFLICT,
    GET_ORDER,
    ID_TAKEN,
    NOT_FOUND,
    ORDER,
    SERVER_ERROR,
    good,
    refused,
)
from kit.integrity.evidence.evidence import Evidence, acknowledged, final_status
from kit.integrity.evidence.refusals import with_reason
from kit.integrity.findings.check import Checks, Result, by_order, by_row
from kit.integrity.findings.counterexample import Subject

CHECKS = Checks()

NEVER = np.iinfo(np.int64).max


@CHECKS.add(
    "order-id-names-one-order",
    noun="acknowledged order ids",
    hold="were acknowledged under one key",
    broke="were acknowledged under several keys",
    needs=("attempts",),
)
def order_id_names_one_order(evidence: Evidence) -> Result:
    """Check that no order id was acknowledged under two keys: |{keys with a 2xx that names the id}| ≤ 1."""
    confirmed = evidence.sent.where(acknowledged(evidence.sent))
    confirmed = confirmed.where((confirmed["answer_order"] >= 0) & (confirmed["key"] >= 0))
    pairs = np.unique(paired(confirmed["answer_order"], confirmed["key"]))
    orders = np.array([unpaired(pair)[0] for pair in pairs.tolist()], dtype=np.int64)
    times = counts(orders, evidence.order_count)
    bad = np.flatnonzero(times > 1)

    def example(order: int) -> str:
        keys = [unpaired(pair)[1] for pair in pairs.tolist() if unpaired(pair)[0] == order]
        names = " and ".join(f"{key} of client {client}" for client, key in map(evidence.client_and_key, keys))
        return f"order {evidence.order_id(order)} was acknowledged under the keys {names}"

    return by_order(evidence, examined=int((times > 0).sum()), bad=bad, example=example)


@CHECKS.add(
    "free-order-id-not-refused",
    noun="answered orders",
    hold="were refused as OrderIdReused only if another key had carried their id",
    broke="were refused as OrderIdReused, although no other key had carried their id",
    needs=("attempts",),
    timed=True,
)
def free_order_id_not_refused(evidence: Evidence) -> Result:
    """Check that 409 OrderIdReused is only answered where the id was sent under another key before.

    The converse of `taken-order-id-refused`: an order that was refused leaves nothing that refuses the next one.
    """
    attempts, size = evidence.attempts, evidence.order_count
    asked = attempts.where((attempts["op"] == ORDER) & (attempts["order"] >= 0))
    status = final_status(asked)
    denied = with_reason(evidence, asked.where(status == CONFLICT), ID_TAKEN)
    concerned = asked.where(present(denied["order"], size)[asked["order"]])
    bad = denied.where(_since_other_key(concerned, denied, size) > _ended_ns(denied))

    def example() -> str:
        row = evidence.first_row("attempts", bad)
        return (
            f"order {row['order_id']} of client {row['client_id']} under key {row['idempotency_key']} was refused as "
            "OrderIdReused, but no order under another key had that id"
        )

    return by_row(
        evidence,
        examined=int((status > 0).sum()),
        violations=len(bad),
        example=example,
        subject=lambda: Subject(orders=(int(bad["order"][0]),), keys=(int(bad["key"][0]),)),
    )


def _since_other_key(concerned: Rows, denied: Rows, size: int) -> np.ndarray:
    """Return for each refused attempt when its order id was first sent under another key; NEVER if it was not."""
    order, key = concerned["order"], concerned["key"]
    sent_ns = concerned["invoked_ns"].astype(np.int64)
    by_time = np.argsort(sent_ns, kind="stable")
    order, key, sent_ns = order[by_time], key[by_time], sent_ns[by_time]
    first, first_ns = spread(order, key, size, -1), spread(order, sent_ns, size, NEVER)
    others = key != first[order]
    other_ns = spread(order[others], sent_ns[others], size, NEVER)
    return np.where(denied["key"] != first[denied["order"]], first_ns[denied["order"]], other_ns[denied["order"]])


def _ended_ns(attempts: Rows) -> np.ndarray:
    return np.maximum(attempts["completed_ns"], attempts["late_ns"])


@CHECKS.add(
    "unknown-order-not-found",
    noun="answered reads and cancels of orders",
    hold="were answered 404 if nobody had sent the order",
    broke="were not answered 404, although nobody had sent the order",
    needs=("attempts",),
    timed=True,
)
def unknown_order_not_found(evidence: Evidence) -> Result:
    """Check that a GET or cancel of an order that nobody has sent yet is answered 404.

    Counted are definite answers (2xx, or 4xx other than 408 and 429) and 500, which came before any order with that id
    was sent.
    """
    attempts, size = evidence.attempts, evidence.order_count
    orders = attempts.where((attempts["op"] == ORDER) & (attempts["order"] >= 0))
    sent_ns = np.full(size, NEVER, dtype=np.int64)
    np.minimum.at(sent_ns, orders["order"], orders["invoked_ns"])
    asked = attempts.where((attempts["op"] == GET_ORDER) | (attempts["op"] == CANCEL))
    asked = asked.where(asked["order"] >= 0)
    status = final_status(asked)
    definite = good(status) | refused(status) | (status == SERVER_ERROR)
    early = _ended_ns(asked) < sent_ns[asked["order"]]
    bad = asked.where(definite & early & (status != NOT_FOUND))

    def example() -> str:
        row = evidence.first_row("attempts", bad)
        what = "cancel" if row["op"] == "cancel" else "read"
        answered = row["late_status"] or row["status"]
        return f"the {what} of order {row['order_id']}, which nobody had sent, was answered {answered}"

    return by_row(
        evidence,
        examined=int(definite.sum()),
        violations=len(bad),
        example=example,
        subject=lambda: Subject(orders=(int(bad["order"][0]),)),
    )
