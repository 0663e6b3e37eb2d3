"""Compute what the stream's message for each ledger event must say, as numbers, so that no text is kept.

An event has two numbers. `text` is the hash of the very bytes of its message in the layout of this stream; it proves
most messages equal. The others are parsed, which costs ten times as much, and compared by the hash of their fields.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from kit.integrity.arrays import hashing
from kit.integrity.arrays.json_columns import parse
from kit.integrity.arrays.json_templates import JsonTemplate, Values, empty, learn, written
from kit.integrity.arrays.parquet_table import Batch, ParquetTable, decoded, to_numpy
from kit.model import LEDGER_EVENT_COLUMNS

# Messages of a layout that are tried as its template. Several, because the first of them may hold a violation.
MODELS_MAX = 3
# Field of a message → its type and the column of the ledger event. All must agree: a message with the right orders and
# the wrong clients would tell a client of a trade that is not its own.
FIELDS = {
    "market": (str, "market"),
    "seq": (int, "seq"),
    "type": (str, "type"),
    "eventId": (str, "event_id"),
    "tsNs": (int, "ts_ns"),
    "orderId": (str, "order_id"),
    "clientId": (str, "client_id"),
    "idempotencyKey": (str, "idempotency_key"),
    "side": (str, "side"),
    "orderType": (str, "order_type"),
    "tif": (str, "tif"),
    "qty": (int, "qty"),
    "price": (int, "price"),
    "reason": (str, "reason"),
    "command": (str, "command"),
    "tradeId": (str, "trade_id"),
    "takerOrderId": (str, "taker_order_id"),
    "makerOrderId": (str, "maker_order_id"),
    "takerClientId": (str, "taker_client_id"),
    "makerClientId": (str, "maker_client_id"),
    "takerSide": (str, "taker_side"),
}
COLUMNS = {name: column for name, (_, column) in FIELDS.items()}
COMPARED = frozenset(column for _, column in FIELDS.values())
NO_TEXT = 0
# Few at a time, so that memory is reused: getting it from the system anew costs more than the hash.
HASHED_AT_ONCE = 1_024


class ExpectedMessages:
    """The layouts of one run's messages, learnt from the first batch of them."""

    def __init__(self, stream: ParquetTable | None) -> None:
        """Without a stream every `text` is NO_TEXT."""
        self._known: dict[int, JsonTemplate] = {}
        self._tried: dict[int, int] = {}
        batch = None if stream is None else next(stream.batches(("symbol", "seq", "event")), None)
        self._texts = None if batch is None else decoded(batch["event"])
        names = np.zeros(0, dtype=np.uint64) if batch is None else _names(batch["symbol"], batch["seq"])
        self._order = np.argsort(names, kind="stable")
        self._names = names[self._order]

    def expected_texts(self, batch: Batch) -> np.ndarray:
        """Return the number `text` of these ledger rows: the hash of the message that each must have."""
        text = np.full(len(batch["seq"]), NO_TEXT, dtype=np.int64)
        if self._texts is not None:
            shapes, values = _shapes(batch), Values(batch)
            self._learn(batch, shapes)
            for shape, template in self._known.items():
                rows = np.flatnonzero(shapes == shape)
                messages = written(template, values, rows) if len(rows) else None
                if messages is not None:
                    text[rows] = text_hashes(messages)
        return text

    def _learn(self, batch: Batch, shapes: np.ndarray) -> None:
        """Learn the layouts of rows with the same empty columns, where their message is among the first messages."""
        unknown = [shape for shape in pd.unique(shapes).tolist() if shape not in self._known]
        if not unknown:
            return
        names = _names(batch["market"], batch["seq"])
        at = np.minimum(np.searchsorted(self._names, names), len(self._names) - 1)
        sampled = self._names[at] == names
        for shape in unknown:
            for index in np.flatnonzero(sampled & (shapes == shape))[:MODELS_MAX].tolist():
                self._try(shape, batch, index, self._texts[int(self._order[at[index]])].as_py())  # type: ignore[index]

    def _try(self, shape: int, batch: Batch, index: int, text: str) -> None:
        self._tried[shape] = self._tried.get(shape, 0) + 1
        if shape in self._known or self._tried[shape] > MODELS_MAX:
            return
        row = {column: batch[column][index].as_py() for column in LEDGER_EVENT_COLUMNS}
        template = learn(text, row, COLUMNS, COMPARED)
        if template is not None and not template.free:
            self._known[shape] = template


def _names(markets: Any, seqs: Any) -> np.ndarray:
    return hashing.rows(hashing.texts(markets), to_numpy(seqs))


def _shapes(batch: Batch) -> np.ndarray:
    shapes = np.zeros(len(batch["seq"]), dtype=np.int32)
    for bit, column in enumerate(LEDGER_EVENT_COLUMNS):
        shapes |= empty(batch[column]).astype(np.int32) << bit
    return shapes


def text_hashes(texts: Any) -> np.ndarray:
    """Return a hash for each text, valid in this process. Python's hash is ten times as fast as ours on long texts."""
    raw, numbers = texts.cast(pa.binary()), np.empty(len(texts), dtype=np.int64)
    for start in range(0, len(raw), HASHED_AT_ONCE):
        part = raw[start : start + HASHED_AT_ONCE].to_pylist()
        numbers[start : start + len(part)] = np.fromiter(map(hash, part), dtype=np.int64, count=len(part))
    return numbers


def field_hashes(texts: Any) -> np.ndarray:
    """Parse each message and return the hash of its fields."""
    parsed = parse(texts, {name: kind for name, (kind, _) in FIELDS.items()})
    return hashing.rows(*(_part(parsed[name], kind) for name, (kind, _) in FIELDS.items()))


def expected_field_hashes(ledger: ParquetTable, rows: np.ndarray) -> np.ndarray:
    """Return the field hashes that messages of these recorded ledger rows must have.

    It reads the ledger again. Most runs do not need it.
    """
    order, begin, found = np.argsort(rows, kind="stable"), 0, np.zeros(len(rows), dtype=np.uint64)
    ordered = rows[order]
    for batch in ledger.batches([column for _, column in FIELDS.values()]):
        first, last = np.searchsorted(ordered, (begin, begin + len(batch["seq"])))
        if last > first:
            found[order[first:last]] = field_hashes_of(batch)[ordered[first:last] - begin]
        begin += len(batch["seq"])
    return found


def field_hashes_of(batch: Batch) -> np.ndarray:
    """Return the field hashes of the messages that these ledger rows must have."""
    return hashing.rows(*(_part(batch[column], kind) for kind, column in FIELDS.values()))


def _part(values: Any, kind: type) -> np.ndarray:
    return hashing.texts(values) if kind is str else to_numpy(values)
