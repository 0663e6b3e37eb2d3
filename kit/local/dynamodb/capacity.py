"""Admission and payment: may this request run, and what did it cost.

Owns the rules of which buckets a read or a write draws from. Must not know MiniStack's functions or replies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kit.local.dynamodb.tables import Index, Table
from kit.local.dynamodb.token_bucket import Bucket
from kit.local.dynamodb.units import Item, write_units
from kit.local.dynamodb.wire import Throttle

READ, WRITE = "Read", "Write"
# Half a unit buys a read that may be stale.
EVENTUALLY = 0.5
TRANSACTIONAL = 2.0


class Reserved:
    """Units that earlier parts of the same batch will draw, so that a batch ends where the bucket does."""

    def __init__(self) -> None:
        self._units: dict[int, float] = {}

    def of(self, bucket: Bucket) -> float:
        return self._units.get(id(bucket), 0.0)

    def add(self, bucket: Bucket | None, units: float) -> None:
        if bucket is not None:
            self._units[id(bucket)] = self.of(bucket) + units


class Capacity:
    """All tables' buckets and counters; `clock` in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # Transactions cost twice; set while one runs, which is synchronous.
        self.factor = 1.0
        # Writes paid for so far: a write after which this stands still had no effect.
        self.writes = 0

    # Admission

    def read_throttle(
        self, table: Table, index: str | None = None, reserved: Reserved | None = None
    ) -> Throttle | None:
        """The limit that a read meets; None lets it run. Local indexes draw from the table."""
        found = table.indexes.get(index) if index else None
        bucket = found.read if found else table.read
        if bucket is None or self._left(bucket, reserved) > 0:
            return None
        return self._throttle(table, found, READ)

    def write_throttle(
        self, table: Table, touches: Callable[[Index], bool], reserved: Reserved | None = None
    ) -> Throttle | None:
        """The limit that a write meets, the table's own or that of an index which it touches."""
        if table.write is not None and self._left(table.write, reserved) <= 0:
            return self._throttle(table, None, WRITE)
        for index in table.indexes.values():
            if index.write is not None and self._left(index.write, reserved) <= 0 and touches(index):
                return self._throttle(table, index, WRITE)
        return None

    def _left(self, bucket: Bucket, reserved: Reserved | None) -> float:
        return bucket.left(self._clock()) - (reserved.of(bucket) if reserved else 0.0)

    def _throttle(self, table: Table, index: Index | None, verb: str) -> Throttle:
        name = index.shape.name if index else None
        found = Throttle(table_arn=table.arn, index=name, verb=verb, is_provisioned=table.is_provisioned)
        (index or table).meter.throttle(verb, found.limit)
        return found

    # Payment

    def pay_read(self, table: Table, units: float, index: str | None = None) -> None:
        """A read that ran."""
        found = table.indexes.get(index) if index else None
        (found or table).meter.read[units] += 1
        bucket = found.read if found else table.read
        if bucket is not None:
            bucket.take(units)

    def pay_write(self, table: Table, old: Item | None, new: Item | None) -> None:
        """A write that ran, on the table and on every index whose entry it changed."""
        self.writes += 1
        whole = (0.0 if old is None else write_units(old), 0.0 if new is None else write_units(new))
        units = self.factor * (max(whole) or 1.0)
        for shape in table.local_indexes:
            units += shape.write_units(old, new, whole)
        self.pay_units(table, units)
        for index in table.indexes.values():
            if units := index.shape.write_units(old, new, whole):
                index.meter.write[units] += 1
                if index.write is not None:
                    index.write.take(units)

    def pay_units(self, table: Table, units: float) -> None:
        """Write units of the table alone: a condition that failed, a delete that found nothing."""
        table.meter.write[units] += 1
        if table.write is not None:
            table.write.take(units)

    def reserve_write(self, table: Table, old: Item | None, new: Item | None, reserved: Reserved) -> None:
        """What `pay_write` will take for this part of a batch."""
        reserved.add(table.write, table_units(old, new))
        for index in table.indexes.values():
            reserved.add(index.write, index.shape.write_units(old, new))


def table_units(old: Item | None, new: Item | None) -> float:
    """The larger of the item before and after."""
    before = write_units(old) if old is not None else 1.0
    return max(before, write_units(new)) if new is not None else before


def touching(old: Item | None, new: Item | None) -> Callable[[Index], bool]:
    """Which indexes a put or a delete touches: those that hold the item before or after."""
    return lambda index: index.shape.write_units(old, new) > 0


def touching_by_update(old: Item | None, update: Mapping[str, Any]) -> Callable[[Index], bool]:
    """Which indexes an update touches, told without evaluating it.

    Those that hold the item, and those whose key the update speaks of.
    """
    words = [str(update.get("UpdateExpression") or ""), *_names(update)]

    def touches(index: Index) -> bool:
        return index.shape.entry(old) is not None or any(key in word for key in index.shape.keys for word in words)

    return touches


def _names(update: Mapping[str, Any]) -> Iterable[str]:
    names = update.get("ExpressionAttributeNames")
    legacy = update.get("AttributeUpdates")
    yield from (str(name) for name in (names.values() if isinstance(names, dict) else ()))
    yield from (str(name) for name in (legacy if isinstance(legacy, dict) else ()))
