"""Check that only an order's own client reads or cancels it."""

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
    """Return by order number the client that sent the order, NOBODY where no client did.

    Only the history is used.
    """
    sent = evidence.sent
    return spread(sent["order"], sent["client"], evidence.order_count, NOBODY)


@CHECKS.add(
    "unauthorized-refused",
    noun="requests for another client's order",
    hold="were refused and not carried out",
    broke="were served or carried out",
    needs=("attempts", "events"),
)
def unauthorized_refused(evidence: Evidence) -> Result:
    """Check that GETs and cancels by a client that did not send the order are refused and have no effect.

    Their answer is not a 2xx, and no cancelled event (client) carries the cancel's key. A request without a definite
    answer (5xx, 408, 429 or none) is only counted if its cancel was carried out.
    """
    requests = _unauthorized(evidence)
    status, carried_out = final_status(requests), _carried_out(evidence, requests)
    served = good(status) | carried_out
    bad = requests.where(served)

    def example() -> str:
        row = evidence.first_row("attempts", bad)
        asked = "cancelled" if row["op"] == "cancel" else "read"
        sent = evidence.sent.where(evidence.sent["order"] == bad["order"][0])
        owner = evidence.first_row("attempts", sent)["client_id"]
        return f"client {row['client_id']} {asked} order {row['order_id']} of client {owner}"

    return by_row(
        evidence,
        examined=int((served | refused(status)).sum()),
        violations=len(bad),
        example=example,
        subject=lambda: Subject(orders=(int(bad["order"][0]),)),
    )


def _unauthorized(evidence: Evidence) -> Rows:
    """Find GETs and cancels of orders that another client sent."""
    attempts = evidence.attempts
    asked = attempts.where((attempts["op"] == GET_ORDER) | (attempts["op"] == CANCEL))
    asked = asked.where(asked["order"] >= 0)
    owner = owners(evidence)[asked["order"]]
    return asked.where((owner != NOBODY) & (owner != asked["client"]))


def _carried_out(evidence: Evidence, requests: Rows) -> np.ndarray:
    """Find the requests that are cancels and that the ledger carried out for a client."""
    cancelled = evidence.cancelled
    applied = present(cancelled["key"][cancelled["reason"] == CLIENT], evidence.key_count)
    return (requests["op"] == CANCEL) & np.append(applied, False)[requests["key"]]
