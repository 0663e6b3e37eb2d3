"""What a message of the stream must say for its ledger event: as numbers, so that no text is kept.

Owns the fields of a message. An event has two numbers: `text`, of the very bytes that a message in the layout of this
stream has, and `said`, of the fields that must agree. Most messages are proved equal by their bytes; the others are
parsed, which costs ten times as much.
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

# Of a shape, messages that are tried as its model: a violation among them must not stop the others from being quick.
MODELS_MAX = 3
# Field of a message and its type → column of a ledger event. All must agree: a message that names the right orders and
# the wrong clients tells somebody that he traded.
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
# Few at a time, so that their memory is used again: to get it from the system anew costs more than the hash.
HASHED_AT_ONCE = 1_024


class ExpectedMessages:
    """The layout of one run's messages, learnt from the first of them."""

    def __init__(self, stream: ParquetTable | None) -> None:
        """Without a stream there are no texts."""
        self._known: dict[int, JsonTemplate] = {}
        self._tried: dict[int, int] = {}
        batch = None if stream is None else next(stream.batches(("symbol", "seq", "event")), None)
        self._texts = None if batch is None else decoded(batch["event"])
        names = np.zeros(0, dtype=np.uint64) if batch is None else _names(batch["symbol"], batch["seq"])
        self._order = np.argsort(names, kind="stable")
        self._names = names[self._order]

    def wanted(self, batch: Batch) -> np.ndarray:
        """`text` of these ledger rows."""
        text = np.full(len(batch["seq"]), NO_TEXT, dtype=np.int64)
        if self._texts is not None:
            shapes, values = _shapes(batch), Values(batch)
            self._learn(batch, shapes)
            for shape, template in self._known.items():
                rows = np.flatnonzero(shapes == shape)
                made = written(template, values, rows) if len(rows) else None
                if made is not None:
                    text[rows] = hashed(made)
        return text

    def _learn(self, batch: Batch, shapes: np.ndarray) -> None:
        """The layouts of rows that have the same columns empty, where some of them are among the first messages."""
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


def hashed(texts: Any) -> np.ndarray:
    """One number a text, within this process. Python's own hash: long texts cost it a tenth of what ours costs."""
    raw, numbers = texts.cast(pa.binary()), np.empty(len(texts), dtype=np.int64)
    for start in range(0, len(raw), HASHED_AT_ONCE):
        part = raw[start : start + HASHED_AT_ONCE].to_pylist()
        numbers[start : start + len(part)] = np.fromiter(map(hash, part), dtype=np.int64, count=len(part))
    return numbers


def said(texts: Any) -> np.ndarray:
    """The number of what each message says, by parsing it."""
    told = parse(texts, {name: kind for name, (kind, _) in FIELDS.items()})
    return hashing.rows(*(_part(told[name], kind) for name, (kind, _) in FIELDS.items()))


def said_by(ledger: ParquetTable, rows: np.ndarray) -> np.ndarray:
    """The numbers of what messages of these recorded ledger rows must say. The ledger is read again for them: in most
    runs there are none.
    """
    order, begin, found = np.argsort(rows, kind="stable"), 0, np.zeros(len(rows), dtype=np.uint64)
    ordered = rows[order]
    for batch in ledger.batches([column for _, column in FIELDS.values()]):
        first, last = np.searchsorted(ordered, (begin, begin + len(batch["seq"])))
        if last > first:
            numbers = hashing.rows(*(_part(batch[column], kind) for kind, column in FIELDS.values()))
            found[order[first:last]] = numbers[ordered[first:last] - begin]
        begin += len(batch["seq"])
    return found


def _part(values: Any, kind: type) -> np.ndarray:
    return hashing.texts(values) if kind is str else to_numpy(values)
