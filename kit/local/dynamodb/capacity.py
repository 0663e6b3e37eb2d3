"""Decide whether a request may run, and charge the units that it consumed to the table's and indexes' buckets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kit.local.dynamodb.tables import Index, Table
from kit.local.dynamodb.token_bucket import Bucket
from kit.local.dynamodb.units import Item, write_units
from kit.local.dynamodb.wire import Throttle

READ, WRITE = "Read", "Write"
# An eventually consistent read costs half a unit.
EVENTUALLY = 0.5
TRANSACTIONAL = 2.0


class Reserved:
    """Units that earlier items of the same batch will consume, so that a batch cannot exceed the bucket."""

    def __init__(self) -> None:
        self._units: dict[int, float] = {}

    def of(self, bucket: Bucket) -> float:
        return self._units.get(id(bucket), 0.0)

    def add(self, bucket: Bucket | None, units: float) -> None:
        if bucket is not None:
            self._units[id(bucket)] = self.of(bucket) + units


class Capacity:
    """The admission and the charges of all tables; `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # Writes of a transaction cost twice. Set while a transaction runs, which is synchronous.
        self.factor = 1.0
        # The number of writes charged so far. A write that does not increase it had no effect.
        self.writes = 0

    # Admission

    def read_throttle(
        self, table: Table, index: str | None = None, reserved: Reserved | None = None
    ) -> Throttle | None:
        """Return the limit that stops a read, or None. Local indexes use the table's capacity."""
        found = table.indexes.get(index) if index else None
        bucket = found.read if found else table.read
        if bucket is None or self._left(bucket, reserved) > 0:
            return None
        return self._throttle(table, found, READ)

    def write_throttle(
        self, table: Table, touches: Callable[[Index], bool], reserved: Reserved | None = None
    ) -> Throttle | None:
        """Return the limit that stops a write, the table's own or that of an index which it changes; or None."""
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
        """Charge a read."""
        found = table.indexes.get(index) if index else None
        (found or table).meter.read[units] += 1
        bucket = found.read if found else table.read
        if bucket is not None:
            bucket.take(units)

    def pay_write(self, table: Table, old: Item | None, new: Item | None) -> None:
        """Charge a write to the table and to every index whose entry it changed."""
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
        """Charge write units to the table alone, for a failed condition or a delete of an item that does not exist."""
        table.meter.write[units] += 1
        if table.write is not None:
            table.write.take(units)

    def reserve_write(self, table: Table, old: Item | None, new: Item | None, reserved: Reserved) -> None:
        """Reserve what `pay_write` will charge for this item of a batch."""
        reserved.add(table.write, table_units(old, new))
        for index in table.indexes.values():
            reserved.add(index.write, index.shape.write_units(old, new))


def table_units(old: Item | None, new: Item | None) -> float:
    """Return the write units of the larger item, the old or the new one."""
    before = write_units(old) if old is not None else 1.0
    return max(before, write_units(new)) if new is not None else before


def touching(old: Item | None, new: Item | None) -> Callable[[Index], bool]:
    """Return a test of whether a put or a delete changes an index: it holds the item before or after."""
    return lambda index: index.shape.write_units(old, new) > 0


def touching_by_update(old: Item | None, update: Mapping[str, Any]) -> Callable[[Index], bool]:
    """Return a test of whether an update changes an index, without evaluating the update.

    It changes the indexes that hold the item, and those whose key the update names.
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
