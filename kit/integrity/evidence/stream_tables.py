"""Read what subscribers received, each message compared with the ledger, and their connections."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from kit.integrity.arrays.columns import Columns, ColumnStorage
from kit.integrity.arrays.ids import Names
from kit.integrity.arrays.parquet_table import ParquetTable, decoded, to_numpy
from kit.integrity.evidence import expected_messages

CONNECTION_COLUMNS = [
    "subscriber", "symbol", "connection", "after_seq", "dialed_ns", "opened_ns", "closed_ns", "close_code"
]  # fmt: skip


class MarketRanges:
    """The range of each market's events in the sorted ledger: market → first and one past the last index."""

    def __init__(self, events: Columns) -> None:
        market = events["market"]
        edges = np.flatnonzero(np.diff(market)) + 1
        firsts, lasts = [0, *edges.tolist()], [*edges.tolist(), len(market)]
        self.by_market = {int(market[a]): (a, b) for a, b in zip(firsts, lasts, strict=True)} if len(market) else {}

    def find(self, events: Columns, market: np.ndarray, seq: np.ndarray) -> np.ndarray:
        """Return the index of the first event with each market and seq, −1 where there is none."""
        found, seqs = np.full(len(seq), -1, dtype=np.int64), events["seq"]
        for number in pd.unique(market).tolist():
            if number not in self.by_market:
                continue
            first, last = self.by_market[number]
            mine = np.flatnonzero(market == number)
            index = _index(seqs[first:last], seq[mine])
            found[mine] = np.where(index >= 0, index + first, -1)
        return found


def _index(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    # Without gaps and repeats the index follows from the number itself.
    guess = np.clip(wanted - known[0], 0, len(known) - 1)
    if int(known[-1]) - int(known[0]) != len(known) - 1 or not (known[guess] == wanted).all():
        guess = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[guess] == wanted, guess, -1)


def read_stream(
    table: ParquetTable,
    ledger: ParquetTable | None,
    storage: ColumnStorage,
    events: Columns,
    subscribers: Names,
    markets: Names,
) -> Columns:
    """Read every message. `same` says whether it equals the ledger event of its (symbol, seq)."""
    stream, ranges, unproven = Columns(storage, table.rows), MarketRanges(events), UnprovenMessages()
    text = events["text"]
    for batch in table.batches(("subscriber", "connection", "symbol", "seq", "received_ns", "event")):
        symbol, seq = markets.number(batch["symbol"]), to_numpy(batch["seq"])
        indices = ranges.find(events, symbol, seq)
        known, same = np.flatnonzero(indices >= 0), np.zeros(len(seq), dtype=bool)
        same[known] = expected_messages.text_hashes(decoded(batch["event"]))[known] == text[indices[known]]
        unproven.put(len(stream), known[~same[known]], batch["event"], indices)
        stream.append(
            {
                "subscriber": subscribers.number(batch["subscriber"]),
                "symbol": symbol,
                "connection": to_numpy(batch["connection"]),
                "seq": seq,
                "received_ns": to_numpy(batch["received_ns"]),
                "same": same,
            }
        )
    if unproven.rows and ledger is not None:
        same = stream["same"].copy()
        unproven.settle(same, ledger, events["row"])
        stream.replace("same", same)
    return stream


@dataclass(slots=True)
class UnprovenMessages:
    """Messages whose bytes do not prove them equal to their event: in another layout, or wrong."""

    rows: list[np.ndarray] = field(default_factory=list)
    indices: list[np.ndarray] = field(default_factory=list)  # of their events
    field_hashes: list[np.ndarray] = field(default_factory=list)

    def put(self, begin: int, chosen: np.ndarray, texts: Any, indices: np.ndarray) -> None:
        """Add the messages at the indices `chosen` of a batch whose first message has the index `begin`."""
        if len(chosen):
            self.rows.append(chosen + begin)
            self.indices.append(indices[chosen])
            self.field_hashes.append(expected_messages.field_hashes(decoded(texts).take(pa.array(chosen))))

    def settle(self, same: np.ndarray, ledger: ParquetTable, recorded: np.ndarray) -> None:
        """Set `same` where the parsed fields are equal. `recorded` are the recorded rows of the events."""
        expected = expected_messages.expected_field_hashes(ledger, recorded[np.concatenate(self.indices)])
        same[np.concatenate(self.rows)] = np.concatenate(self.field_hashes) == expected


def read_connections(table: ParquetTable, storage: ColumnStorage, subscribers: Names, markets: Names) -> Columns:
    connections = Columns(storage)
    for batch in table.batches(CONNECTION_COLUMNS):
        columns = {"subscriber": subscribers.number(batch["subscriber"]), "symbol": markets.number(batch["symbol"])}
        columns |= {name: to_numpy(batch[name]) for name in CONNECTION_COLUMNS if name not in columns}
        connections.append(columns)
    return connections
