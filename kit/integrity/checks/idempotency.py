"""Check exactly-once: one order for each (client, key), one event for each order, one answer for each key."""

from __future__ import annotations

import numpy as np

from kit import ledger_rules
from kit.integrity.arrays import hashing
from kit.integrity.arrays.columns import Rows
from kit.integrity.arrays.grouping import counts, firsts, present, spread
from kit.integrity.arrays.json_columns import loads
from kit.integrity.evidence.client_tables import CANCEL, CONFLICT, INFO, ORDER, PROBED, REUSED, good, refused
from kit.integrity.evidence.evidence import Evidence, acknowledged, final_status
from kit.integrity.evidence.refusals import with_reason
from kit.integrity.findings.check import Checks, Result, by_key, by_order, by_row, plural
from kit.integrity.findings.counterexample import Subject

CHECKS = Checks()
KEY_RULE, ORDER_RULE = ledger_rules.EXACTLY_ONCE_PER_KEY, ledger_rules.ONE_EVENT_PER_ORDER


def sequenced(evidence: Evidence) -> np.ndarray:
    """Count how often each key was sequenced, accepted or rejected."""
    return counts(evidence.accepted["key"], evidence.key_count) + counts(evidence.rejected["key"], evidence.key_count)


@CHECKS.add(
    KEY_RULE.name,
    noun=KEY_RULE.noun,
    hold=KEY_RULE.hold,
    broke=KEY_RULE.broke,
    needs=("events", "orders"),
)
def exactly_once_per_key(evidence: Evidence) -> Result:
    """E1. Check that each (client, key) was sequenced and stored at most once.

    |{accepted, rejected events}| ≤ 1 and |{stored orders}| ≤ 1.
    """
    written = sequenced(evidence)
    stored = counts(evidence.orders["key"], evidence.key_count)
    bad = np.flatnonzero(ledger_rules.sequenced_again(written) | (stored > 1))

    def example(key: int) -> str:
        client, name = evidence.client_and_key(key)
        return (
            f"key {name} of client {client} was sequenced {plural(int(written[key]), 'time')} "
            f"and stored as {plural(int(stored[key]), 'order')}"
        )

    return by_key(evidence, examined=int((written > 0).sum()), bad=bad, example=example)


@CHECKS.add(
    "unknown-outcome-at-most-once",
    noun="keys",
    hold="took effect at most once if their outcome is unknown",
    broke="with an unknown outcome took effect twice, or only in the ledger or only in the store",
    needs=("attempts", "events", "orders", "run"),
)
def unknown_outcome_at_most_once(evidence: Evidence) -> Result:
    """Check that a key without a known outcome took effect at most once, in the ledger and the store alike.

    For each key that was never acknowledged and has an `info` attempt: |{accepted, rejected events}| = |{stored
    orders}| ≤ 1.
    """
    sent, size = evidence.sent, evidence.key_count
    asked = present(sent["key"], size)
    unknown = present(sent["key"][sent["outcome"] == INFO], size)
    unknown &= ~present(sent["key"][acknowledged(sent)], size)
    written, stored = sequenced(evidence), counts(evidence.orders["key"], size)
    bad = np.flatnonzero(unknown & ((written > 1) | (stored > 1) | (written != stored)))

    def example(key: int) -> str:
        client, name = evidence.client_and_key(key)
        return (
            f"client {client} got no answer for key {name}, which was sequenced {plural(int(written[key]), 'time')} "
            f"and stored as {plural(int(stored[key]), 'order')}"
        )

    return by_key(evidence, examined=int(asked.sum()), bad=bad, example=example)


@CHECKS.add(
    ORDER_RULE.name,
    noun=ORDER_RULE.noun,
    hold=ORDER_RULE.hold,
    broke=ORDER_RULE.broke,
    needs=("events",),
)
def one_event_per_order(evidence: Evidence) -> Result:
    """E7. Check that each order id was sequenced at most once: |{accepted, rejected events}| ≤ 1."""
    size = evidence.order_count
    times = counts(evidence.accepted["order"], size) + counts(evidence.rejected["order"], size)
    bad = np.flatnonzero(ledger_rules.sequenced_again(times))

    def example(order: int) -> str:
        return f"order {evidence.order_id(order)} was sequenced {times[order]} times"

    return by_order(evidence, examined=int((times > 0).sum()), bad=bad, example=example)


@CHECKS.add(
    "idempotent-replies",
    noun="answered keys",
    hold="gave every retry the first answer",
    broke="did not give every retry the first answer",
    needs=("attempts",),
)
def idempotent_replies(evidence: Evidence) -> Result:
    """E4. Check that all 2xx answers under one key have the same body and no definite refusal stands beside them.

    This holds for orders and cancels. A definite refusal is a 4xx other than 408 and 429; these and 5xx say nothing
    about the order. A cancel may be refused before it is accepted, while its order is not there yet, but not
    afterwards. An answer after the time-out counts like one before it. Only keys with two answers are counted.
    """
    attempts, size = evidence.attempts, evidence.key_count
    cancels = attempts["op"] == CANCEL
    sent = attempts.where((cancels | (attempts["op"] == ORDER)) & ~np.isin(attempts["kind"], PROBED))
    key, status = sent["key"], final_status(sent)
    fine, denied = good(status) & (key >= 0), refused(status) & (key >= 0)
    denied &= ~cancels[sent["index"]] | (sent["invoked_ns"] > _first_answer(sent, fine, size)[key])
    answers = counts(key[fine | denied], size)
    contradicted = present(key[fine], size) & present(key[denied], size)
    repeated = np.flatnonzero(fine)
    repeated = repeated[counts(key[fine], size)[key[repeated]] > 1]
    bodies = _bodies(evidence, sent, repeated)
    first = firsts(key[repeated], size)
    differs = bodies != bodies[first[key[repeated]]]
    bad = np.union1d(np.flatnonzero(contradicted), key[repeated[differs]])

    def example(number: int) -> str:
        client, name = evidence.client_and_key(number)
        mine = key == number
        statuses = sorted(set(status[mine & (fine | denied)].tolist()))
        different = max(1, len(set(bodies[key[repeated] == number].tolist())))
        different_bodies = plural(different, "different 2xx body", "different 2xx bodies")
        return f"key {name} of client {client} got {different_bodies} and the statuses {', '.join(map(str, statuses))}"

    return by_key(evidence, examined=int((answers > 1).sum()), bad=bad, example=example)


def _first_answer(sent: Rows, fine: np.ndarray, size: int) -> np.ndarray:
    """Return by key the time of its first 2xx."""
    ended = np.maximum(sent["completed_ns"], sent["late_ns"])
    first = np.full(size + 1, np.iinfo(np.int64).max)  # the last entry is for no key, −1
    np.minimum.at(first, sent["key"][fine], ended[fine])
    return first


def _bodies(evidence: Evidence, sent: Rows, chosen: np.ndarray) -> np.ndarray:
    """Hash the replies to some attempts. Few keys are answered twice, so only these replies are read again."""
    hashes = [hashing.texts(texts) for texts in evidence.replies(sent.where(chosen)["index"])]
    return np.concatenate(hashes) if hashes else np.zeros(0, dtype=np.uint64)


@CHECKS.add(
    "reused-key-refused",
    noun="reused keys",
    hold="with other content were refused with 409 IdempotencyKeyReused",
    broke="with other content were not refused with 409 IdempotencyKeyReused",
    needs=("attempts",),
)
def reused_key_refused(evidence: Evidence) -> Result:
    """Check that other content under a used key is answered 409 IdempotencyKeyReused.

    Only definite answers (2xx, or 4xx other than 408 and 429) count. A 409 for another reason did not compare the
    content.
    """
    probes = evidence.reused
    status, key = final_status(probes), probes["key"]
    definite = good(status) | refused(status)
    wrong = definite & ((status != CONFLICT) | (probes["answer"] != REUSED))
    bad = key[wrong]

    def example(number: int) -> str:
        client, name = evidence.client_and_key(number)
        at = np.flatnonzero(wrong & (key == number))[:1]
        reason = loads(evidence.rows("attempts", probes["index"][at])[0]["reply"]).get("error", "no reason")
        return f"key {name} of client {client}, sent again with other content, was answered {status[at[0]]} ({reason})"

    return by_key(evidence, examined=int(present(key[definite], evidence.key_count).sum()), bad=bad, example=example)


NEVER = np.iinfo(np.int64).max


@CHECKS.add(
    "unused-key-not-refused",
    noun="answered keys",
    hold="were refused as reused only if other content was sent under them",
    broke="were refused as reused, although their client had sent no other content",
    needs=("attempts",),
    timed=True,
)
def unused_key_not_refused(evidence: Evidence) -> Result:
    """Check that 409 IdempotencyKeyReused is only answered where other content was sent under the key before.

    The converse of `reused-key-refused`, for orders and cancels. The other content must have been sent, before the 409
    came, by an attempt that did not end with 409 itself. Any other attempt may have bound the key to its content,
    whatever its outcome was. PaperBroker compares everything of an order except its id, and of a cancel its order.
    """
    attempts, size = evidence.attempts, evidence.key_count
    op = attempts["op"]
    asked = attempts.where(((op == ORDER) | (op == CANCEL)) & (attempts["key"] >= 0))
    key, status = asked["key"], final_status(asked)
    concerned = asked.where(present(key[status == CONFLICT], size)[key])
    wrong = with_reason(evidence, concerned.where(_unexplained(concerned, size)), REUSED)

    def example() -> str:
        row = evidence.first_row("attempts", wrong)
        what = f"cancel of order {row['order_id']}" if row["op"] == "cancel" else f"order {row['order_id']}"
        return (
            f"the {what} by client {row['client_id']} was refused as a reuse of key {row['idempotency_key']}, "
            "but that client had sent no other content under it"
        )

    return by_row(
        evidence,
        examined=int(present(key[status > 0], size).sum()),
        violations=len(np.unique(wrong["key"])),
        example=example,
        subject=lambda: Subject(orders=(int(wrong["order"][0]),), keys=(int(wrong["key"][0]),)),
    )


def _unexplained(asked: Rows, size: int) -> np.ndarray:
    """Return which attempts got a 409 before other content was sent under their key by an attempt that got no 409."""
    key, refused = asked["key"], final_status(asked) == CONFLICT
    sent_ns = asked["invoked_ns"].astype(np.int64)
    ended_ns = np.maximum(asked["completed_ns"], asked["late_ns"])
    content = np.where(asked["op"] == CANCEL, hashing.rows(asked["order"]), asked["content"])
    claims = np.flatnonzero(~refused)
    claims = claims[np.argsort(sent_ns[claims], kind="stable")]
    # Each key's first content, and the time of its first other content: whichever differs explains the 409.
    first, first_ns = spread(key[claims], content[claims], size), spread(key[claims], sent_ns[claims], size, NEVER)
    others = claims[content[claims] != first[key[claims]]]
    other_ns = spread(key[others], sent_ns[others], size, NEVER)
    since_ns = np.where(content != first[key], first_ns[key], other_ns[key])
    return refused & (since_ns > ended_ns)
