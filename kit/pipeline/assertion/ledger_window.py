"""Read the last minutes of each market's ledger from DynamoDB, newest first, within bounds of pages and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from kit.pipeline.assertion.ledger_scan import Event, Part

NS_PER_S = 1_000_000_000
MINUTES_MAX = 60  # of a window
# Of one page. While the local AWS reads a page of 1 MB (0.4 s for 3,000 events) it answers nobody else. After each page
# the reader waits as long as the page has taken, so that clients of the same tables are served in between.
PAGE_EVENTS_MAX = 250
PAGES_MAX = 800  # of one market
READERS = 2
# A Query may see a part of a transaction that is being committed, so the newest events are left out.
SETTLE_S = 5.0

# Field of an event → attribute of the item.
ATTRIBUTES = {
    "market": "market",
    "seq": "seq",
    "type": "type",
    "event_id": "eventId",
    "order_id": "orderId",
    "client_id": "clientId",
    "idempotency_key": "idempotencyKey",
    "qty": "qty",
    "command": "command",
    "taker_order_id": "takerOrderId",
    "maker_order_id": "makerOrderId",
}
TIME = "tsNs"
_NAMES = {f"#{name}": name for name in (*ATTRIBUTES.values(), TIME)}

Item = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What was read of one market. `cut` says why older events of the window are missing; empty if none are."""

    market: str
    part: Part
    cut: str = ""


def read_windows(
    dynamodb: Any,
    table: str,
    markets: Sequence[str],
    *,
    since: float,
    now: float,
    in_time: Callable[[], bool],
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Window]:
    """Read the events of each market between `since` and shortly before `now` (epoch s).

    `in_time` is false once no further page may be read. The clock is replaced in tests.
    """
    until_ns = int((now - SETTLE_S) * NS_PER_S)
    with ThreadPoolExecutor(READERS) as pool:
        since_ns = int(since * NS_PER_S)
        read = [
            pool.submit(_read, dynamodb, table, market, since_ns, until_ns, in_time, monotonic, sleep)
            for market in markets
        ]
        return [one.result() for one in read]


def _read(
    dynamodb: Any,
    table: str,
    market: str,
    since_ns: int,
    until_ns: int,
    in_time: Callable[[], bool],
    monotonic: Callable[[], float],
    sleep: Callable[[float], None],
) -> Window:
    newest_first: list[Item] = []
    start: dict[str, Any] = {}
    for _ in range(PAGES_MAX):
        if not in_time():
            return _window(market, newest_first, since_ns, until_ns, cut="the time was over")
        asked_at = monotonic()
        page = dynamodb.query(
            TableName=table,
            ConsistentRead=True,
            Limit=PAGE_EVENTS_MAX,
            ScanIndexForward=False,
            KeyConditionExpression="#market = :market",
            ProjectionExpression=", ".join(_NAMES),
            ExpressionAttributeNames=_NAMES,
            ExpressionAttributeValues={":market": {"S": market}},
            **start,
        )
        newest_first += page["Items"]
        if "LastEvaluatedKey" not in page:
            return _window(market, newest_first, since_ns, until_ns, from_start=True)
        if newest_first and _time_ns(newest_first[-1]) < since_ns:
            return _window(market, newest_first, since_ns, until_ns)
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        sleep(monotonic() - asked_at)
    return _window(market, newest_first, since_ns, until_ns, cut=f"more than {PAGES_MAX} pages")


def _window(
    market: str, newest_first: Sequence[Item], since_ns: int, until_ns: int, *, from_start: bool = False, cut: str = ""
) -> Window:
    """Keep what lies in the window. The event before it tells whether the window's first event follows it."""
    items = list(reversed(newest_first))
    first = next((index for index, item in enumerate(items) if _time_ns(item) >= since_ns), len(items))
    kept = items[first:]
    # Clocks of two matchers may differ, so the newest events are cut off by the first that is too new.
    end = next((index for index, item in enumerate(kept) if _time_ns(item) > until_ns), len(kept))
    events = [_event(item) for item in kept[:end]]
    before = 0 if from_start or not events else events[0].seq - 1
    if first:
        before = int(items[first - 1]["seq"]["N"])
    return Window(market=market, part=Part(events, before), cut=cut)


def _time_ns(item: Item) -> int:
    return int(item[TIME]["N"])


def _event(item: Item) -> Event:
    fields = {field: _plain(item.get(attribute)) for field, attribute in ATTRIBUTES.items()}
    numbers = {name: int(fields[name] or 0) for name in ("seq", "qty")}
    return Event(**{**fields, **numbers})  # type: ignore[arg-type]


def _plain(value: Mapping[str, Any] | None) -> str:
    """Convert DynamoDB's typed value to text; empty for an attribute that the item lacks."""
    content = next(iter((value or {"S": ""}).values()))
    return content if isinstance(content, str) else ""
