"""Read the order books that clients got: one row for each answered read, and one for each price level in its answer."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from kit.integrity.arrays.columns import Columns, ColumnStorage
from kit.integrity.arrays.ids import Names
from kit.integrity.arrays.json_columns import loads
from kit.integrity.arrays.parquet_table import Batch, decoded, to_numpy

# Stands for the seq where an answer is not a book of the requested market.
NO_BOOK = -1
# The members of an answer, and whether they hold buy orders.
SIDES = (("bids", 1), ("asks", 0))

Level = tuple[int, int, int]  # price, lots, orders
LEVEL_LENGTH = 3


class BookReads:
    """The order books that clients read.

    `reads` has a row for each answered read: row (of the attempt), market, seq, asked, times. `asked` is how many
    levels a side were requested, 0 where that was not recorded.
    `levels` has a row for each price level, in the order of the answer: read (index in `reads`), buys, price, lots,
    orders.
    """

    def __init__(self, storage: ColumnStorage, markets: Names) -> None:
        self.reads, self.levels, self._markets = Columns(storage), Columns(storage), markets

    def put(self, batch: Batch, chosen: np.ndarray, begin: int) -> None:
        """Add the reads at the indices `chosen` of a batch of attempts. The batch's first attempt is row `begin`."""
        symbols, replies = _taken(batch["symbol"], chosen), _taken(batch["reply"], chosen)
        books = [book_of(symbol, reply) for symbol, reply in zip(symbols.to_pylist(), replies.to_pylist(), strict=True)]
        first = len(self.reads)
        rows = [(first + index, *level) for index, (_, levels) in enumerate(books) for level in levels]
        table = np.array(rows, dtype=np.int64).reshape(-1, 5)
        self.levels.append({name: table[:, n] for n, name in enumerate(("read", "buys", "price", "lots", "orders"))})
        times = {name: to_numpy(batch[name])[chosen] for name in ("invoked_ns", "completed_ns")}
        self.reads.append(
            times
            | {
                "row": chosen + begin,
                "market": self._markets.number(symbols),
                "seq": np.array([seq for seq, _ in books], dtype=np.int64),
                "asked": to_numpy(batch["depth"])[chosen],
            }
        )


def _taken(values: Any, chosen: np.ndarray) -> Any:
    return decoded(values).take(pa.array(chosen))


def book_of(symbol: str, reply: str) -> tuple[int, list[tuple[int, int, int, int]]]:
    """Parse an answer into its seq and its levels (buys, price, lots, orders).

    If it is not a book of `symbol`, the seq is NO_BOOK.
    """
    answer = loads(reply)
    seq, sides = answer.get("seq"), [(answer.get(name), buys) for name, buys in SIDES]
    if answer.get("symbol") != symbol or not _is_count(seq) or not all(_are_levels(side) for side, _ in sides):
        return NO_BOOK, []
    return seq, [(buys, *level) for side, buys in sides for level in side]  # type: ignore[misc, return-value]


def _are_levels(side: Any) -> bool:
    if side == []:
        return True
    # A set of the types and one of the lengths are faster than a check of each level. `type` also tells bool from int.
    if not isinstance(side, list) or set(map(type, side)) - {list} or set(map(len, side)) - {LEVEL_LENGTH}:
        return False
    counts = [*chain.from_iterable(side)]
    return not set(map(type, counts)) - {int} and min(counts, default=0) >= 0 and max(counts, default=0) < 2**63


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
