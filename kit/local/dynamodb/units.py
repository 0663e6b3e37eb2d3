"""Compute the capacity units that a read or write of an item consumes, or of its entry in an index."""

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
    """Return the write capacity units of one write."""
    size_bytes = item_bytes(item)
    return 1.0 if size_bytes <= WRITE_UNIT_BYTES else float(math.ceil(size_bytes / WRITE_UNIT_BYTES))


def item_read_units(item: Item | None) -> float:
    """Return the read capacity units of one strongly consistent read, 1 for an item that does not exist."""
    return 1.0 if item is None else read_units(item_bytes(item))


def read_units(size_bytes: int) -> float:
    """Return the read capacity units of one strongly consistent read of `size_bytes`."""
    return 1.0 if size_bytes <= READ_UNIT_BYTES else float(math.ceil(size_bytes / READ_UNIT_BYTES))


def item_bytes(item: Item) -> int:
    """Return the size of an item.

    It runs for every item, and is three times as fast as MiniStack's `_item_size_bytes`.
    """
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
    """Return the size of a number: one byte, and one more for every two digits.

    Leading and trailing zeros do not count. The digits are paired from the decimal point on.
    """
    if not number.isdecimal() or not number.isascii():
        return _number_size_bytes(number)
    unpadded = number.lstrip("0")
    digits = unpadded.rstrip("0")
    # With an odd number of trailing zeros, one of them shares a byte with the last digit.
    return 1 + (len(digits) + (len(unpadded) - len(digits)) % 2 + 1) // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexShape:
    """The keys and the projected attributes of an index. `projected` is None if all attributes are."""

    name: str
    keys: tuple[str, ...]
    projected: frozenset[str] | None

    @classmethod
    def of(cls, index: Mapping[str, Any], table_keys: tuple[str, ...]) -> IndexShape:
        """Read an index from its table's description."""
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
        """Return the write capacity units that a write of the item consumes in this index.

        An unchanged entry consumes nothing. An entry that moves to another key is deleted and written, which consumes
        units for both. `whole` are the units of the whole item before and after, if the caller has computed them.
        """
        before, after = self.entry(old), self.entry(new)
        if before is None and after is None:
            return 0.0
        # The entry of an index that projects all attributes is the whole item.
        known = whole if self.projected is None and whole else (None, None)
        units_before = 0.0 if before is None else known[0] or write_units(before)
        units_after = 0.0 if after is None else known[1] or write_units(after)
        if before is None or after is None:
            return units_before + units_after
        for key in self.keys:
            if before[key] != after[key]:
                return units_before + units_after
        return 0.0 if before == after else max(units_before, units_after)
