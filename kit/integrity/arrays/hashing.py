"""Hash texts and whole rows to 64-bit numbers that compare fast.

Every word is mixed completely before it is joined, so that ids that count up do not collide by structure. Among n
different ids two share a number with a probability below n² / 2⁶⁵: about 3·10⁻⁶ for ten million.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

WORD = 8
_ODD_1, _ODD_2, _ODD_3 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB), np.uint64(0x9E3779B97F4A7C15)
_32, _29, _31 = np.uint64(32), np.uint64(29), np.uint64(31)
# Masks for the last word of a text, by the number of bytes that are left.
_MASKS = np.array([(1 << (WORD * left)) - 1 for left in range(WORD)] + [2**64 - 1], dtype=np.uint64)


def texts(values: Any) -> np.ndarray:
    """Hash each text of an Arrow string array. Only the empty text has the hash 0."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.DictionaryArray):
        return texts(values.dictionary)[values.indices.to_numpy(zero_copy_only=False)]
    starts, lengths, words = _layout(values)
    shortest, longest = int(lengths.min(initial=0 if not len(lengths) else 2**31)), int(lengths.max(initial=0))
    mixed = lengths.astype(np.uint64) * _ODD_3
    for at in range(0, longest, WORD):
        if shortest >= at + WORD:  # a whole word of every text
            mixed = joined(mixed, words[starts + at])
        elif shortest > at:
            mixed = joined(mixed, words[starts + at] & _MASKS[np.minimum(lengths - at, WORD)])
        else:
            some = np.flatnonzero(lengths > at)
            word = words[starts[some] + at] & _MASKS[np.minimum(lengths[some] - at, WORD)]
            mixed[some] = joined(mixed[some], word)
    return mixed


def _layout(values: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where each text starts, how long it is, and the eight bytes from any offset on."""
    wide = pa.types.is_large_string(values.type)
    _, offsets, data = values.buffers()
    if offsets is None or not len(values):
        nothing = np.zeros(0, dtype=np.int64)
        return nothing, nothing, np.zeros(1, dtype=np.uint64)
    edges = np.frombuffer(offsets, dtype=np.int64 if wide else np.int32)
    edges = edges[values.offset : values.offset + len(values) + 1].astype(np.int64)
    first, last = int(edges[0]), int(edges[-1])
    # Padded, so that a whole word can be read at the last byte.
    padded = np.zeros(last - first + WORD, dtype=np.uint8)
    if last > first:
        padded[: last - first] = np.frombuffer(data, dtype=np.uint8)[first:last]
    words = np.ndarray((last - first + 1,), dtype="<u8", buffer=padded, strides=(1,))  # type: ignore[call-overload]
    return edges[:-1] - first, np.diff(edges), words


def one(text: str) -> int:
    """Return the hash of one text."""
    return int(texts(pa.array([text], pa.string()))[0])


def joined(mixed: np.ndarray, word: np.ndarray) -> np.ndarray:
    """Join one more word to `mixed`. The order of words matters."""
    word = _scattered(word)
    word ^= mixed
    word *= _ODD_3
    word ^= word >> _31
    return word


def rows(*columns: np.ndarray) -> np.ndarray:
    """Hash each row of `columns`, which are integers or hashes of texts. The order of columns matters.

    Each column has its own odd factor, so that rows that differ in a single column always get different hashes.
    """
    mixed = np.full(len(columns[0]), _ODD_3, dtype=np.uint64)
    for column, factor in zip(columns, _factors(len(columns)), strict=True):
        mixed += (column.view(np.uint64) if column.dtype == np.int64 else column.astype(np.uint64)) * factor
    return _scattered(mixed)


def _scattered(word: np.ndarray) -> np.ndarray:
    """Mix every bit of `word` into every bit of the result. The function is a bijection."""
    word = word * _ODD_1
    word ^= word >> _32
    word *= _ODD_2
    word ^= word >> _29
    return word


def _factors(count: int) -> np.ndarray:
    return _scattered(np.arange(1, count + 1, dtype=np.uint64) * _ODD_3) | np.uint64(1)
