"""Number words, names and ids.

Ids are numbered by their 64-bit hashes, one part of the hash range after the other, so that memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from kit.integrity.arrays import hashing
from kit.integrity.arrays.columns import Columns

NO_ID = -1
# How many ids are numbered at once.
CELLS_MAX = 1 << 22


def codes(values: Any, words: Sequence[str]) -> np.ndarray:
    """Return the index in `words` of each text, −1 for any other text."""
    indices = {word: index for index, word in enumerate(words)}
    return _looked_up(values, lambda text: indices.get(text, -1)).astype(np.int8)


class Names:
    """Numbers for a few names (markets, subscribers). The name of a number can be looked up."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, values: Any) -> np.ndarray:
        return _looked_up(values, lambda text: self._numbers.setdefault(text, len(self._numbers))).astype(np.int32)

    def __getitem__(self, number: int) -> str:
        return list(self._numbers)[number]

    def __len__(self) -> int:
        return len(self._numbers)


class ClientIds:
    """Numbers for many repeated ids (of clients). Their texts are not kept; recorded rows have them."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}

    def number(self, values: Any) -> np.ndarray:
        """NO_ID for the empty id."""
        coded = values if isinstance(values, pa.DictionaryArray) else values.dictionary_encode()
        known = self._numbers
        numbers = np.array(
            [known.setdefault(one, len(known)) if one else NO_ID for one in hashing.texts(coded.dictionary).tolist()],
            dtype=np.int32,
        )
        return numbers[coded.indices.to_numpy(zero_copy_only=False)] if len(coded) else np.zeros(0, dtype=np.int32)

    def __len__(self) -> int:
        return len(self._numbers)


def _looked_up(values: Any, look: Any) -> np.ndarray:
    coded = values if isinstance(values, pa.DictionaryArray) else values.dictionary_encode()
    numbers = np.array([look(text) for text in coded.dictionary.to_pylist()], dtype=np.int64)
    return numbers[coded.indices.to_numpy(zero_copy_only=False)] if len(coded) else np.zeros(0, dtype=np.int64)


def number_ids(indices: Sequence[tuple[Columns, str]]) -> int:
    """Replace the hashes in these columns by numbers 0 … n − 1, equal for equal hashes, NO_ID for 0. Returns n."""
    total = sum(len(table) for table, _ in indices)
    bits = max(0, (total // CELLS_MAX).bit_length())
    numbered = [np.full(len(table), NO_ID, dtype=np.int32) for table, _ in indices]
    count = 0
    for part in range(1 << bits):
        chosen = [_part(table[column], part, bits) for table, column in indices]
        hashes = np.concatenate([found for _, found in chosen])
        # All parts hold about as many ids. A hash table that need not grow is filled a quarter faster.
        numbers, distinct = pd.factorize(hashes, size_hint=count // part if part else None)
        edges = np.cumsum([0, *(len(found) for _, found in chosen)])
        for target, (rows, _), first, last in zip(numbered, chosen, edges[:-1], edges[1:], strict=True):
            target[rows] = numbers[first:last] + count
        count += len(distinct)
    for (table, column), target in zip(indices, numbered, strict=True):
        table.replace(column, target)
    return count


def _part(hashes: np.ndarray, part: int, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices and values of the hashes whose first `bits` bits are `part`."""
    if not len(hashes):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint64)
    mine = hashes != 0
    if bits:
        mine &= hashes >> np.uint64(64 - bits) == part
    rows = np.flatnonzero(mine)
    return rows, hashes[rows]
