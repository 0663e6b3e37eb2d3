"""The trades that clients read against the ledger: every trade of the stretch that an answer covers, and no other.

An answer is a page: the trades after the place that was asked for, up to its `next`, where the reader goes on. Owns the
invariants; what must be told is what the ledger has between these two places.
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
# What a trade says and its ledger event has; that it is one, market and taker's side are compared apart.
SAME = ("seq", "event", "ts_ns", "qty", "price", "content", "order", "maker", "client", "maker_client")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretches:
    """By page, the fills (places in `Evidence.fills`) from `first` to before `last` that it covers, and the trades
    (places in `Evidence.trades`) from `begin` to before `end` that it tells. One that `strays` covers nothing.
    """

    strays: np.ndarray
    first: np.ndarray
    last: np.ndarray
    begin: np.ndarray
    end: np.ndarray


@CHECKS.add(
    "trades-equal-ledger",
    noun="pages of trades read",
    hold="tell the ledger's trades from where they were asked for to where they go on",
    broke="tell other trades than the ledger has from where they were asked for to where they go on",
    needs=("attempts", "events", "run"),
)
def trades_equal_ledger(evidence: Evidence) -> Result:
    """For each answered GET of trades after place a, with limit l and answered `next` n: a ≤ n, n is a or a seq of that
    ledger, the trades told are the fills of the ledger's events a + 1 … n, all of them, in order, each with all that
    the ledger says of it; and they are l at most. `measured` counts wrong pages.
    """
    pages = evidence.trade_pages
    stretches = _stretches(evidence)
    long = stretches.end - stretches.begin > pages["limit"]
    bad = np.flatnonzero(stretches.strays | long | _differ(evidence, stretches))

    def example() -> str:
        page = int(bad[0])
        row = evidence.rows("trade_pages", [page])[0]
        what = _fault(evidence, stretches, page)
        return f"the trades of {row['symbol']} after {row['after']} that client {row['client_id']} read {what}"

    return by_row(
        evidence,
        examined=len(pages),
        violations=len(bad),
        example=example,
        subject=lambda: _told(evidence, int(bad[0]), _index(evidence, stretches, int(bad[0]))),
    )


def _stretches(evidence: Evidence) -> Stretches:
    pages, fills = evidence.trade_pages, evidence.fills
    after, upto, market = pages["after"].astype(np.int64), pages["next"].astype(np.int64), pages["market"]
    strays = (upto < after) | ((upto != after) & ~_there(evidence))
    first, last = np.zeros(len(pages), dtype=np.int64), np.zeros(len(pages), dtype=np.int64)
    fill_market, fill_seq = fills["market"], fills["seq"]
    for number in evidence.market_ranges.by_market:
        low, high = np.searchsorted(fill_market, (number, number + 1))
        mine = np.flatnonzero((market == number) & ~strays)
        for target, index in ((first, after), (last, upto)):
            target[mine] = low + np.searchsorted(fill_seq[low:high], index[mine], side="right")
    edges = np.searchsorted(evidence.page_trades["page"], np.arange(len(pages) + 1))
    return Stretches(strays=strays, first=first, last=last, begin=edges[:-1], end=edges[1:])


def _there(evidence: Evidence) -> np.ndarray:
    """Which pages end at a seq that their ledger has."""
    pages = evidence.trade_pages
    return evidence.market_ranges.find(evidence.events, pages["market"], pages["next"]) >= 0


def _differ(evidence: Evidence, stretches: Stretches) -> np.ndarray:
    """Which pages tell more or fewer trades than they cover, or one of them otherwise."""
    bad = stretches.end - stretches.begin != stretches.last - stretches.first
    page = evidence.page_trades["page"]
    told = np.flatnonzero(~bad[page])
    # The trade that stands n-th in its page is the n-th fill of what the page covers.
    fills = evidence.fills.where(told - (stretches.begin - stretches.first)[page[told]])
    bad[page[told[_unlike(evidence.page_trades.where(told), fills)]]] = True
    return bad & ~stretches.strays


def _unlike(told: Rows, fills: Rows) -> np.ndarray:
    """Row by row, whether what is told is anything else than the fill."""
    differs = [told[column] != fills[column] for column in SAME]
    differs += [~told["fill"], told["market"] != fills["market"], told["buys"] != (fills["bits"] & BUYS)]
    return np.logical_or.reduce(differs)


def _fault(evidence: Evidence, stretches: Stretches, page: int) -> str:
    """What is wrong with the page, in words."""
    pages = evidence.trade_pages
    upto, limit = int(pages["next"][page]), int(pages["limit"][page])
    told, wanted = (int(b[page] - a[page]) for a, b in _both(stretches))
    if upto == NO_PAGE:
        return "are none"
    if upto < pages["after"][page]:
        return f"lead back, to {upto}"
    if stretches.strays[page]:
        return f"lead on to seq {upto}, which its ledger does not have"
    if told > limit:
        return f"are {told:,}, and {limit:,} were asked for"
    return f"up to seq {upto} are {told:,}, the ledger has {wanted:,}: {_difference(evidence, stretches, page)}"


def _both(stretches: Stretches) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    return (stretches.begin, stretches.end), (stretches.first, stretches.last)


def _difference(evidence: Evidence, stretches: Stretches, page: int) -> str:
    """The first trade that is not as it should be."""
    at, told, fills = _parting(evidence, stretches, page)
    if at == len(fills):
        return f"number {at + 1} is none of them"
    row = evidence.rows("events", fills["index"][[at]])[0]
    name = f"seq {row['seq']}, {event_words(row)}"
    if at == len(told):
        return f"{name}, is missing"
    if told["seq"][at] != row["seq"]:
        return f"number {at + 1} is seq {told['seq'][at]} and not {name}"
    said = _trade(evidence, page, at)
    wrong = [field for field, kind in TRADE.items() if typed(said.get(field), kind) != row[COLUMNS[field]]]
    return f"of {name}, it says {', '.join(f'{field} {said.get(field)}' for field in wrong)}"


def _trade(evidence: Evidence, page: int, at: int) -> Mapping[str, Any]:
    """A trade as the page's answer has it."""
    trades = loads(evidence.rows("trade_pages", [page])[0]["reply"]).get("trades", ())
    said = trades[at] if at < len(trades) else {}
    return said if isinstance(said, dict) else {}


def _parting(evidence: Evidence, stretches: Stretches, page: int) -> tuple[int, Rows, Rows]:
    """From which of its trades on a page differs from what it covers; both."""
    told, fills = (
        rows.where(np.arange(a[page], b[page]))
        for rows, (a, b) in zip((evidence.page_trades, evidence.fills), _both(stretches), strict=True)
    )
    common = np.arange(min(len(told), len(fills)))
    unlike = np.flatnonzero(_unlike(told.where(common), fills.where(common)))
    return int(unlike[0]) if len(unlike) else len(common), told, fills


def _index(evidence: Evidence, stretches: Stretches, page: int) -> int:
    """The seq of the ledger around which the page goes wrong."""
    at, _, fills = _parting(evidence, stretches, page)
    if at < len(fills):
        return int(fills["seq"][at])
    return max(int(evidence.trade_pages["next"][page]), int(evidence.trade_pages["after"][page]))


@CHECKS.add(
    "trade-pages-advance",
    noun="pages of trades read",
    hold="lead on from where they were asked for if more was known by then",
    broke="do not lead on although more was known before they were asked for",
    needs=("attempts", "stream", "events", "run"),
    timed=True,
)
def trade_pages_advance(evidence: Evidence) -> Result:
    """For each answered GET of trades after place a: if a subscriber had received an event of its market beyond a, or a
    page had led beyond a, before it was asked for, then its `next` is beyond a. So whoever goes on comes to the end.
    """
    pages = evidence.trade_pages.where(evidence.trade_pages["next"] != NO_PAGE)
    led = evidence.trade_pages.where(_there(evidence))
    read = led["market"], led["next"], led["completed_ns"]
    known = ObservedProgress(streamed_events(evidence.stream), read).before(pages["market"], pages["invoked_ns"])
    bad = np.flatnonzero((known > pages["after"]) & (pages["next"] <= pages["after"]))

    def example() -> str:
        row = evidence.rows("trade_pages", pages["index"][bad[:1]])[0]
        who = f"the trades of {row['symbol']} after {row['after']} that client {row['client_id']} read"
        return f"{who} go on from {pages['next'][bad[0]]}, though seq {known[bad[0]]} was known before"

    return by_row(
        evidence,
        examined=len(pages),
        violations=len(bad),
        example=example,
        subject=lambda: _told(evidence, int(pages["index"][bad[0]]), int(pages["after"][bad[0]])),
    )


def _told(evidence: Evidence, page: int, index: int) -> Subject:
    """The read and the ledger around a place of it."""
    row = evidence.rows("trade_pages", [page])[0]
    base = {"source": "client", "client_id": row["client_id"]}
    asked = f"client {row['client_id']} reads {row['limit']} trades of {row['symbol']} after {row['after']}"
    reply = row["reply"] if len(row["reply"]) <= REPLY_CHARS_MAX else f"{row['reply'][:REPLY_CHARS_MAX]}…"
    steps = (
        base | {"t": row["invoked_ns"] / NS_PER_S, "what": asked},
        base | {"t": row["completed_ns"] / NS_PER_S, "what": f"answer {row['status']}: {reply}"},
    )
    return Subject(stretch=(int(evidence.trade_pages["market"][page]), index - AROUND, index + AROUND), steps=steps)
