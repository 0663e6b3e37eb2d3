"""Check the trades that clients read against the ledger: every trade that a page covers, and no other.

A page covers the ledger from the seq after which it was requested up to its `next`, where the reader continues.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kit.integrity.arrays.columns import Rows
from kit.integrity.arrays.json_columns import loads, typed
from kit.integrity.evidence.evidence import Evidence
from kit.integrity.evidence.expected_messages import COLUMNS
from kit.integrity.evidence.ledger_tables import BUYS
from kit.integrity.evidence.observed_progress import ObservedProgress, streamed_events
from kit.integrity.evidence.trade_page_tables import NO_PAGE, TRADE
from kit.integrity.findings.check import Checks, Result, by_row
from kit.integrity.findings.counterexample import Subject, event_words
from kit.model import NS_PER_S

CHECKS = Checks()

AROUND = 3
REPLY_CHARS_MAX = 400
# Columns that a trade and its ledger event share. Type, market and the taker's side are compared separately.
SAME = ("seq", "event", "ts_ns", "qty", "price", "content", "order", "maker", "client", "maker_client")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRanges:
    """Half-open ranges, one per page.

    `first` to `last` are the fills in `Evidence.fills` that the page covers, `begin` to `end` the trades in
    `Evidence.page_trades` that it shows. An `invalid` page covers nothing.
    """

    invalid: np.ndarray
    first: np.ndarray
    last: np.ndarray
    begin: np.ndarray
    end: np.ndarray


@CHECKS.add(
    "trades-equal-ledger",
    noun="pages of trades read",
    hold="show the ledger's trades from their start to their next",
    broke="differ from the ledger's trades between their start and their next",
    needs=("attempts", "events", "run"),
)
def trades_equal_ledger(evidence: Evidence) -> Result:
    """Check that each page of trades shows exactly the fills of the ledger's events that it covers.

    For a GET after seq a with limit l and answered `next` n: a ≤ n, n is a or a seq of that ledger, and the trades are
    all fills among the ledger's events a + 1 … n, at most l, in order and with all fields equal. `measured` counts
    wrong pages.
    """
    pages = evidence.trade_pages
    ranges = _ranges(evidence)
    long = ranges.end - ranges.begin > pages["limit"]
    bad = np.flatnonzero(ranges.invalid | long | _differ(evidence, ranges))

    def example() -> str:
        page = int(bad[0])
        row = evidence.row("trade_pages", page)
        what = _wrong(evidence, ranges, page)
        return f"the trades of {row['symbol']} after {row['after']} that client {row['client_id']} read {what}"

    return by_row(
        evidence,
        examined=len(pages),
        violations=len(bad),
        example=example,
        subject=lambda: _subject(evidence, int(bad[0]), _wrong_seq(evidence, ranges, int(bad[0]))),
    )


def _ranges(evidence: Evidence) -> PageRanges:
    pages, fills = evidence.trade_pages, evidence.fills
    after, next_seq, market = pages["after"].astype(np.int64), pages["next"].astype(np.int64), pages["market"]
    invalid = (next_seq < after) | ((next_seq != after) & ~_at_known_seq(evidence))
    first, last = np.zeros(len(pages), dtype=np.int64), np.zeros(len(pages), dtype=np.int64)
    fill_market, fill_seq = fills["market"], fills["seq"]
    for number in evidence.market_ranges.by_market:
        low, high = np.searchsorted(fill_market, (number, number + 1))
        mine = np.flatnonzero((market == number) & ~invalid)
        for target, index in ((first, after), (last, next_seq)):
            target[mine] = low + np.searchsorted(fill_seq[low:high], index[mine], side="right")
    edges = np.searchsorted(evidence.page_trades["page"], np.arange(len(pages) + 1))
    return PageRanges(invalid=invalid, first=first, last=last, begin=edges[:-1], end=edges[1:])


def _at_known_seq(evidence: Evidence) -> np.ndarray:
    """Return which pages end at a seq that their ledger has."""
    pages = evidence.trade_pages
    return evidence.market_ranges.find(evidence.events, pages["market"], pages["next"]) >= 0


def _differ(evidence: Evidence, ranges: PageRanges) -> np.ndarray:
    """Return which pages show more or fewer trades than they cover, or a trade with another content."""
    bad = ranges.end - ranges.begin != ranges.last - ranges.first
    page = evidence.page_trades["page"]
    shown = np.flatnonzero(~bad[page])
    # The n-th trade of a page belongs to the n-th fill that the page covers.
    fills = evidence.fills.where(shown - (ranges.begin - ranges.first)[page[shown]])
    bad[page[shown[_unlike(evidence.page_trades.where(shown), fills)]]] = True
    return bad & ~ranges.invalid


def _unlike(shown: Rows, fills: Rows) -> np.ndarray:
    """Return row by row whether the trade differs from the fill."""
    differs = [shown[column] != fills[column] for column in SAME]
    differs += [~shown["fill"], shown["market"] != fills["market"], shown["buys"] != (fills["bits"] & BUYS)]
    return np.logical_or.reduce(differs)


def _wrong(evidence: Evidence, ranges: PageRanges, page: int) -> str:
    """Say what is wrong with the page."""
    pages = evidence.trade_pages
    next_seq, limit = int(pages["next"][page]), int(pages["limit"][page])
    shown, wanted = (int(b[page] - a[page]) for a, b in _bounds(ranges))
    if next_seq == NO_PAGE:
        return "are not a page of trades"
    if next_seq < pages["after"][page]:
        return f"have a next that goes back, to seq {next_seq}"
    if ranges.invalid[page]:
        return f"have next {next_seq}, which is no seq of its ledger"
    if shown > limit:
        return f"are {shown:,}, but the limit was {limit:,}"
    return f"up to seq {next_seq} are {shown:,}, the ledger has {wanted:,}: {_difference(evidence, ranges, page)}"


def _bounds(ranges: PageRanges) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    return (ranges.begin, ranges.end), (ranges.first, ranges.last)


def _difference(evidence: Evidence, ranges: PageRanges, page: int) -> str:
    """Describe the first wrong trade."""
    at, shown, fills = _first_difference(evidence, ranges, page)
    if at == len(fills):
        return f"number {at + 1} is not in the ledger"
    row = evidence.row("events", fills["index"][at])
    name = f"seq {row['seq']}, {event_words(row)}"
    if at == len(shown):
        return f"{name}, is missing"
    if shown["seq"][at] != row["seq"]:
        return f"number {at + 1} is seq {shown['seq'][at]}, expected {name}"
    trade = _trade(evidence, page, at)
    wrong = [field for field, kind in TRADE.items() if typed(trade.get(field), kind) != row[COLUMNS[field]]]
    return f"for {name}, it says {', '.join(f'{field} {trade.get(field)}' for field in wrong)}"


def _trade(evidence: Evidence, page: int, at: int) -> Mapping[str, Any]:
    """Describe a trade as the page's reply shows it."""
    trades = loads(evidence.row("trade_pages", page)["reply"]).get("trades", ())
    trade = trades[at] if at < len(trades) else {}
    return trade if isinstance(trade, dict) else {}


def _first_difference(evidence: Evidence, ranges: PageRanges, page: int) -> tuple[int, Rows, Rows]:
    """Return the number of the first trade that is wrong, the page's trades, and the fills that the page covers."""
    shown, fills = (
        rows.where(np.arange(a[page], b[page]))
        for rows, (a, b) in zip((evidence.page_trades, evidence.fills), _bounds(ranges), strict=True)
    )
    common = np.arange(min(len(shown), len(fills)))
    unlike = np.flatnonzero(_unlike(shown.where(common), fills.where(common)))
    return int(unlike[0]) if len(unlike) else len(common), shown, fills


def _wrong_seq(evidence: Evidence, ranges: PageRanges, page: int) -> int:
    """Return the seq of the ledger at which the page is first wrong."""
    at, _, fills = _first_difference(evidence, ranges, page)
    if at < len(fills):
        return int(fills["seq"][at])
    return max(int(evidence.trade_pages["next"][page]), int(evidence.trade_pages["after"][page]))


@CHECKS.add(
    "trade-pages-advance",
    noun="pages of trades read",
    hold="advance if more events were known when they were requested",
    broke="do not advance, although more events were known when they were requested",
    needs=("attempts", "stream", "events", "run"),
    timed=True,
)
def trade_pages_advance(evidence: Evidence) -> Result:
    """Check that a page of trades goes on as far as more was known, so that a reader reaches the end.

    For a GET after seq a: if a subscriber had received an event of its market beyond a, or a page's `next` was beyond
    a, before the GET was sent, then its own `next` is beyond a.
    """
    pages = evidence.trade_pages.where(evidence.trade_pages["next"] != NO_PAGE)
    led = evidence.trade_pages.where(_at_known_seq(evidence))
    read = led["market"], led["next"], led["completed_ns"]
    known = ObservedProgress(streamed_events(evidence.stream), read).before(pages["market"], pages["invoked_ns"])
    bad = np.flatnonzero((known > pages["after"]) & (pages["next"] <= pages["after"]))

    def example() -> str:
        row = evidence.row("trade_pages", pages["index"][bad[0]])
        who = f"the trades of {row['symbol']} after {row['after']} that client {row['client_id']} read"
        return f"{who} have next {pages['next'][bad[0]]}, but seq {known[bad[0]]} was known before"

    return by_row(
        evidence,
        examined=len(pages),
        violations=len(bad),
        example=example,
        subject=lambda: _subject(evidence, int(pages["index"][bad[0]]), int(pages["after"][bad[0]])),
    )


def _subject(evidence: Evidence, page: int, index: int) -> Subject:
    """Return the read and the part of the ledger around a seq."""
    row = evidence.row("trade_pages", page)
    base = {"source": "client", "client_id": row["client_id"]}
    asked = f"client {row['client_id']} reads {row['limit']} trades of {row['symbol']} after {row['after']}"
    reply = row["reply"] if len(row["reply"]) <= REPLY_CHARS_MAX else f"{row['reply'][:REPLY_CHARS_MAX]}…"
    steps = (
        base | {"t": row["invoked_ns"] / NS_PER_S, "what": asked},
        base | {"t": row["completed_ns"] / NS_PER_S, "what": f"answer {row['status']}: {reply}"},
    )
    return Subject(stretch=(int(evidence.trade_pages["market"][page]), index - AROUND, index + AROUND), steps=steps)
