"""The subscribers' half of the evidence as columns, each message compared with the ledger as it is read.

Owns which event a message belongs to; what it must say is `messages`.
"""

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

CONNECTION_COLUMNS = ["subscriber", "symbol", "connection", "after_seq", "dialed_ns", "opened_ns", "closed_ns"]


class MarketRanges:
    """Where each market's events stand in the sorted ledger."""

    def __init__(self, events: Columns) -> None:
        market = events["market"]
        edges = np.flatnonzero(np.diff(market)) + 1
        firsts, lasts = [0, *edges.tolist()], [*edges.tolist(), len(market)]
        self.by_market = {int(market[a]): (a, b) for a, b in zip(firsts, lasts, strict=True)} if len(market) else {}

    def find(self, events: Columns, market: np.ndarray, seq: np.ndarray) -> np.ndarray:
        """The place of the first event with this market and seq, -1 if there is none."""
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
    # Without a gap and a repeat the place follows from the number itself.
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
    """Every message; `same` says whether it is the ledger event of its (symbol, seq)."""
    stream, ranges, unproven = Columns(storage, table.rows), MarketRanges(events), UnprovenMessages()
    text = events["text"]
    for batch in table.batches(("subscriber", "connection", "symbol", "seq", "received_ns", "event")):
        symbol, seq = markets.number(batch["symbol"]), to_numpy(batch["seq"])
        indices = ranges.find(events, symbol, seq)
        known, same = np.flatnonzero(indices >= 0), np.zeros(len(seq), dtype=bool)
        same[known] = expected_messages.hashed(decoded(batch["event"]))[known] == text[indices[known]]
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
    """Messages that their bytes do not prove equal: in another layout, or wrong."""

    rows: list[np.ndarray] = field(default_factory=list)
    indices: list[np.ndarray] = field(default_factory=list)  # of their events
    said: list[np.ndarray] = field(default_factory=list)

    def put(self, begin: int, chosen: np.ndarray, texts: Any, indices: np.ndarray) -> None:
        """The messages `chosen` of a batch whose first one is message `begin`."""
        if len(chosen):
            self.rows.append(chosen + begin)
            self.indices.append(indices[chosen])
            self.said.append(expected_messages.said(decoded(texts).take(pa.array(chosen))))

    def settle(self, same: np.ndarray, ledger: ParquetTable, recorded: np.ndarray) -> None:
        """Say which of them are equal after all; `recorded` leads from an event to its ledger row."""
        wanted = expected_messages.said_by(ledger, recorded[np.concatenate(self.indices)])
        same[np.concatenate(self.rows)] = np.concatenate(self.said) == wanted


def read_connections(table: ParquetTable, storage: ColumnStorage, subscribers: Names, markets: Names) -> Columns:
    connections = Columns(storage)
    for batch in table.batches(CONNECTION_COLUMNS):
        made = {"subscriber": subscribers.number(batch["subscriber"]), "symbol": markets.number(batch["symbol"])}
        made |= {name: to_numpy(batch[name]) for name in CONNECTION_COLUMNS if name not in made}
        connections.append(made)
    return connections
