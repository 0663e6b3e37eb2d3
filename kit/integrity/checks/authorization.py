"""Orders are their client's: nobody else reads or cancels them."""

from __future__ import annotations

import numpy as np

from kit.integrity.arrays.columns import Rows
from kit.integrity.arrays.grouping import present, spread
from kit.integrity.evidence.client_tables import CANCEL, GET_ORDER, good, refused
from kit.integrity.evidence.evidence import Evidence, final_status
from kit.integrity.evidence.ledger_tables import CLIENT
from kit.integrity.findings.check import Checks, Result, by_row
from kit.integrity.findings.counterexample import Subject

CHECKS = Checks()

NOBODY = -1


def owners(evidence: Evidence) -> np.ndarray:
    """By order the client that sent it, NOBODY where no client did: what clients say, whatever was made of it."""
    sent = evidence.sent
    return spread(sent["order"], sent["client"], evidence.order_count, NOBODY)


@CHECKS.add(
    "unauthorized-refused",
    noun="requests about another client's order",
    hold="were neither served nor carried out",
    broke="were served or carried out",
    needs=("attempts", "events"),
)
def unauthorized_refused(evidence: Evidence) -> Result:
    """For each GET or cancel of an order by a client that did not send that order: its answer is no 2xx, and no
    cancelled event (client) stands under its key. An answer that settles nothing (5xx, 408, 429, none) is no evidence
    unless the cancel was carried out.
    """
    strange = _strange(evidence)
    status, carried_out = final_status(strange), _carried_out(evidence, strange)
    served = good(status) | carried_out
    bad = strange.where(served)

    def example() -> str:
        row = evidence.rows("attempts", bad["index"][:1])[0]
        asked = "cancelled" if row["op"] == "cancel" else "read"
        sent = evidence.sent.where(evidence.sent["order"] == bad["order"][0])
        owner = evidence.rows("attempts", sent["index"][:1])[0]["client_id"]
        return f"client {row['client_id']} {asked} order {row['order_id']} of client {owner}"

    return by_row(
        evidence,
        examined=int((served | refused(status)).sum()),
        violations=len(bad),
        example=example,
        subject=lambda: Subject(orders=(int(bad["order"][0]),)),
    )


def _strange(evidence: Evidence) -> Rows:
    attempts = evidence.attempts
    asked = attempts.where((attempts["op"] == GET_ORDER) | (attempts["op"] == CANCEL))
    asked = asked.where(asked["order"] >= 0)
    owner = owners(evidence)[asked["order"]]
    return asked.where((owner != NOBODY) & (owner != asked["client"]))


def _carried_out(evidence: Evidence, strange: Rows) -> np.ndarray:
    """Which of them are cancels that the ledger has, at the wish of a client."""
    cancelled = evidence.cancelled
    wished = present(cancelled["key"][cancelled["reason"] == CLIENT], evidence.key_count)
    return (strange["op"] == CANCEL) & np.append(wished, False)[strange["key"]]
