"""Compute the read and write units of an item, or of its entry in an index."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ministack.services.dynamodb import _attribute_value_size, _number_size_bytes

WRITE_UNIT_BYTES = 1024
READ_UNIT_BYTES = 4096

Item = Mapping[str, Any]


def write_units(item: Item) -> float:
    """Return the units of one write."""
    size_bytes = item_bytes(item)
    return 1.0 if size_bytes <= WRITE_UNIT_BYTES else float(math.ceil(size_bytes / WRITE_UNIT_BYTES))


def item_read_units(item: Item | None) -> float:
    """Return the units of one strongly consistent read, 1 for an item that does not exist."""
    return 1.0 if item is None else read_units(item_bytes(item))


def read_units(size_bytes: int) -> float:
    """Return the units of one strongly consistent read of `size_bytes`."""
    return 1.0 if size_bytes <= READ_UNIT_BYTES else float(math.ceil(size_bytes / READ_UNIT_BYTES))


def item_bytes(item: Item) -> int:
    """Return the size of an item. Three times as fast as MiniStack's `_item_size_bytes`; it runs for every item."""
    total = 0
    for name, value in item.items():
        total += len(name) if name.isascii() else len(name.encode())
        text = value.get("S")
        if text is not None:
            total += len(text) if text.isascii() else len(text.encode())
            continue
        number = value.get("N")
        total += _attribute_value_size(value) if number is None else _number_bytes(number)
    return total


def _number_bytes(number: str) -> int:
    """Return the size of a number: two digits a byte from the decimal point, without outer zeros, and one byte more."""
    if not number.isdecimal() or not number.isascii():
        return _number_size_bytes(number)
    whole = number.lstrip("0")
    digits = whole.rstrip("0")
    # With an odd number of trailing zeros, one of them shares a byte with the last digit.
    return 1 + (len(digits) + (len(whole) - len(digits)) % 2 + 1) // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexShape:
    """The keys and projected attributes of an index; None projects all attributes."""

    name: str
    keys: tuple[str, ...]
    projected: frozenset[str] | None

    @classmethod
    def of(cls, index: Mapping[str, Any], table_keys: tuple[str, ...]) -> IndexShape:
        """Read an index of a table's description."""
        keys = tuple(key["AttributeName"] for key in index.get("KeySchema") or ())
        projection = index.get("Projection") or {}
        kind = projection.get("ProjectionType", "ALL")
        own = projection.get("NonKeyAttributes") or () if kind == "INCLUDE" else ()
        projected = None if kind == "ALL" else frozenset((*keys, *table_keys, *own))
        return cls(name=index["IndexName"], keys=keys, projected=projected)

    def entry(self, item: Item | None) -> Item | None:
        """Return the item's entry in the index, or None if the item lacks one of the index's keys."""
        if item is None:
            return None
        for key in self.keys:
            if key not in item:
                return None
        if self.projected is None:
            return item
        return {name: value for name, value in item.items() if name in self.projected}

    def write_units(self, old: Item | None, new: Item | None, whole: tuple[float, float] | None = None) -> float:
        """Return the units that a write of the item costs this index.

        An unchanged entry costs nothing, and an entry that moves to another key costs both writes. `whole` are the
        units of the whole item before and after, if the caller has them.
        """
        before, after = self.entry(old), self.entry(new)
        if before is None and after is None:
            return 0.0
        known = whole if self.projected is None and whole else (None, None)
        was = 0.0 if before is None else known[0] or write_units(before)
        becomes = 0.0 if after is None else known[1] or write_units(after)
        if before is None or after is None:
            return was + becomes
        for key in self.keys:
            if before[key] != after[key]:
                return was + becomes
        return 0.0 if before == after else max(was, becomes)
