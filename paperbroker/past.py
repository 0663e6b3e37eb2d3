"""Compute the records that a list of requests leaves in the tables: `python -m paperbroker.past`.

A game day writes these records into new tables, so that it starts on a ledger that is long already. The requests pass
PaperBroker's own intake, matcher and table code, over tables in memory and with a clock that each request advances.

Standard input is one JSON object: `markets`; `startedNs` and `everyNs`, the time of the first request and the time from
one to the next; `requests`, each with `op` (order or cancel), `body` and, for a cancel, `orderId`. Standard output is
one JSON object: `answers`, one [time in ns, status, body] for each request, and `items`, the items of each table in
DynamoDB's JSON.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from paperbroker.domain.events import IntakeEvent
from paperbroker.domain.orders import parse_cancel, parse_order
from paperbroker.errors import PaperBrokerError
from paperbroker.services.intake import Intake, Receipt
from paperbroker.services.sequencer import Sequencer
from paperbroker.services.telemetry import Silent
from paperbroker.settings import Tables
from paperbroker.storage.ledger import LedgerTables
from paperbroker.storage.outbox import Outbox
from paperbroker.storage.tables import OrderTables

TABLES = Tables(**{name: name for name in Tables.__dataclass_fields__})
KEYS = {
    TABLES.orders: ("pk",),
    TABLES.outbox: ("market", "eventId"),
    TABLES.ledger: ("market", "seq"),
    TABLES.markets: ("market",),
    TABLES.positions: ("clientId", "market"),
    TABLES.applied: ("market", "eventId"),
}
NEW_ORDER, NEW_CANCEL = 201, 202
# A matcher commits the commands of one receive together. Here as many of a market wait for each other.
COMMANDS_AT_ONCE = 5
CLAUSE = re.compile(r"(SET|ADD) (.+?)(?= SET | ADD |$)")
USAGE_EXIT_CODE = 2

Item = dict[str, Any]


class MemoryTables:
    """The part of a DynamoDB client that intake and matcher call. Only they write, one call after the other."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Item]] = {name: {} for name in KEYS}

    def get_item(self, *, TableName: str, Key: Item, **_: Any) -> dict[str, Item]:
        found = self.items[TableName].get(_key(TableName, Key))
        return {} if found is None else {"Item": found}

    def transact_write_items(self, *, TransactItems: list[dict[str, Any]], **_: Any) -> None:
        for action in TransactItems:
            if "Put" in action:
                self._put(action["Put"]["TableName"], action["Put"]["Item"])
            else:
                self._update(action["Update"])

    def batch_write_item(self, *, RequestItems: dict[str, list[dict[str, Any]]]) -> None:
        for table, requests in RequestItems.items():
            for request in requests:
                del self.items[table][_key(table, request["DeleteRequest"]["Key"])]

    def _put(self, table: str, item: Item) -> None:
        """Write a new item: everything that intake and matcher put is conditional on that."""
        key = _key(table, item)
        if key in self.items[table]:
            raise ValueError(f"table {table}: {key} is written twice")
        self.items[table][key] = item

    def _update(self, update: Mapping[str, Any]) -> None:
        table, key = update["TableName"], _key(update["TableName"], update["Key"])
        item = self.items[table].setdefault(key, dict(update["Key"]))
        names, values = update.get("ExpressionAttributeNames", {}), update["ExpressionAttributeValues"]
        for verb, assignments in CLAUSE.findall(update["UpdateExpression"]):
            for assignment in assignments.split(","):
                name, value = assignment.replace("=", " ").split()
                name, value = names.get(name, name), values[value]
                item[name] = value if verb == "SET" else _sum(item.get(name), value)


def _key(table: str, item: Mapping[str, Any]) -> str:
    return json.dumps([item[name] for name in KEYS[table]])


def _sum(old: Item | None, added: Item) -> Item:
    return {"N": str(int(old["N"] if old else 0) + int(added["N"]))}


class Past:
    """An exchange without processes: `ask` answers a request, and the matcher follows soon.

    `dynamodb` is a client, or the tables in memory.
    """

    def __init__(
        self, dynamodb: Any, tables: Tables, markets: Iterable[str], *, started_ns: int, every_ns: int
    ) -> None:
        self._markets = frozenset(markets)
        self._now_ns, self._every_ns = started_ns, every_ns
        self._intake = Intake(OrderTables(dynamodb, tables), self, now_ns=lambda: self._now_ns, now_s=lambda: 0.0)
        ledger = LedgerTables(dynamodb, tables, now_s=lambda: self._now_ns / 1e9)
        self._sequencer = Sequencer(ledger, Silent(), now_ns=lambda: self._now_ns)
        self._outbox = Outbox(dynamodb, tables)
        self._waiting: defaultdict[str, list[IntakeEvent]] = defaultdict(list)

    def offer(self, event: IntakeEvent) -> None:
        """Take an accepted event over from intake."""
        self._waiting[event.market].append(event)

    def ask(self, request: Mapping[str, Any]) -> tuple[int, int, str]:
        """Answer one request: time in ns, status, body. Raises PaperBrokerError if it is refused."""
        receipt, status = self._accepted(request)
        if not receipt.first:
            raise ValueError(f"request {request} repeats an earlier one")
        asked_ns = self._now_ns
        self._now_ns += self._every_ns
        for market in [market for market, events in self._waiting.items() if len(events) >= COMMANDS_AT_ONCE]:
            self._sequence(market)
        return asked_ns, status, receipt.answer

    def _accepted(self, request: Mapping[str, Any]) -> tuple[Receipt, int]:
        if request["op"] == "cancel":
            return self._intake.cancel(parse_cancel(request["body"], request["orderId"]), trace_id=""), NEW_CANCEL
        return self._intake.submit(parse_order(request["body"], self._markets), trace_id=""), NEW_ORDER

    def end(self) -> None:
        """Sequence what waits."""
        for market in [market for market, events in self._waiting.items() if events]:
            self._sequence(market)

    def _sequence(self, market: str) -> None:
        events, self._waiting[market] = self._waiting[market], []
        left = {event.event_id for event in events} - self._sequencer.apply(market, events).done
        if left:
            raise ValueError(f"market {market}: {len(left)} commands were not sequenced")
        self._outbox.forget(events)


def records(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answers and the items of a past, as the module says."""
    tables = MemoryTables()
    past = Past(tables, TABLES, asked["markets"], started_ns=asked["startedNs"], every_ns=asked["everyNs"])
    answers = [past.ask(request) for request in asked["requests"]]
    past.end()
    return {"answers": answers, "items": {name: list(items.values()) for name, items in tables.items.items()}}


def main() -> int:
    try:
        found = records(json.load(sys.stdin))
    except (PaperBrokerError, ValueError, KeyError) as exc:
        sys.stderr.write(f"{type(exc).__name__}: {exc}\n")
        return USAGE_EXIT_CODE
    json.dump(found, sys.stdout, separators=(",", ":"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
