"""Sum, count and find rows by dense number: the group operations of the checks.

Sums are integers throughout. Rows without a number have −1; they fall on an extra entry at the end, which is cut off.
Filtering them out first would cost more than the rest.
"""

from __future__ import annotations

import numpy as np


def totals(numbers: np.ndarray, amounts: np.ndarray, size: int) -> np.ndarray:
    """Sum the amounts of each number from 0 to size − 1."""
    sums = np.zeros(size + 1, dtype=np.int64)
    np.add.at(sums, numbers, amounts.astype(np.int64, copy=False))
    return sums[:-1]


def counts(numbers: np.ndarray, size: int) -> np.ndarray:
    """Count how often each number occurs."""
    return np.bincount(numbers.astype(np.int64) + 1, minlength=size + 1)[1:]


def present(numbers: np.ndarray, size: int) -> np.ndarray:
    """Return which numbers occur."""
    there = np.zeros(size + 1, dtype=bool)
    there[numbers] = True
    return there[:-1]


def firsts(numbers: np.ndarray, size: int) -> np.ndarray:
    """Return the index of each number's first row, −1 where it has none."""
    indices = np.full(size + 1, -1, dtype=np.int64)
    indices[numbers[::-1]] = np.arange(len(numbers) - 1, -1, -1)
    return indices[:-1]


def lasts(numbers: np.ndarray, size: int) -> np.ndarray:
    """Return the index of each number's last row, −1 where it has none."""
    indices = np.full(size + 1, -1, dtype=np.int64)
    indices[numbers] = np.arange(len(numbers))
    return indices[:-1]


def spread(numbers: np.ndarray, values: np.ndarray, size: int, default: int = 0) -> np.ndarray:
    """Return the value of each number's first row, `default` where it has none."""
    out = np.full(size + 1, default, dtype=values.dtype)
    out[numbers[::-1]] = values[::-1]
    return out[:-1]


def paired(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pack two numbers of each row into one 64-bit number."""
    return (first.astype(np.int64) << 32) | (second.astype(np.int64) & 0xFFFFFFFF)


def unpaired(pair: int | np.ndarray) -> tuple[int, int]:
    """Return the two numbers that `paired` packed."""
    return int(pair) >> 32, int(np.int64(int(pair) & 0xFFFFFFFF).astype(np.int32))
