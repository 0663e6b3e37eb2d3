"""Read a run's folder into evidence: every table once, the ledger first and the stream against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kit.errors import EvidenceMissing
from kit.integrity.arrays.columns import Columns, ColumnStorage
from kit.integrity.arrays.ids import ClientIds, Names, number_ids
from kit.integrity.arrays.parquet_table import ParquetTable
from kit.integrity.evidence import client_tables, ledger_tables, published_metrics, stream_tables, validity
from kit.integrity.evidence.book_tables import BookReads
from kit.integrity.evidence.client_tables import CANCEL, MALFORMED, ORDER, PROBED, REUSE_KEY, TAKEN_ORDER_ID
from kit.integrity.evidence.evidence import READ_TABLES, Evidence
from kit.integrity.evidence.expected_messages import ExpectedMessages
from kit.integrity.evidence.ledger_tables import ACCEPTED, CANCELLED, CLIENT, FILL, REFUSED, REJECTED
from kit.integrity.evidence.published_metrics import Published
from kit.integrity.evidence.run_folder import RunFolder
from kit.integrity.evidence.trade_page_tables import TradePages
from kit.model import FaultWindow, LoadStats

# Columns that hold hashes of ids until all tables are read and the ids can be numbered.
ORDER_IDS = (
    ("attempts", "order"),
    ("attempts", "answer_order"),
    ("order_reads", "order"),
    ("order_reads", "answer_order"),
    ("page_trades", "order"),
    ("page_trades", "maker"),
    ("events", "order"),
    ("events", "maker"),
    ("orders", "order"),
    ("outbox", "order"),
)
KEYS = (("attempts", "key"), ("order_reads", "answer_key"), ("events", "key"), ("orders", "key"))


def read_evidence(
    run_dir: Path, storage: ColumnStorage, *, fault: FaultWindow | None = None, load: LoadStats | None = None
) -> Evidence:
    """Read the evidence of a run. A table that cannot be used is empty and has a defect.

    Without `load`, the generator's counts are read from the history's summary.
    """
    folder = RunFolder(run_dir, storage)
    reader = _TableReader(folder=folder, storage=storage)
    tables = reader.read_all()
    order_count, key_count = _number_ids(tables)
    series = _series(folder, run_dir)
    sent = validity.Sent(by_load=load or folder.load, before=folder.past_attempts)
    clock_defects = validity.find_defects(tables, folder.tables, key_count, sent, folder.defects)
    return Evidence(
        **tables,
        series=series,
        **_parts(tables["attempts"], tables["events"]),
        past_attempts=folder.past_attempts,
        order_count=order_count,
        key_count=key_count,
        client_count=len(reader.clients),
        market_ranges=stream_tables.MarketRanges(tables["events"]),
        markets=reader.markets,
        subscribers=reader.subscribers,
        recorded=folder.tables,
        defects=folder.defects,
        clock_defects=clock_defects,
        fault=fault,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _TableReader:
    """The tables of one run, and the numbers of markets, subscribers and clients that all of them share."""

    folder: RunFolder
    storage: ColumnStorage
    markets: Names = field(default_factory=Names)
    subscribers: Names = field(default_factory=Names)
    clients: ClientIds = field(default_factory=ClientIds)

    def read_all(self) -> dict[str, Columns]:
        """Read every table but the series. Tables that are made of attempts are empty if these cannot be used."""
        events = self._read_events()
        tables = {"events": events, **self._read_attempts(), **self._read_stream(events), **self._read_state()}
        if "attempts" in self.folder.defects:
            tables |= {name: Columns(self.storage) for name in (*READ_TABLES, "book_levels", "page_trades")}
        return tables

    def _read_events(self) -> Columns:
        messages = _expected_messages(self.folder.tables)
        return self._read(
            "events",
            lambda table: ledger_tables.read_events(table, self.storage, self.markets, self.clients, messages),
        )

    def _read_attempts(self) -> dict[str, Columns]:
        """Read the attempts, and what their answers tell of orders, books and trades."""
        storage, markets, clients = self.storage, self.markets, self.clients
        orders, books, pages = Columns(storage), BookReads(storage, markets), TradePages(storage, markets, clients)
        attempts = self._read(
            "attempts", lambda table: client_tables.read_attempts(table, storage, clients, orders, books, pages)
        )
        return {
            "attempts": attempts,
            "order_reads": orders,
            "book_reads": books.reads,
            "book_levels": books.levels,
            "trade_pages": pages.reads,
            "page_trades": pages.trades,
        }

    def _read_stream(self, events: Columns) -> dict[str, Columns]:
        storage, markets, subscribers = self.storage, self.markets, self.subscribers
        ledger = self.folder.tables.get("events")
        return {
            "stream": self._read(
                "stream",
                lambda table: stream_tables.read_stream(table, ledger, storage, events, subscribers, markets),
            ),
            "connections": self._read(
                "connections", lambda table: stream_tables.read_connections(table, storage, subscribers, markets)
            ),
        }

    def _read_state(self) -> dict[str, Columns]:
        """Read what the exchange's tables held before the load and at the end, beside the events."""
        storage, markets, clients = self.storage, self.markets, self.clients
        readers: dict[str, Callable[[ParquetTable], Columns]] = {
            "past": lambda table: ledger_tables.read_past(table, storage, markets),
            "orders": lambda table: ledger_tables.read_orders(table, storage, markets, clients),
            "positions": lambda table: ledger_tables.read_positions(table, storage, markets, clients),
            "outbox": lambda table: ledger_tables.read_outbox(table, storage),
            "marks": lambda table: ledger_tables.read_marks(table, storage),
        }
        return {name: self._read(name, reader) for name, reader in readers.items()}

    def _read(self, name: str, reader: Callable[[ParquetTable], Columns]) -> Columns:
        """Read one table; note its defect if it cannot be used."""
        recorded, defects = self.folder.tables, self.folder.defects
        if name not in recorded:
            return Columns(self.storage)
        try:
            return reader(recorded[name])
        except EvidenceMissing as missing:
            defects[name] = str(missing)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a foreign file, it is no evidence
            defects[name] = f"{name}: cannot be read, {type(error).__name__}: {error}"
        return Columns(self.storage)


def _series(folder: RunFolder, run_dir: Path) -> Published:
    try:
        if "series" in folder.tables:
            return published_metrics.read_series(folder.tables["series"], run_dir)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a foreign file, it is no evidence
        folder.defects["series"] = f"series: cannot be read, {type(error).__name__}: {error}"
    return Published()


def _expected_messages(recorded: Mapping[str, ParquetTable]) -> ExpectedMessages:
    try:
        return ExpectedMessages(recorded.get("stream"))
    except Exception:  # noqa: BLE001 - the stream is damaged, which its own reading reports
        return ExpectedMessages(None)


def _number_ids(tables: Mapping[str, Columns]) -> tuple[int, int]:
    """Replace hashes of ids by numbers; how many orders and keys there are."""
    order_count, key_count = (number_ids([(tables[name], column) for name, column in ids]) for ids in (ORDER_IDS, KEYS))
    attempts = tables["attempts"]
    answer_order = np.where(attempts["answers_own_order"], attempts["order"], attempts["answer_order"])
    attempts.replace("answer_order", answer_order)
    return order_count, key_count


def _parts(attempts: Columns, events: Columns) -> dict[str, Any]:
    op, sent_as, kind = attempts["op"], attempts["kind"], events["type"]
    asked = (kind == REFUSED) | ((kind == CANCELLED) & (events["reason"] == CLIENT))
    return {
        "sent": attempts.where((op == ORDER) & ~np.isin(sent_as, PROBED)),
        "reused": attempts.where(sent_as == REUSE_KEY),
        "taken": attempts.where(sent_as == TAKEN_ORDER_ID),
        "malformed": attempts.where(sent_as == MALFORMED),
        "cancels": attempts.where(op == CANCEL),
        "accepted": events.where(kind == ACCEPTED),
        "rejected": events.where(kind == REJECTED),
        "fills": events.where(kind == FILL),
        "cancelled": events.where(kind == CANCELLED),
        "cancel_outcomes": events.where(asked),
    }
