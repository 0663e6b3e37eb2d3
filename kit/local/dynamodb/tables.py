"""Read MiniStack's table records: the limits as token buckets, the indexes, and what tags ask for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ministack.core.responses import get_account_id, get_region
from ministack.services import dynamodb

from kit.local.dynamodb.lag import INDEX_TAG, READ_TAG, LagInvalid, RecentChanges, lag_s
from kit.local.dynamodb.metrics import Meter, Metrics
from kit.local.dynamodb.token_bucket import BURST_S, ON_DEMAND_BURST_S, Bucket
from kit.local.dynamodb.units import IndexShape, Item
from kit.local.unusual_answers import Shares, UnusualAnswersInvalid, shares

# MiniStack's sort key of an item in a table without one.
NO_SORT_KEY = "__no_sort__"

# A table's ARN, and MiniStack's keys of an item.
Key = tuple[str, str, str]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableTags:
    """What the tags of a table ask of the local AWS; AWS ignores them."""

    index_lag_s: float = 0.0
    read_lag_s: float = 0.0
    unusual: Shares = field(default_factory=dict)


def read_tags(tags: Sequence[Mapping[str, Any]]) -> TableTags:
    """Read a table's tags. Raises LagInvalid and UnusualAnswersInvalid."""
    return TableTags(index_lag_s=lag_s(tags, INDEX_TAG), read_lag_s=lag_s(tags, READ_TAG), unusual=shares(tags))


class Index:
    """A global secondary index; a bucket is None without a limit."""

    def __init__(self, shape: IndexShape, meter: Meter, read: Bucket | None, write: Bucket | None) -> None:
        self.shape = shape
        self.meter = meter
        self.read = read
        self.write = write


class Table:
    """One table. `record` is MiniStack's; another record of the same name is another table."""

    def __init__(self, record: dict[str, Any], account_id: str, region: str, metrics: Metrics) -> None:
        self.record = record
        self.name: str = record["TableName"]
        self.arn: str = record["TableArn"]
        self.account_id = account_id
        self.region = region
        self.stale = True
        self.read: Bucket | None = None
        self.write: Bucket | None = None
        self.indexes: dict[str, Index] = {}
        self.local_indexes: tuple[IndexShape, ...] = ()
        self.is_provisioned = False
        self.is_limited = False
        self.index_changes: RecentChanges | None = None
        self.read_changes: RecentChanges | None = None
        self.unusual: Shares = {}
        self.meter = metrics.meter((account_id, region, self.name, None))
        self._metrics = metrics
        self._known = False

    def key(self, attributes: Any) -> Key | None:
        """Return MiniStack's key of an item, or None for attributes that MiniStack will refuse."""
        pk = self._key_value(attributes, self.record["pk_name"])
        sk = self._key_value(attributes, self.record["sk_name"]) if self.record["sk_name"] else NO_SORT_KEY
        return None if pk is None or sk is None else (self.arn, pk, sk)

    @staticmethod
    def _key_value(attributes: Any, name: str) -> str | None:
        value = attributes.get(name) if isinstance(attributes, dict) else None
        found = dynamodb._extract_key_val(value) if isinstance(value, dict) else None
        return found if isinstance(found, str) else None

    def item(self, key: Key | None) -> Item | None:
        """Return the present item."""
        return None if key is None else self.record["items"].get(key[1], {}).get(key[2])

    def configure(self, now_s: float) -> None:
        """Read limits, indexes and tags again. A limit that existed before keeps its saved capacity."""
        record = self.record
        billing = record.get("BillingModeSummary") or {}
        self.is_provisioned = billing.get("BillingMode", "PROVISIONED") == "PROVISIONED"
        self.read, self.write = self._buckets(record, self.read, self.write, now_s)
        table_keys = tuple(name for name in (record["pk_name"], record["sk_name"]) if name)
        indexes = {}
        for described in record.get("GlobalSecondaryIndexes") or ():
            shape = IndexShape.of(described, table_keys)
            before = self.indexes.get(shape.name)
            buckets = self._buckets(described, before and before.read, before and before.write, now_s)
            meter = self._metrics.meter((self.account_id, self.region, self.name, shape.name))
            indexes[shape.name] = Index(shape, meter, *buckets)
        self.indexes = indexes
        self.local_indexes = tuple(
            IndexShape.of(each, table_keys) for each in record.get("LocalSecondaryIndexes") or ()
        )
        limits = [self.read, self.write, *(b for each in indexes.values() for b in (each.read, each.write))]
        self.is_limited = any(limit is not None for limit in limits)
        self._configure_by_tags()
        self.stale, self._known = False, True

    def _buckets(
        self, described: Mapping[str, Any], read: Bucket | None, write: Bucket | None, now_s: float
    ) -> tuple[Bucket | None, Bucket | None]:
        rates = _provisioned(described) if self.is_provisioned else _maximum(described)
        return self._bucket(read, rates[0], now_s), self._bucket(write, rates[1], now_s)

    def _bucket(self, before: Bucket | None, units_per_s: float, now_s: float) -> Bucket | None:
        """Return the bucket of a limit; 0 or less means no limit."""
        if units_per_s <= 0:
            return None
        burst_s = BURST_S if self.is_provisioned else ON_DEMAND_BURST_S
        if before is not None:
            before.resize(units_per_s, burst_s, now_s)
            return before
        # A new limit of a table in use has no saved capacity. A new table has all that a table can save: on AWS it is
        # not throttled at once either, because its creation takes a while (docs/adr/0010).
        return Bucket.idle_for(0.0 if self._known else burst_s, units_per_s, burst_s, now_s)

    def _configure_by_tags(self) -> None:
        try:
            tags = read_tags(dynamodb._tags.get_scoped(self.account_id, self.region, self.arn) or ())
        except (LagInvalid, UnusualAnswersInvalid) as error:
            log.warning("tags of the local AWS ignored", extra={"table": self.name, "error": str(error)})
            tags = TableTags()
        self.index_changes = _kept(self.index_changes, tags.index_lag_s)
        self.read_changes = _kept(self.read_changes, tags.read_lag_s)
        self.unusual = tags.unusual


class Tables:
    """The tables that were used, in all accounts and Regions."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._metrics = metrics
        self._clock = clock
        self._by_arn: dict[str, Table] = {}

    def find(self, name: Any) -> Table | None:
        """Find a table of the caller's account and Region by its name or ARN."""
        if not isinstance(name, str):
            return None
        if name.startswith("arn:"):
            name = dynamodb._normalize_table_name(name)
        record = dynamodb._tables.get(name)
        if record is None:
            return None
        table = self._by_arn.get(record["TableArn"])
        if table is None or table.record is not record:
            table = self._by_arn[record["TableArn"]] = Table(record, get_account_id(), get_region(), self._metrics)
        if table.stale:
            table.configure(self._clock())
        return table

    def by_arn(self, arn: str) -> Table | None:
        """Return a table that was used before."""
        return self._by_arn.get(arn)

    def refresh(self) -> None:
        """Read every record again at its next use, and forget deleted tables."""
        records = {record["TableArn"]: record for record in dynamodb._tables.all_values()}
        self._by_arn = {arn: table for arn, table in self._by_arn.items() if records.get(arn) is table.record}
        for table in self._by_arn.values():
            table.stale = True
        self._metrics.forget(dynamodb._tables.contains_scoped)


def _kept(changes: RecentChanges | None, lag_s: float) -> RecentChanges | None:
    """Return the changes that a lag needs: those that are known already if it is the same lag."""
    if lag_s <= 0:
        return None
    return changes if changes is not None and changes.lag_s == lag_s else RecentChanges(lag_s)


def _provisioned(described: Mapping[str, Any]) -> tuple[float, float]:
    """Return provisioned read and write units per second. MiniStack's 0 means that none were given: no limit."""
    throughput = described.get("ProvisionedThroughput") or {}
    return float(throughput.get("ReadCapacityUnits") or 0), float(throughput.get("WriteCapacityUnits") or 0)


def _maximum(described: Mapping[str, Any]) -> tuple[float, float]:
    """Return the maximum units per second of an on-demand table; -1 means no limit."""
    maximum = described.get("OnDemandThroughput") or {}
    return float(maximum.get("MaxReadRequestUnits") or -1), float(maximum.get("MaxWriteRequestUnits") or -1)
