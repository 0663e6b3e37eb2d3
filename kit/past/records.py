"""Let PaperBroker's own code compute what some orders and cancels leave in its tables."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.dynamodb_items import Item, plain_value
from kit.errors import EvidenceMissing
from kit.model import CANCEL, NS_PER_S

# Long before the run, so that whatever forgets after minutes has forgotten it. SQS and PaperBroker know nothing that
# they keep for hours and not for days.
ENDED_BEFORE_S = 3_600
EVERY_NS = NS_PER_S // 50
COMPUTE_S_MAX = 300
ERROR_CHARS_MAX = 500
# Table of the program's output → output of the stack with the table's name, in the order in which they are written:
# a market's sequence comes last, because a matcher that reads it expects all of its events.
TABLES = {
    "ledger": "LedgerTable",
    "orders": "OrdersTable",
    "positions": "PositionsTable",
    "applied": "AppliedTable",
    "markets": "MarketsTable",
}

Operation = Mapping[str, Any]  # columns of `kit.model.ATTEMPT_COLUMNS`


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What clients sent, what they were answered, and the items of each table.

    `answers` has the time in ns, the status and the body of each answer.
    """

    operations: Sequence[Operation]
    answers: Sequence[tuple[int, int, str]]
    items: Mapping[str, Sequence[Item]]

    def seqs(self, markets: Sequence[str]) -> tuple[int, ...]:
        """Return the last sequence number of each market."""
        known = {plain_value(item["market"]): int(plain_value(item["seq"])) for item in self.items["markets"]}
        return tuple(known.get(market, 0) for market in markets)


def compute(operations: Iterable[Operation], *, markets: Sequence[str], source: Path, now_ns: int) -> Past:
    """Compute the past that these operations leave, which ended an hour before `now_ns`.

    `source` is PaperBroker's source tree. Raises EvidenceMissing if its code refuses an operation.
    """
    asked = list(operations)
    text = json.dumps(
        {
            "markets": list(markets),
            "startedNs": now_ns - ENDED_BEFORE_S * NS_PER_S - len(asked) * EVERY_NS,
            "everyNs": EVERY_NS,
            "requests": [_request(one) for one in asked],
        }
    )
    found = json.loads(_run(text, source))
    if left := found["items"].pop("outbox"):
        raise EvidenceMissing(f"the past is not at rest: {len(left)} events are in its outbox")
    answers = [(int(at_ns), int(status), str(body)) for at_ns, status, body in found["answers"]]
    return Past(operations=asked, answers=answers, items=found["items"])


def _run(text: str, source: Path) -> str:
    argv = [sys.executable, "-m", f"{source.name}.past"]
    try:
        done = subprocess.run(
            argv, input=text, cwd=source.parent, capture_output=True, text=True, timeout=COMPUTE_S_MAX, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise EvidenceMissing(f"the past was not computed within {COMPUTE_S_MAX} s") from error
    if done.returncode:
        said = done.stderr.strip()[-ERROR_CHARS_MAX:]
        raise EvidenceMissing(f"the past cannot be computed, exit code {done.returncode}: {said}")
    return done.stdout


def _request(operation: Operation) -> dict[str, Any]:
    identity = {"clientId": operation["client_id"], "idempotencyKey": operation["idempotency_key"]}
    if operation["op"] == CANCEL:
        return {"op": CANCEL, "orderId": operation["order_id"], "body": identity}
    fields = {"orderId": operation["order_id"], **{name: operation[name] for name in ("symbol", "side", "type", "tif")}}
    price = {"price": operation["price"]} if operation["type"] == "LIMIT" else {}
    return {"op": operation["op"], "body": {**identity, **fields, "qty": operation["qty"], **price}}
