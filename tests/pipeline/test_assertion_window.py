"""The function reads the last minutes of a ledger, newest first, within its bounds."""

from __future__ import annotations

import pytest

from kit.pipeline.assertion import ledger_window
from kit.pipeline.assertion.ledger_scan import Event, Part
from kit.pipeline.assertion.ledger_window import NS_PER_S, SETTLE_S, Window, read_windows
from tests.histories import execution
from tests.pipeline.ledger_tables import LedgerTable, item, parts

NOW_S = 1_700_000_000.0
COUNT = 100


def event(seq: int, market: str = "ACME") -> Event:
    return Event(market, seq, "accepted", f"e{seq}", f"o{seq}", "c1", f"k{seq}", 1)


def at_ns(seq: int) -> int:
    """One event a second; the last one is as old as the function leaves out at most."""
    return int((NOW_S - SETTLE_S - (COUNT - seq)) * NS_PER_S)


def ledger(count: int = COUNT, page: int = 7) -> LedgerTable:
    return LedgerTable([item(event(seq), at_ns(seq)) for seq in range(1, count + 1)], page)


def read(table: LedgerTable, since: float = 0.0, market: str = "ACME") -> Window:
    (window,) = read_windows(table, "Ledger", [market], since=since, now=NOW_S, in_time=lambda: True)
    return window


def test_a_window_that_covers_the_whole_ledger_begins_before_its_first_event():
    window = read(ledger())
    assert [one.seq for one in window.part.events] == list(range(1, COUNT + 1))
    assert (window.part.before, window.cut) == (0, "")


@pytest.mark.parametrize("page", [1, 7, 1_000])
def test_a_window_begins_at_its_time_after_the_event_before(page: int):
    table = ledger(page=page)
    window = read(table, since=at_ns(80) / NS_PER_S)
    assert [one.seq for one in window.part.events] == list(range(80, COUNT + 1))
    assert (window.part.before, window.cut) == (79, "")
    assert table.pages <= 21 // page + 2


def test_events_that_may_be_seen_in_part_are_left_out():
    """The transaction that wrote them may not have become visible as a whole."""
    table = LedgerTable([item(event(seq), int((NOW_S - 8 + seq) * NS_PER_S)) for seq in (1, 2, 3, 5)])
    assert [one.seq for one in read(table).part.events] == [1, 2, 3]


def test_a_gap_at_the_beginning_of_the_window_shows():
    rows = [item(event(seq), at_ns(seq)) for seq in range(1, COUNT + 1) if seq != 80]
    window = read(LedgerTable(rows), since=at_ns(81) / NS_PER_S)
    assert (window.part.before, window.part.events[0].seq) == (79, 81)


def test_an_empty_ledger_is_an_empty_window():
    assert read(ledger(), market="BOLT") == Window(market="BOLT", part=Part([], 0))


def test_too_many_pages_are_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ledger_window, "PAGES_MAX", 3)
    window = read(ledger())
    assert window.cut == "more than 3 pages"
    assert [one.seq for one in window.part.events] == list(range(80, COUNT + 1))
    assert window.part.before == 79


def test_no_page_is_read_after_the_time_is_over():
    table, left = ledger(), iter([True, True, False])
    (window,) = read_windows(table, "Ledger", ["ACME"], since=0.0, now=NOW_S, in_time=lambda: next(left))
    assert (table.pages, window.cut) == (2, "the time was over")


def test_markets_are_read_independently():
    rows = [item(event(seq, market), at_ns(seq)) for market in ("ACME", "BOLT") for seq in range(1, 31)]
    windows = read_windows(LedgerTable(rows), "Ledger", ["BOLT", "ACME"], since=0.0, now=NOW_S, in_time=lambda: True)
    assert [(one.market, len(one.part.events)) for one in windows] == [("BOLT", 30), ("ACME", 30)]


def test_a_read_event_is_the_recorded_event():
    whole = parts(execution.play(execution.random_steps(3, 120))["events"])
    rows = [item(one, at_ns(1)) for part in whole for one in part.events]
    for part in whole:
        assert read(LedgerTable(rows), market=part.events[0].market).part == part


def test_the_reader_waits_between_pages_as_long_as_a_page_has_taken():
    """Otherwise clients of a store with one thread would wait for the whole ledger."""
    clock, slept = iter(range(0, 10_000, 3)), []
    table = ledger()
    read_windows(
        table, "Ledger", ["ACME"], since=0.0, now=NOW_S, in_time=lambda: True, monotonic=lambda: float(next(clock)),
        sleep=slept.append,
    )  # fmt: skip
    assert table.pages > 2
    assert slept == [3.0] * (table.pages - 1)
