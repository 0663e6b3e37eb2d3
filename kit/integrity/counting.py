"""Sums, counts and first places by number: the few group operations that checks are made of.

Owns arithmetic on dense numbers; must not know what they number. Sums are whole numbers throughout.
"""

from __future__ import annotations

import numpy as np


def totals(numbers: np.ndarray, amounts: np.ndarray, size: int) -> np.ndarray:
    """Σ amounts by number 0 … size − 1; rows without a number (−1) are left out."""
    sums = np.zeros(size, dtype=np.int64)
    some = numbers >= 0
    np.add.at(sums, numbers[some], amounts[some].astype(np.int64))
    return sums


def counts(numbers: np.ndarray, size: int) -> np.ndarray:
    """How often each number stands there; −1 is none."""
    return np.bincount(numbers[numbers >= 0], minlength=size)


def present(numbers: np.ndarray, size: int) -> np.ndarray:
    """Which numbers stand there at all."""
    there = np.zeros(size, dtype=bool)
    there[numbers[numbers >= 0]] = True
    return there


def firsts(numbers: np.ndarray, size: int) -> np.ndarray:
    """The place of each number's first row, −1 for none."""
    places = np.full(size, -1, dtype=np.int64)
    some = np.flatnonzero(numbers >= 0)[::-1]
    places[numbers[some]] = some
    return places


def lasts(numbers: np.ndarray, size: int) -> np.ndarray:
    """The place of each number's last row, −1 for none."""
    places = np.full(size, -1, dtype=np.int64)
    some = np.flatnonzero(numbers >= 0)
    places[numbers[some]] = some
    return places


def spread(numbers: np.ndarray, values: np.ndarray, size: int, default: int = 0) -> np.ndarray:
    """The value of each number's first row, `default` where it has none."""
    out = np.full(size, default, dtype=values.dtype)
    some = np.flatnonzero(numbers >= 0)[::-1]
    out[numbers[some]] = values[some]
    return out


def paired(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Two numbers a row as one that compares like the pair."""
    return (first.astype(np.int64) << 32) | (second.astype(np.int64) & 0xFFFFFFFF)


def unpaired(pair: int | np.ndarray) -> tuple[int, int]:
    """The two numbers of a pair."""
    return int(pair) >> 32, int(np.int64(int(pair) & 0xFFFFFFFF).astype(np.int32))
