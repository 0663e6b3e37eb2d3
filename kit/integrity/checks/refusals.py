"""Refusals in the name of a key: nobody is told that a key stands for other content who has sent none under it."""

from __future__ import annotations

import numpy as np

from kit.integrity.arrays import hashing
from kit.integrity.arrays.columns import Rows
from kit.integrity.arrays.grouping import present, spread
from kit.integrity.arrays.json_columns import parse
from kit.integrity.evidence.client_tables import CANCEL, CONFLICT, ORDER, REUSED
from kit.integrity.evidence.evidence import Evidence, final_status
from kit.integrity.findings.check import Check, Wording, by_row
from kit.integrity.findings.counterexample import Subject
from kit.model import Finding

NEVER = np.iinfo(np.int64).max

UNUSED = Wording(
    name="unused-key-not-refused",
    noun="answered keys",
    hold="were refused as used for other content only after other content",
    broke="were refused as used for other content, which their client had not sent",
)


def unused_key_not_refused(evidence: Evidence) -> Finding:
    """For each attempt at an order or a cancel that ends with a 409 that says IdempotencyKeyReused: under the same
    (client, key) other content was sent before that answer came, by an attempt that did not end with 409 itself.

    The converse of `reused-key-refused`. What was sent may have been recorded, whatever its outcome, and from then on
    the key stands for it; only a 409 records nothing, of whichever reason. Other content is what PaperBroker compares:
    of an order all but its id, of a cancel the order that it is about.
    """
    attempts, size = evidence.attempts, evidence.key_count
    op = attempts["op"]
    asked = attempts.where(((op == ORDER) | (op == CANCEL)) & (attempts["key"] >= 0))
    key, status = asked["key"], final_status(asked)
    concerned = asked.where(present(key[status == CONFLICT], size)[key])
    wrong = _for_other_content(evidence, concerned.where(_unexplained(concerned, size)))

    def example() -> str:
        row = evidence.rows("attempts", wrong["index"][:1])[0]
        what = f"cancel of order {row['order_id']}" if row["op"] == "cancel" else f"order {row['order_id']}"
        return (
            f"the {what} by client {row['client_id']} was refused as if its key {row['idempotency_key']} stood for "
            "other content, of which that client had sent none"
        )

    return by_row(
        UNUSED,
        evidence,
        examined=int(present(key[status > 0], size).sum()),
        violations=len(np.unique(wrong["key"])),
        example=example,
        subject=lambda: Subject(orders=(int(wrong["order"][0]),), keys=(int(wrong["key"][0]),)),
    )


def _unexplained(asked: Rows, size: int) -> np.ndarray:
    """Which attempts got a 409 before other content was sent under their key by an attempt that got none."""
    key, refused = asked["key"], final_status(asked) == CONFLICT
    sent_ns = asked["invoked_ns"].astype(np.int64)
    ended_ns = np.maximum(asked["completed_ns"], asked["late_ns"])
    content = np.where(asked["op"] == CANCEL, hashing.rows(asked["order"]), asked["content"])
    claims = np.flatnonzero(~refused)
    claims = claims[np.argsort(sent_ns[claims], kind="stable")]
    # Of each key the first content, and when the first other one came: the one of both that differs is what explains.
    first, first_ns = spread(key[claims], content[claims], size), spread(key[claims], sent_ns[claims], size, NEVER)
    others = claims[content[claims] != first[key[claims]]]
    other_ns = spread(key[others], sent_ns[others], size, NEVER)
    since_ns = np.where(content != first[key], first_ns[key], other_ns[key])
    return refused & (since_ns > ended_ns)


def _for_other_content(evidence: Evidence, refused: Rows) -> Rows:
    """Those of them that name other content as the reason."""
    said = [
        hashing.texts(parse(texts, {"error": str})["error"]) == REUSED for texts in evidence.replies(refused["index"])
    ]
    return refused.where(np.concatenate(said) if said else np.zeros(0, dtype=bool))


CHECKS = (Check(name=UNUSED.name, find=unused_key_not_refused, needs=("attempts",), timed=True),)
