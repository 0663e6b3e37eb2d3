"""A client that pages through a market's trades by `next` gets each trade once, whatever the page size."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from paperbroker.domain.events import LedgerEvent
from paperbroker.services.queries import LEDGER_PAGE_MAX, LEDGER_PAGE_MIN, LEDGER_PAGES_MAX, TRADES_MAX, Queries
from tests.paperbroker.memory_ledger import MemoryLedger

MARKET = "ACME"


def queries_of(kinds: list[str]) -> Queries:
    """Make queries on a ledger of events of these kinds; the first has sequence 1."""
    ledger: Any = MemoryLedger()
    no_orders: Any = None
    for seq, kind in enumerate(kinds, start=1):
        trade_id = f"{MARKET}-{seq}" if kind == "fill" else ""
        event = LedgerEvent(market=MARKET, seq=seq, type=kind, event_id="e", ts_ns=1, trade_id=trade_id)
        ledger.events[MARKET].append(event)
    return Queries(no_orders, ledger, (MARKET,))


def read_all(queries: Queries, limit: int) -> tuple[list[int], int]:
    """Page through all trades; return their sequences and the number of pages."""
    seqs, after, pages = [], 0, 0
    while (page := queries.trades(MARKET, after, limit))["next"] != after:
        assert len(page["trades"]) <= limit
        assert all(after < trade["seq"] <= page["next"] for trade in page["trades"])
        seqs += [trade["seq"] for trade in page["trades"]]
        after, pages = page["next"], pages + 1
    return seqs, pages


@pytest.mark.parametrize("limit", [1, 3, 7, TRADES_MAX])
@pytest.mark.parametrize("size", [0, 1, 20, TRADES_MAX, 3 * TRADES_MAX + 1])
def test_each_trade_is_returned_once(limit: int, size: int):
    """Across pages of the answer and of the ledger, whether or not the last event is a trade."""
    kinds = ["accepted", "fill", "fill", "cancelled", "fill"] * (size // 5) + ["fill"] * (size % 5)
    seqs, _ = read_all(queries_of(kinds), limit)
    assert seqs == [seq for seq, kind in enumerate(kinds, start=1) if kind == "fill"]


def test_a_page_reads_a_bounded_part_of_the_ledger():
    """A long stretch without trades gives several empty pages. A larger limit may read more."""
    stretch = LEDGER_PAGES_MAX * LEDGER_PAGE_MIN
    queries = queries_of(["accepted"] * (2 * stretch) + ["fill"])
    assert queries.trades(MARKET, 0, 5) == {"symbol": MARKET, "trades": [], "next": stretch}
    assert read_all(queries, 5) == ([2 * stretch + 1], 3)
    longest = LEDGER_PAGES_MAX * LEDGER_PAGE_MAX
    queries = queries_of(["accepted"] * longest + ["fill"])
    assert queries.trades(MARKET, 0, TRADES_MAX) == {"symbol": MARKET, "trades": [], "next": longest}


@pytest.mark.parametrize(("limit", "events_max"), [(5, 20), (20, 60), (60, 180)])
def test_few_trades_are_found_in_a_small_part_of_the_ledger(limit: int, events_max: int):
    queries = queries_of(["accepted", "fill"] * 1_000)
    assert events_read(queries, 0, limit) <= events_max


def test_a_page_costs_the_same_however_long_the_ledger_before_it_is():
    queries = queries_of(["accepted", "fill"] * 1_000)
    assert events_read(queries, 1_900, 5) == events_read(queries, 0, 5)


def events_read(queries: Queries, after: int, limit: int) -> int:
    """Read a full page; return how many events of the ledger that took."""
    read: list[LedgerEvent] = []
    ledger: Any = queries._ledger
    whole = type(ledger).read_after

    def read_after(market: str, seq: int, most: int = 0) -> list[LedgerEvent]:
        events = whole(ledger, market, seq, most)
        read.extend(events)
        return events

    ledger.read_after = read_after
    assert len(queries.trades(MARKET, after, limit)["trades"]) == limit
    return len(read)


def test_a_book_is_read_under_its_markets_lock():
    """Two requests at once would apply the same events to one replica twice."""
    tested, done = queries_of([]), threading.Event()
    thread = threading.Thread(target=lambda: (tested.book(MARKET, 5), done.set()))
    with tested._replicas[MARKET][0]:
        thread.start()
        assert not done.wait(0.05)
    assert done.wait(5)
    thread.join()
