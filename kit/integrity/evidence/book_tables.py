"""Read the books that clients read: one row for each answered read, one for each price level that it shows."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from kit.integrity.arrays.columns import Columns, ColumnStorage
from kit.integrity.arrays.ids import Names
from kit.integrity.arrays.json_columns import loads
from kit.integrity.arrays.parquet_table import Batch, decoded, to_numpy

# The seq of an answer that is not a book of the requested market.
NO_BOOK = -1
# The sides in the order of an answer, and whether they buy.
SIDES = (("bids", 1), ("asks", 0))

Level = tuple[int, int, int]  # price, lots, orders
LEVEL_PARTS = 3


class BookReads:
    """`reads`: row (of the attempt), market, seq, asked (levels a side, 0 where that was not recorded), times.
    `levels`: read (index in `reads`), buys, price, lots, orders, in the order of the answer.
    """

    def __init__(self, storage: ColumnStorage, markets: Names) -> None:
        self.reads, self.levels, self._markets = Columns(storage), Columns(storage), markets

    def put(self, batch: Batch, chosen: np.ndarray, begin: int) -> None:
        """Add the reads at the indices `chosen` of a batch whose first attempt has the index `begin`."""
        taken = {name: _taken(batch[name], chosen) for name in ("symbol", "reply")}
        books = [book_of(*both) for both in zip(taken["symbol"].to_pylist(), taken["reply"].to_pylist(), strict=True)]
        first = len(self.reads)
        rows = [(first + index, *level) for index, (_, levels) in enumerate(books) for level in levels]
        table = np.array(rows, dtype=np.int64).reshape(-1, 5)
        self.levels.append({name: table[:, n] for n, name in enumerate(("read", "buys", "price", "lots", "orders"))})
        made = {name: to_numpy(batch[name])[chosen] for name in ("invoked_ns", "completed_ns")}
        self.reads.append(
            made
            | {
                "row": chosen + begin,
                "market": self._markets.number(taken["symbol"]),
                "seq": np.array([seq for seq, _ in books], dtype=np.int64),
                "asked": to_numpy(batch["depth"])[chosen],
            }
        )


def _taken(values: Any, chosen: np.ndarray) -> Any:
    return decoded(values).take(pa.array(chosen))


def book_of(symbol: str, reply: str) -> tuple[int, list[tuple[int, int, int, int]]]:
    """The seq and the levels (buys, price, lots, orders) of an answer; NO_BOOK if it is not a book of `symbol`."""
    answer = loads(reply)
    seq, sides = answer.get("seq"), [(answer.get(name), buys) for name, buys in SIDES]
    if answer.get("symbol") != symbol or not _is_count(seq) or not all(_are_levels(side) for side, _ in sides):
        return NO_BOOK, []
    return seq, [(buys, *level) for side, buys in sides for level in side]  # type: ignore[misc, return-value]


def _are_levels(side: Any) -> bool:
    if side == []:
        return True
    # Parsed JSON has no subclasses, so that sets of types and lengths can replace a check of each level.
    if not isinstance(side, list) or set(map(type, side)) - {list} or set(map(len, side)) - {LEVEL_PARTS}:
        return False
    counts = [*chain.from_iterable(side)]
    return not set(map(type, counts)) - {int} and min(counts, default=0) >= 0 and max(counts, default=0) < 2**63


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
