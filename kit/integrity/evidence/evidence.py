"""The evidence of one run: all recorded tables as columns in which ids are numbers that compare fast."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from kit.integrity.arrays.columns import Columns, Rows
from kit.integrity.arrays.ids import Names
from kit.integrity.arrays.parquet_table import ParquetTable, decoded
from kit.integrity.evidence.client_tables import OK, good
from kit.integrity.evidence.published_metrics import Published
from kit.integrity.evidence.stream_tables import MarketRanges
from kit.model import FaultWindow

# Tables with one row for each answered read; `row` is the row of the attempt.
READ_TABLES = ("order_reads", "book_reads", "trade_pages")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The tables of one run.

    `defects` says for each table that cannot be used why not, `clock_defects` the same for its times.

    The columns `key`, `order`, `maker`, `answer_order`, `client` and `maker_client` hold numbers instead of ids. A
    number stands for the same id in all tables, −1 for none. `market` and `symbol` are numbers in `markets`. The id
    itself is looked up in `recorded`.
    """

    attempts: Columns
    order_reads: Columns
    book_reads: Columns
    book_levels: Columns  # the price levels that the books show
    trade_pages: Columns
    page_trades: Columns  # the trades that the pages show
    stream: Columns
    connections: Columns
    events: Columns  # sorted by market and seq
    past: Columns  # the events that the ledger had before the load, in the order in which they were recorded
    orders: Columns
    positions: Columns
    outbox: Columns
    marks: Columns  # of intake events that were applied
    series: Published  # the metrics that were read from CloudWatch
    # Parts of the above that most checks want.
    sent: Rows  # order attempts under their own content
    reused: Rows  # attempts at orders and cancels that reuse a key for other content
    taken: Rows  # attempts at orders under a new key, with the id of an acknowledged order
    malformed: Rows  # attempts at orders that break the contract
    cancels: Rows
    accepted: Rows
    rejected: Rows  # ledger events that refuse an order (not a cancel)
    fills: Rows
    cancelled: Rows
    cancel_outcomes: Rows  # ledger events by which clients' cancels were carried out or refused
    market_ranges: MarketRanges
    markets: Names
    subscribers: Names
    past_attempts: int  # the first rows of `attempts`, which were sent before the load
    order_count: int
    key_count: int
    client_count: int
    recorded: Mapping[str, ParquetTable]
    defects: Mapping[str, str]
    clock_defects: Mapping[str, str]
    fault: FaultWindow | None

    def of_load(self, attempts: Rows) -> Rows:
        """Return those of the attempts that the load sent."""
        return attempts.where(attempts["index"] >= self.past_attempts)

    def rows(self, name: str, indices: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
        """Return rows as they were recorded, by their index in the evidence's table `name`."""
        if not len(indices):
            return []
        if name in ("events", *READ_TABLES):
            indices = getattr(self, name)["row"][np.asarray(indices)]
        return self.recorded["attempts" if name in READ_TABLES else name].at([int(index) for index in indices])

    def row(self, name: str, index: Any) -> dict[str, Any]:
        return self.rows(name, (index,))[0]

    def first_row(self, name: str, part: Rows, **numbers: int) -> dict[str, Any]:
        """Return the recorded row of the first row in `part` (of the table `name`) whose columns hold these numbers."""
        indices = part["index"]
        for column, number in numbers.items():
            indices = indices[part[column] == number]
        return self.row(name, indices[0])

    def replies(self, indices: np.ndarray) -> Iterator[Any]:
        """Read the replies to the attempts at these ascending indices again, as Arrow arrays of texts."""
        begin = 0
        for batch in self.recorded["attempts"].batches(("reply",)) if len(indices) else ():
            size = len(batch["reply"])
            mine = indices[(indices >= begin) & (indices < begin + size)] - begin
            yield decoded(batch["reply"]).take(pa.array(mine))
            begin += size

    def order_id(self, number: int) -> str:
        """Return the id of the order with this number; an empty text for none."""
        return self._text(number, _ORDER_TEXTS)

    def client_id(self, number: int) -> str:
        """Return the id of the client with this number; an empty text for none."""
        return self._text(number, _CLIENT_TEXTS)

    def _text(self, number: int, texts: Sequence[tuple[str, str, Callable[[Mapping[str, Any]], str]]]) -> str:
        for name, column, read in texts:
            indices = np.flatnonzero(getattr(self, name)[column] == number)[:1] if number >= 0 else ()
            if len(indices):
                return read(self.rows(name, indices)[0])
        return ""

    def client_and_key(self, number: int) -> tuple[str, str]:
        """Return the client's id and the idempotency key that have this number."""
        for name in ("attempts", "events", "orders"):
            indices = np.flatnonzero(getattr(self, name)["key"] == number)[:1]
            if len(indices):
                row = self.rows(name, indices)[0]
                return row["client_id"], row["idempotency_key"]
        return "", ""


# Where the text behind a number is found: table, column of numbers, and how to read it from the recorded row.
_ORDER_TEXTS: tuple[tuple[str, str, Callable[[Mapping[str, Any]], str]], ...] = (
    ("orders", "order", lambda row: row["order_id"]),
    ("events", "order", lambda row: row["taker_order_id"] if row["type"] == "fill" else row["order_id"]),
    ("events", "maker", lambda row: row["maker_order_id"]),
    ("attempts", "order", lambda row: row["order_id"]),
    ("outbox", "order", lambda row: row["order_id"]),
    ("attempts", "answer_order", lambda row: str(json.loads(row["reply"])["orderId"])),
)
_CLIENT_TEXTS: tuple[tuple[str, str, Callable[[Mapping[str, Any]], str]], ...] = (
    ("positions", "client", lambda row: row["client_id"]),
    ("events", "client", lambda row: row["taker_client_id"] if row["type"] == "fill" else row["client_id"]),
    ("events", "maker_client", lambda row: row["maker_client_id"]),
)


def acknowledged(attempts: Rows) -> np.ndarray:
    """Find the attempts that got a 2xx, before or after the client's time-out."""
    return (attempts["outcome"] == OK) | good(attempts["late_status"])


def final_status(attempts: Rows) -> np.ndarray:
    """Return the status of each attempt: that of the late answer, where one came after the time-out."""
    late = attempts["late_status"]
    return np.where(late == 0, attempts["status"], late)
