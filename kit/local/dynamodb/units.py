"""Read and write units: what an item, or an index entry of it, costs.

Pure arithmetic on items in DynamoDB's JSON. Must not know tables of MiniStack, limits or metrics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ministack.services.dynamodb import _attribute_value_size, _item_size_bytes

WRITE_UNIT_BYTES = 1024
READ_UNIT_BYTES = 4096
# A number is stored in at most this many bytes.
NUMBER_BYTES_MAX = 21

Item = Mapping[str, Any]


def write_units(item: Item) -> float:
    """Units to write this item once."""
    if size_bound(item) <= WRITE_UNIT_BYTES:
        return 1.0
    return float(max(1, math.ceil(_item_size_bytes(item) / WRITE_UNIT_BYTES)))


def item_read_units(item: Item | None) -> float:
    """Units of one strongly consistent read; an item that is not there costs one, too."""
    if item is None or size_bound(item) <= READ_UNIT_BYTES:
        return 1.0
    return read_units(_item_size_bytes(item))


def read_units(size_bytes: int) -> float:
    """Units of one strongly consistent read of so many bytes."""
    return float(max(1, math.ceil(size_bytes / READ_UNIT_BYTES)))


def size_bound(item: Item) -> int:
    """At least the item's size, and nearly it: the exact size of numbers costs more than all the rest.

    Most items stay below one unit, and this runs for every write of an unlimited table.
    """
    total = 0
    for name, value in item.items():
        total += len(name) if name.isascii() else len(name.encode())
        text = value.get("S")
        if text is not None:
            total += len(text) if text.isascii() else len(text.encode())
        elif "N" in value:
            total += NUMBER_BYTES_MAX
        else:
            total += _attribute_value_size(value)
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexShape:
    """Which items an index holds and what of them; `projected` None means everything."""

    name: str
    keys: tuple[str, ...]
    projected: frozenset[str] | None

    @classmethod
    def of(cls, index: Mapping[str, Any], table_keys: tuple[str, ...]) -> IndexShape:
        """From an index of a table's description."""
        keys = tuple(key["AttributeName"] for key in index.get("KeySchema") or ())
        projection = index.get("Projection") or {}
        kind = projection.get("ProjectionType", "ALL")
        own = projection.get("NonKeyAttributes") or () if kind == "INCLUDE" else ()
        projected = None if kind == "ALL" else frozenset((*keys, *table_keys, *own))
        return cls(name=index["IndexName"], keys=keys, projected=projected)

    def entry(self, item: Item | None) -> Item | None:
        """The item as the index holds it; None for an item that lacks one of the index's keys."""
        if item is None or any(key not in item for key in self.keys):
            return None
        if self.projected is None:
            return item
        return {name: value for name, value in item.items() if name in self.projected}

    def write_units(self, old: Item | None, new: Item | None) -> float:
        """Units that a write of the item costs this index.

        Nothing where its entry stays as it is, twice where the entry moves to another key.
        """
        before, after = self.entry(old), self.entry(new)
        if before is None or after is None:
            entry = before or after
            return 0.0 if entry is None else write_units(entry)
        if any(before[key] != after[key] for key in self.keys):
            return write_units(before) + write_units(after)
        return 0.0 if before == after else max(write_units(before), write_units(after))
