"""All tables of one run side by side as columns, with ids as numbers that compare fast.

Owns how the tables hang together; must not know what is checked. Whether they are evidence at all is `doubts`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from kit.errors import EvidenceMissing
from kit.integrity.arrays.columns import Columns, Rows, Space
from kit.integrity.arrays.ids import Ids, Names, number_ids
from kit.integrity.arrays.sources import FrameSource, Source
from kit.integrity.evidence import client_tables, ledger_tables, stream_tables, validity
from kit.integrity.evidence.book_tables import BookReads
from kit.integrity.evidence.client_tables import CANCEL, ORDER, REUSE_KEY, good
from kit.integrity.evidence.ledger_tables import ACCEPTED, CANCELLED, CLIENT, FILL, REFUSED, REJECTED
from kit.integrity.evidence.messages import Messages
from kit.integrity.evidence.trade_page_tables import PageReads
from kit.model import (
    ATTEMPT_COLUMNS,
    CONNECTION_COLUMNS,
    LEDGER_EVENT_COLUMNS,
    ORDER_COLUMNS,
    OUTBOX_COLUMNS,
    POSITION_COLUMNS,
    STREAM_COLUMNS,
    FaultWindow,
    LoadStats,
)

COLUMNS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "attempts": ATTEMPT_COLUMNS,
        "stream": STREAM_COLUMNS,
        "connections": CONNECTION_COLUMNS,
        "events": LEDGER_EVENT_COLUMNS,
        "orders": ORDER_COLUMNS,
        "positions": POSITION_COLUMNS,
        "outbox": OUTBOX_COLUMNS,
    }
)
# Attempts that have tables of their own.
READS = ("reads", "books", "pages")
# Recorded tables as a caller hands them over: a source, the reason why there is none, or nothing.
Recorded = Source | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One run. `defects` says by table why it is no evidence, `clocks` why its times are not.

    Columns `key`, `order`, `maker`, `told_order` and `client`, `maker_client` hold numbers over all tables, −1 for
    none; `market` and `symbol` are numbers in `markets`. What a number stands for is looked up in `sources`.
    """

    attempts: Columns
    reads: Columns  # of orders, that were answered
    books: Columns  # reads of books, that were answered
    levels: Columns  # the prices that they show
    pages: Columns  # reads of trades, that were answered
    trades: Columns  # the trades that they tell
    stream: Columns
    connections: Columns
    events: Columns  # by market and seq
    orders: Columns
    positions: Columns
    outbox: Columns
    # Parts of the above that most checks want.
    sent: Rows  # order attempts under their own content
    reused: Rows  # attempts at orders and cancels that reuse a key for other content
    cancels: Rows
    accepted: Rows
    rejected: Rows  # ledger events that refuse an order (not a cancel)
    fills: Rows
    cancelled: Rows
    cancel_outcomes: Rows  # ledger events by which clients' cancels were carried out or refused
    slices: stream_tables.Slices
    markets: Names
    subscribers: Names
    order_count: int
    key_count: int
    client_count: int
    sources: Mapping[str, Source]
    space: Space
    defects: Mapping[str, str] = field(default_factory=dict)
    clocks: Mapping[str, str] = field(default_factory=dict)
    fault: FaultWindow | None = None

    def rows(self, name: str, places: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
        """Rows as they were recorded, by their place in the table `name` of the evidence."""
        if not len(places):
            return []
        if name in ("events", *READS):
            places = getattr(self, name)["row"][np.asarray(places)]
        return self.sources["attempts" if name in READS else name].at([int(place) for place in places])

    def order_of(self, number: int) -> str:
        """The order's id; "" for none."""
        return self._text(number, _ORDER_TEXTS)

    def client_of(self, number: int) -> str:
        """The client's name; "" for none."""
        return self._text(number, _CLIENT_TEXTS)

    def _text(self, number: int, texts: Sequence[tuple[str, str, Callable[[Mapping[str, Any]], str]]]) -> str:
        for name, column, read in texts:
            places = np.flatnonzero(getattr(self, name)[column] == number)[:1] if number >= 0 else ()
            if len(places):
                return read(self.rows(name, places)[0])
        return ""

    def key_of(self, number: int) -> tuple[str, str]:
        """The client and the idempotency key."""
        for name in ("attempts", "events", "orders"):
            places = np.flatnonzero(getattr(self, name)["key"] == number)[:1]
            if len(places):
                row = self.rows(name, places)[0]
                return row["client_id"], row["idempotency_key"]
        return "", ""

    def close(self) -> None:
        """Remove what was put into files."""
        self.space.close()


def _told_order(row: Mapping[str, Any]) -> str:
    return str(json.loads(row["reply"])["orderId"])


_ORDER_TEXTS: tuple[tuple[str, str, Callable[[Mapping[str, Any]], str]], ...] = (
    ("orders", "order", lambda row: row["order_id"]),
    ("events", "order", lambda row: row["taker_order_id"] if row["type"] == "fill" else row["order_id"]),
    ("events", "maker", lambda row: row["maker_order_id"]),
    ("attempts", "order", lambda row: row["order_id"]),
    ("outbox", "order", lambda row: row["order_id"]),
    ("attempts", "told_order", _told_order),
)
_CLIENT_TEXTS: tuple[tuple[str, str, Callable[[Mapping[str, Any]], str]], ...] = (
    ("positions", "client", lambda row: row["client_id"]),
    ("events", "client", lambda row: row["taker_client_id"] if row["type"] == "fill" else row["client_id"]),
    ("events", "maker_client", lambda row: row["maker_client_id"]),
)


def gather(
    tables: Mapping[str, pd.DataFrame | None],
    *,
    fault: FaultWindow | None = None,
    load: LoadStats | None = None,
    space: Space | None = None,
) -> Evidence:
    """Evidence from tables in memory (by the names of `COLUMNS`). One that cannot be used is empty and a defect."""
    return assemble({name: _framed(name, tables.get(name)) for name in COLUMNS}, fault=fault, load=load, space=space)


def _framed(name: str, frame: pd.DataFrame | None) -> Recorded:
    if frame is None:
        return None
    try:
        return FrameSource(name, frame, COLUMNS[name])
    except EvidenceMissing as missing:
        return str(missing)


def assemble(
    recorded: Mapping[str, Recorded],
    *,
    fault: FaultWindow | None = None,
    load: LoadStats | None = None,
    space: Space | None = None,
) -> Evidence:
    """Evidence from recorded tables, read once each; the ledger first, the stream against it."""
    space = Space() if space is None else space
    defects = {
        name: one or f"{name}: was not recorded" for name, one in recorded.items() if not isinstance(one, Source)
    }
    sources = {name: one for name, one in recorded.items() if isinstance(one, Source)}
    markets, subscribers, clients = Names(), Names(), Ids()

    def read(name: str, reader: Callable[[Source], Columns]) -> Columns:
        try:
            return reader(sources[name]) if name in sources else Columns(space)
        except EvidenceMissing as missing:
            defects[name] = str(missing)
            return Columns(space)

    messages, reads = Messages(sources.get("stream")), Columns(space)
    books, pages = BookReads(space, markets), PageReads(space, markets, clients)
    events = read("events", lambda source: ledger_tables.read_events(source, space, markets, clients, messages))
    tables = {
        "attempts": read(
            "attempts", lambda source: client_tables.read_attempts(source, space, clients, reads, books, pages)
        ),
        "reads": reads,
        "books": books.reads,
        "levels": books.levels,
        "pages": pages.reads,
        "trades": pages.trades,
        "stream": read(
            "stream",
            lambda source: stream_tables.read_stream(
                source, sources.get("events"), space, events, subscribers, markets
            ),
        ),
        "connections": read(
            "connections", lambda source: stream_tables.read_connections(source, space, subscribers, markets)
        ),
        "events": events,
        "orders": read("orders", lambda source: ledger_tables.read_orders(source, space, markets, clients)),
        "positions": read("positions", lambda source: ledger_tables.read_positions(source, space, markets, clients)),
        "outbox": read("outbox", lambda source: ledger_tables.read_outbox(source, space)),
    }
    if "attempts" in defects:
        tables |= {name: Columns(space) for name in (*READS, "levels", "trades")}
    sizes = _numbered(tables)
    clocks = validity.look(tables, sources, sizes, load, defects)
    return Evidence(
        **tables,
        **_parts(tables["attempts"], events),
        order_count=sizes["order_count"],
        key_count=sizes["key_count"],
        client_count=len(clients),
        slices=stream_tables.Slices(events),
        markets=markets,
        subscribers=subscribers,
        sources=MappingProxyType(sources),
        space=space,
        defects=MappingProxyType(defects),
        clocks=MappingProxyType(clocks),
        fault=fault,
    )


def _numbered(tables: Mapping[str, Columns]) -> dict[str, int]:
    """Turn hashes of ids into numbers; how many there are."""
    wanted = {
        "order_count": [
            ("attempts", "order"),
            ("attempts", "told_order"),
            ("reads", "order"),
            ("reads", "told_order"),
            ("trades", "order"),
            ("trades", "maker"),
            ("events", "order"),
            ("events", "maker"),
            ("orders", "order"),
            ("outbox", "order"),
        ],
        "key_count": [("attempts", "key"), ("events", "key"), ("orders", "key")],
    }
    sizes = {count: number_ids([(tables[name], column) for name, column in places]) for count, places in wanted.items()}
    attempts = tables["attempts"]
    attempts.replace("told_order", np.where(attempts["own"], attempts["order"], attempts["told_order"]))
    return sizes


def _parts(attempts: Columns, events: Columns) -> dict[str, Any]:
    op, kind, own = attempts["op"], events["type"], attempts["kind"] != REUSE_KEY
    asked = (kind == REFUSED) | ((kind == CANCELLED) & (events["reason"] == CLIENT))
    return {
        "sent": attempts.where((op == ORDER) & own),
        "reused": attempts.where(~own),
        "cancels": attempts.where(op == CANCEL),
        "accepted": events.where(kind == ACCEPTED),
        "rejected": events.where(kind == REJECTED),
        "fills": events.where(kind == FILL),
        "cancelled": events.where(kind == CANCELLED),
        "cancel_outcomes": events.where(asked),
    }


def acknowledged(rows: Rows) -> np.ndarray:
    """Attempts that a client knows to have worked: a 2xx in time, or one that came after the time-out."""
    return (rows["outcome"] == client_tables.OK) | good(rows["late_status"])


def final_status(rows: Rows) -> np.ndarray:
    """The status that came in the end, after the time-out if need be."""
    late = rows["late_status"]
    return np.where(late == 0, rows["status"], late)
