"""Exactly once: one order per (client, key), one event per order, one answer per key, no second use of a key."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kit.integrity.answer import Check, Wording, by_key, by_order, plural
from kit.integrity.evidence import PROBE_REUSE, Evidence, Table
from kit.model import Finding

REQUEST_TIMEOUT, CONFLICT, TOO_MANY = 408, 409, 429

ONCE_PER_KEY = Wording(
    name="exactly-once-per-key", noun="keys", hold="were applied exactly once", broke="were applied more than once"
)
ONE_EVENT = Wording(
    name="one-event-per-order",
    noun="orders",
    hold="were sequenced by one event",
    broke="were sequenced more than once",
)
REPLIES = Wording(
    name="idempotent-replies",
    noun="answered keys",
    hold="gave every retry the first answer again",
    broke="did not give every retry the first answer",
)
REUSE = Wording(
    name="reused-key-refused",
    noun="reused keys",
    hold="with other content were refused with 409",
    broke="with other content were not refused with 409",
)


def exactly_once_per_key(evidence: Evidence) -> Finding:
    """E1. For each (client, key): |{accepted, rejected events}| ≤ 1 and |{stored orders}| ≤ 1."""
    numbers: Table = pd.concat([evidence.accepted["key_no"], evidence.rejected["key_no"]])
    counts = numbers[numbers >= 0].value_counts()
    stored = evidence.orders["key_no"]
    stored = stored[stored >= 0].value_counts()
    bad = np.union1d(counts.index[counts > 1], stored.index[stored > 1])

    def example(key: int) -> str:
        client, name = evidence.key_of(key)
        return (
            f"key {name} of client {client} was sequenced {plural(int(counts.get(key, 0)), 'time')} "
            f"and stored as {plural(int(stored.get(key, 0)), 'order')}"
        )

    return by_key(ONCE_PER_KEY, evidence, examined=len(counts), bad=bad, example=example)


def one_event_per_order(evidence: Evidence) -> Finding:
    """E7. For each order id: |{accepted, rejected events}| ≤ 1."""
    numbers: Table = pd.concat([evidence.accepted["order_no"], evidence.rejected["order_no"]])
    counts = numbers.value_counts()
    bad = counts.index[counts > 1].to_numpy()

    def example(order: int) -> str:
        return f"order {evidence.order_of(order)} was sequenced {counts[order]} times"

    return by_order(ONE_EVENT, evidence, examined=len(counts), bad=bad, example=example)


def idempotent_replies(evidence: Evidence) -> Finding:
    """E4. All 2xx answers under one key have one body; where one is 2xx, no other is a definite refusal.

    Definite is 4xx but 408 and 429: these and 5xx say nothing of the order. An answer after the time-out counts like
    one in time. Needs keys that were answered twice.
    """
    sent = _with_late_answers(evidence.sent)
    good = sent[sent["status"].between(200, 299)]
    refused = sent[sent["status"].between(400, 499) & ~sent["status"].isin((REQUEST_TIMEOUT, TOO_MANY))]
    bodies = good.groupby("key_no")["reply"].nunique()
    answers: Table = pd.concat([good["key_no"], refused["key_no"]]).value_counts()
    bad = np.union1d(bodies.index[bodies > 1], np.intersect1d(bodies.index, refused["key_no"]))

    def example(key: int) -> str:
        client, name = evidence.key_of(key)
        statuses = sorted(
            {*good.loc[good["key_no"] == key, "status"], *refused.loc[refused["key_no"] == key, "status"]}
        )
        different = plural(int(bodies.get(key, 0)), "different 2xx body", "different 2xx bodies")
        return f"key {name} of client {client} got {different} and the statuses {', '.join(map(str, statuses))}"

    return by_key(REPLIES, evidence, examined=int((answers > 1).sum()), bad=bad, example=example)


def reused_key_refused(evidence: Evidence) -> Finding:
    """Every definite answer (2xx, or 4xx but 408 and 429) to a used key with other content is 409."""
    attempts = evidence.attempts
    probes = _with_late_answers(attempts[(attempts["op"] == "order") & (attempts["kind"] == PROBE_REUSE)])
    status = probes["status"]
    definite = probes[status.between(200, 299) | (status.between(400, 499) & ~status.isin((REQUEST_TIMEOUT, TOO_MANY)))]
    bad = definite.loc[definite["status"] != CONFLICT]

    def example(key: int) -> str:
        client, name = evidence.key_of(key)
        status = bad.loc[bad["key_no"] == key, "status"].iloc[0]
        return f"key {name} of client {client}, sent again with other content, was answered {status}"

    examined = definite["key_no"].nunique()
    return by_key(REUSE, evidence, examined=examined, bad=bad["key_no"].to_numpy(), example=example)


def _with_late_answers(attempts: Table) -> Table:
    """The attempts with the status that came in the end, after the time-out if need be."""
    return attempts.assign(status=attempts["status"].where(attempts["late_status"] == 0, attempts["late_status"]))


CHECKS = (
    Check(name=ONCE_PER_KEY.name, find=exactly_once_per_key, needs=("events", "orders")),
    Check(name=ONE_EVENT.name, find=one_event_per_order, needs=("events",)),
    Check(name=REPLIES.name, find=idempotent_replies, needs=("attempts",)),
    Check(name=REUSE.name, find=reused_key_refused, needs=("attempts",)),
)
