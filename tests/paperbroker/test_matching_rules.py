"""The book and the matching rules: examples of each rule, and properties that hold for any commands."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paperbroker.domain.book import Book
from paperbroker.domain.events import IntakeEvent, LedgerEvent
from paperbroker.domain.matching import FILLS_MAX, match
from paperbroker.domain.orders import PRICE_MAX_TICKS, QTY_MAX_LOTS, Side
from paperbroker.domain.postings import Postings
from paperbroker.errors import LedgerCorrupt
from tests.paperbroker.paperbroker_rig import order_event
from tests.paperbroker.random_commands import MARKET, PROPERTY, commands


class Exchange:
    """One book with its events and postings."""

    def __init__(self) -> None:
        self.book = Book()
        self.events: list[LedgerEvent] = []
        self.postings = Postings()
        self._n = 0

    def run(self, command: IntakeEvent) -> list[LedgerEvent]:
        new = match(self.book, command, seq=len(self.events), ts_ns=0)
        for event in new:
            self.book.apply(event)
        self.events += new
        self.postings.post(new, self.book)
        return new

    def order(self, side: str, qty: int, price: int, client: str, tif: str = "GTC", n: int = 0) -> list[LedgerEvent]:
        self._n += 1
        n = n or self._n
        return self.run(
            order_event(
                n,
                event_id=f"e{self._n}",
                client_id=client,
                side=side,
                order_type="LIMIT" if price else "MARKET",
                tif=tif if price else "IOC",
                qty=qty,
                price=price,
            )
        )

    def cancel(self, n: int, client: str) -> list[LedgerEvent]:
        self._n += 1
        return self.run(
            IntakeEvent(
                event_id=f"e{self._n}",
                type="CancelRequested",
                market=MARKET,
                order_id=f"o{n}",
                client_id=client,
                idempotency_key=f"k{self._n}",
                accepted_at_ns=0,
            )
        )


def summary(events: list[LedgerEvent]) -> list[tuple[str, int, int, str]]:
    return [(e.type, e.qty, e.price, e.maker_order_id or e.reason) for e in events]


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


def test_best_price_first_then_oldest_at_the_makers_price(exchange: Exchange):
    for price in (101, 100, 100):
        exchange.order("SELL", 5, price, "a")
    assert summary(exchange.order("BUY", 12, 105, "b")) == [
        ("accepted", 12, 105, ""),
        ("fill", 5, 100, "o2"),
        ("fill", 5, 100, "o3"),
        ("fill", 2, 101, "o1"),
    ]
    assert exchange.book.depth(Side.SELL, 9) == [(101, 3, 1)]


def test_a_seller_meets_the_highest_bid_first(exchange: Exchange):
    for price in (99, 101, 100, 101):
        exchange.order("BUY", 5, price, "a")
    assert exchange.book.depth(Side.BUY, 9) == [(101, 10, 2), (100, 5, 1), (99, 5, 1)]
    assert exchange.book.depth(Side.BUY, 2) == [(101, 10, 2), (100, 5, 1)]
    assert summary(exchange.order("SELL", 12, 95, "b")) == [
        ("accepted", 12, 95, ""),
        ("fill", 5, 101, "o2"),
        ("fill", 5, 101, "o4"),
        ("fill", 2, 100, "o3"),
    ]


def test_partly_filled_maker_keeps_its_priority(exchange: Exchange):
    exchange.order("SELL", 5, 100, "a")
    exchange.order("SELL", 5, 100, "c")
    exchange.order("BUY", 2, 100, "b")
    assert summary(exchange.order("BUY", 4, 100, "b"))[1:] == [("fill", 3, 100, "o1"), ("fill", 1, 100, "o2")]


def test_at_one_price_only_time_decides(exchange: Exchange):
    """Order ids and quantities do not matter."""
    for n, qty in ((9, 1), (10, 7), (2, 3)):
        exchange.order("SELL", qty, 100, "a", n=n)
    fills = exchange.order("BUY", 11, 100, "b", n=1)[1:]
    assert [(fill.maker_order_id, fill.qty) for fill in fills] == [("o9", 1), ("o10", 7), ("o2", 3)]


def test_order_filled_in_parts_leaves_the_book_with_its_whole_quantity_filled(exchange: Exchange):
    exchange.order("SELL", 5, 100, "a")
    for qty in (2, 1, 2):
        exchange.order("BUY", qty, 100, "b")
    assert not list(exchange.book.resting())
    assert exchange.postings.orders["o1"].filled_qty == 5


def test_each_fill_has_a_trade_id_of_its_own(exchange: Exchange):
    """Fills of one command differ, and so do fills of other markets at the same sequence."""
    for _ in range(3):
        exchange.order("SELL", 1, 100, "a")
    trades = [event.trade_id for event in exchange.order("BUY", 3, 100, "b")[1:]]
    assert len(set(trades)) == 3 and all(trade.startswith(f"{MARKET}-") for trade in trades)


def test_cash_is_exact_and_balanced(exchange: Exchange):
    """To the tick, at odd prices and quantities."""
    exchange.order("SELL", 7, 10_001, "a")
    exchange.order("BUY", 3, 10_003, "b")
    balances = {client: (each.qty, each.cash) for client, each in exchange.postings.balances.items()}
    assert balances == {"a": (-3, 30_003), "b": (3, -30_003)}


def test_cash_is_exact_at_values_that_no_float_holds(exchange: Exchange):
    """At the greatest quantity and price that an order may have."""
    exchange.order("SELL", QTY_MAX_LOTS, PRICE_MAX_TICKS - 1, "a")
    exchange.order("BUY", QTY_MAX_LOTS - 1, PRICE_MAX_TICKS, "b")
    value = (QTY_MAX_LOTS - 1) * (PRICE_MAX_TICKS - 1)
    assert int(float(value)) != value
    assert {client: each.cash for client, each in exchange.postings.balances.items()} == {"a": value, "b": -value}


def test_limit_ioc_never_becomes_a_maker(exchange: Exchange):
    exchange.order("BUY", 4, 100, "a", "IOC")
    assert summary(exchange.order("SELL", 4, 100, "b")) == [("accepted", 4, 100, "")]


@pytest.mark.parametrize(("price", "tif"), [(100, "IOC"), (0, "IOC")])
def test_remainder_of_ioc_and_market_orders_is_cancelled(exchange: Exchange, price: int, tif: str):
    exchange.order("SELL", 2, 100, "a")
    assert summary(exchange.order("BUY", 5, price, "b", tif))[1:] == [
        ("fill", 2, 100, "o1"),
        ("cancelled", 3, price, "ioc"),
    ]
    assert not list(exchange.book.resting())


def test_taker_that_meets_its_own_order_stops_there(exchange: Exchange):
    exchange.order("SELL", 2, 100, "a")
    exchange.order("SELL", 2, 101, "b")
    exchange.order("SELL", 2, 102, "a")
    assert summary(exchange.order("BUY", 6, 105, "b"))[1:] == [
        ("fill", 2, 100, "o1"),
        ("cancelled", 4, 105, "self_trade"),
    ]
    assert exchange.book.depth(Side.BUY, 9) == []


def test_order_with_too_many_fills_is_rejected_as_a_whole(exchange: Exchange):
    for _ in range(FILLS_MAX + 1):
        exchange.order("SELL", 1, 100, "a")
    assert summary(exchange.order("BUY", FILLS_MAX + 1, 100, "b")) == [("rejected", 31, 100, "MatchLimitExceeded")]
    assert len(exchange.order("BUY", FILLS_MAX, 100, "b")) == 1 + FILLS_MAX


def test_cancel_removes_the_remainder_once(exchange: Exchange):
    exchange.order("SELL", 5, 100, "a")
    exchange.order("BUY", 2, 100, "b")
    assert summary(exchange.cancel(1, "a")) == [("cancelled", 3, 100, "client")]
    assert summary(exchange.cancel(1, "a")) == [("rejected", 0, 0, "AlreadyDone")]
    assert summary(exchange.cancel(1, "b")) == [("rejected", 0, 0, "NotOwner")]
    assert summary(exchange.cancel(99, "a")) == [("rejected", 0, 0, "UnknownOrder")]
    assert exchange.postings.orders["o1"].status == "CANCELLED" and exchange.postings.orders["o1"].filled_qty == 2


def test_cancelled_order_that_was_partly_filled_trades_no_more(exchange: Exchange):
    exchange.order("SELL", 5, 100, "a")
    exchange.order("BUY", 2, 100, "b")
    exchange.cancel(1, "a")
    assert exchange.book.depth(Side.SELL, 9) == []
    assert summary(exchange.order("BUY", 3, 100, "b")) == [("accepted", 3, 100, "")]


@pytest.mark.parametrize(("order", "client"), [(1, "a"), (1, "b"), (2, "a")])
def test_every_cancel_has_exactly_one_outcome(exchange: Exchange, order: int, client: str):
    """The cancel of a finished, another client's or unknown order is refused under the cancel's own key."""
    exchange.order("SELL", 1, 100, "a")
    exchange.order("BUY", 1, 100, "c", n=3)
    (outcome,) = exchange.cancel(order, client)
    assert (outcome.type, outcome.command, outcome.idempotency_key) == ("rejected", "cancel", "k3")


def test_an_order_accepted_twice_trades_twice(exchange: Exchange):
    """The book does not hide errors of intake: two events of one order are two entries."""
    exchange.order("SELL", 5, 100, "a", n=1)
    exchange.order("SELL", 5, 100, "a", n=1)
    assert summary(exchange.order("BUY", 10, 100, "b"))[1:] == [("fill", 5, 100, "o1"), ("fill", 5, 100, "o1")]


def test_fill_of_an_order_without_priority_is_refused(exchange: Exchange):
    """A reader of an inconsistent ledger stops instead of building a wrong book."""
    exchange.order("SELL", 5, 100, "a")
    exchange.order("SELL", 5, 100, "b")
    fill = exchange.order("BUY", 1, 100, "c")[1]
    with pytest.raises(LedgerCorrupt, match="o2 is not first in line"):
        exchange.book.apply(replace(fill, maker_order_id="o2"))


@PROPERTY
@given(commands())
def test_book_is_never_crossed_fifo_and_conserves_quantity(sequence: list[IntakeEvent]):
    """Best bid < best ask and entries at a price are in order of arrival; in the end, lots and cash balance."""
    exchange = Exchange()
    arrival: dict[str, int] = {}
    for command in sequence:
        exchange.run(command)
        arrival[command.event_id] = len(arrival)
        bid, ask = exchange.book.best(Side.BUY), exchange.book.best(Side.SELL)
        assert bid is None or ask is None or bid < ask
        for side in Side:
            line = [(e.price, arrival[e.event_id]) for e in exchange.book.opposite(side)]
            assert line == sorted(line, key=lambda at: (at[0] if side is Side.BUY else -at[0], at[1]))
    filled = sum(e.qty for e in exchange.events if e.type == "fill")
    accepted = sum(e.qty for e in exchange.events if e.type == "accepted")
    cancelled = sum(e.qty for e in exchange.events if e.type == "cancelled")
    assert accepted == 2 * filled + cancelled + sum(e.qty for e in exchange.book.resting())
    assert sum(b.qty for b in exchange.postings.balances.values()) == 0
    assert sum(b.cash for b in exchange.postings.balances.values()) == 0


@PROPERTY
@given(commands(), st.data())
def test_book_read_back_from_the_ledger_is_the_same_book(sequence: list[IntakeEvent], data: st.DataObject):
    """A replica that applies the events in several parts equals the matcher's book."""
    exchange, replica = Exchange(), Book()
    for command in sequence:
        exchange.run(command)
    done = 0
    while done < len(exchange.events):
        upto = data.draw(st.integers(done + 1, len(exchange.events)))
        for event in exchange.events[done:upto]:
            replica.apply(event)
        replica.settle()
        done = upto
    for side in Side:
        assert list(replica.opposite(side)) == list(exchange.book.opposite(side))
    assert [replica.owner(c.order_id) for c in sequence] == [exchange.book.owner(c.order_id) for c in sequence]


@PROPERTY
@given(commands(15))
def test_a_dropped_draft_leaves_no_trace(sequence: list[IntakeEvent]):
    """A plan that was not committed must not change the book that it was drafted from."""
    exchange = Exchange()
    for command in sequence[:-1]:
        exchange.run(command)
    before = (list(exchange.book.resting()), exchange.book.owner(sequence[-1].order_id))
    draft = exchange.book.draft()
    for event in match(draft, sequence[-1], seq=len(exchange.events), ts_ns=0):
        draft.apply(event)
    assert (list(exchange.book.resting()), exchange.book.owner(sequence[-1].order_id)) == before
