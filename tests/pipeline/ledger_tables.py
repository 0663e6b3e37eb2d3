"""A recorded ledger as DynamoDB holds it, and as the assertion function reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kit.pipeline.assertion.ledger_scan import Event, Part
from kit.pipeline.assertion.ledger_window import ATTRIBUTES, TIME

NUMBERS = ("seq", "qty")


def parts(events: Any) -> list[Part]:
    """The whole ledger of each market, in the order in which the markets appear in the table."""
    markets: dict[str, list[Event]] = {}
    for row in events.to_dict("records"):
        markets.setdefault(row["market"], []).append(Event(**{name: row[name] for name in Event._fields}))
    return [Part(sorted(found, key=lambda event: event.seq), 0) for found in markets.values()]


def item(event: Event, ts_ns: int) -> dict[str, dict[str, str]]:
    """An event as PaperBroker stores it: without what it lacks."""
    fields = event._asdict()
    typed = {
        attribute: {"N": str(fields[name])} if name in NUMBERS else {"S": fields[name]}
        for name, attribute in ATTRIBUTES.items()
        if fields[name] not in ("", 0)
    }
    return {**typed, TIME: {"N": str(ts_ns)}}


class LedgerTable:
    """DynamoDB's Query on the ledger, newest first, in pages of `page` items; counts the pages that were read."""

    def __init__(self, items: Sequence[dict[str, Any]], page: int = 7) -> None:
        self._items = sorted(items, key=lambda one: -int(one["seq"]["N"]))
        self._page = page
        self.pages = 0

    def query(self, **request: Any) -> dict[str, Any]:
        assert request["ConsistentRead"] and request["ScanIndexForward"] is False
        self.pages += 1
        market = request["ExpressionAttributeValues"][":market"]["S"]
        below = int(request.get("ExclusiveStartKey", {"seq": {"N": str(2**62)}})["seq"]["N"])
        left = [one for one in self._items if one["market"]["S"] == market and int(one["seq"]["N"]) < below]
        page = left[: self._page]
        more = {"LastEvaluatedKey": {"market": {"S": market}, "seq": page[-1]["seq"]}} if len(left) > len(page) else {}
        return {"Items": page, **more}
