"""The subscribers' half of the evidence as columns, each message compared with the ledger as it is read.

Owns which event a message belongs to; what it must say is `messages`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from kit.integrity.arrays.columns import Columns, Space
from kit.integrity.arrays.ids import Names
from kit.integrity.arrays.sources import Source, plain, whole
from kit.integrity.evidence import messages

CONNECTION_COLUMNS = ["subscriber", "symbol", "connection", "after_seq", "dialed_ns", "opened_ns", "closed_ns"]


class Slices:
    """Where each market's events stand in the sorted ledger."""

    def __init__(self, events: Columns) -> None:
        market = events["market"]
        edges = np.flatnonzero(np.diff(market)) + 1
        firsts, lasts = [0, *edges.tolist()], [*edges.tolist(), len(market)]
        self.by_market = {int(market[a]): (a, b) for a, b in zip(firsts, lasts, strict=True)} if len(market) else {}

    def places(self, events: Columns, market: np.ndarray, seq: np.ndarray) -> np.ndarray:
        """The place of the first event with this market and seq, -1 if there is none."""
        found, seqs = np.full(len(seq), -1, dtype=np.int64), events["seq"]
        for number in pd.unique(market).tolist():
            if number not in self.by_market:
                continue
            first, last = self.by_market[number]
            mine = np.flatnonzero(market == number)
            place = _place(seqs[first:last], seq[mine])
            found[mine] = np.where(place >= 0, place + first, -1)
        return found


def _place(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    # Without a gap and a repeat the place follows from the number itself.
    guess = np.clip(wanted - known[0], 0, len(known) - 1)
    if int(known[-1]) - int(known[0]) != len(known) - 1 or not (known[guess] == wanted).all():
        guess = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[guess] == wanted, guess, -1)


def read_stream(
    source: Source, ledger: Source | None, space: Space, events: Columns, subscribers: Names, markets: Names
) -> Columns:
    """Every message; `same` says whether it is the ledger event of its (symbol, seq)."""
    stream, slices, others, text = Columns(space, source.rows), Slices(events), Others(), events["text"]
    for batch in source.batches(("subscriber", "connection", "symbol", "seq", "received_ns", "event")):
        symbol, seq = markets.number(batch["symbol"]), whole(batch["seq"])
        places = slices.places(events, symbol, seq)
        known, same = np.flatnonzero(places >= 0), np.zeros(len(seq), dtype=bool)
        same[known] = messages.hashed(plain(batch["event"]))[known] == text[places[known]]
        others.put(len(stream), known[~same[known]], batch["event"], places)
        stream.append(
            {
                "subscriber": subscribers.number(batch["subscriber"]),
                "symbol": symbol,
                "connection": whole(batch["connection"]),
                "seq": seq,
                "received_ns": whole(batch["received_ns"]),
                "same": same,
            }
        )
    if others.rows and ledger is not None:
        same = stream["same"].copy()
        others.settle(same, ledger, events["row"])
        stream.replace("same", same)
    return stream


@dataclass(slots=True)
class Others:
    """Messages that their bytes do not prove equal: in another layout, or wrong."""

    rows: list[np.ndarray] = field(default_factory=list)
    places: list[np.ndarray] = field(default_factory=list)  # of their events
    said: list[np.ndarray] = field(default_factory=list)

    def put(self, begin: int, chosen: np.ndarray, texts: Any, places: np.ndarray) -> None:
        """The messages `chosen` of a batch whose first one is message `begin`."""
        if len(chosen):
            self.rows.append(chosen + begin)
            self.places.append(places[chosen])
            self.said.append(messages.said(plain(texts).take(pa.array(chosen))))

    def settle(self, same: np.ndarray, ledger: Source, recorded: np.ndarray) -> None:
        """Say which of them are equal after all; `recorded` leads from an event to its ledger row."""
        wanted = messages.said_by(ledger, recorded[np.concatenate(self.places)])
        same[np.concatenate(self.rows)] = np.concatenate(self.said) == wanted


def read_connections(source: Source, space: Space, subscribers: Names, markets: Names) -> Columns:
    connections = Columns(space)
    for batch in source.batches(CONNECTION_COLUMNS):
        numbers = {"subscriber": subscribers.number(batch["subscriber"]), "symbol": markets.number(batch["symbol"])}
        connections.append(numbers | {name: whole(batch[name]) for name in CONNECTION_COLUMNS if name not in numbers})
    return connections
