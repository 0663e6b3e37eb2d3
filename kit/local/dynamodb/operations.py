"""Serve CreateTable, UpdateTable and the tag operations: validate throughput and our own tags, and apply changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kit.errors import UsageError
from kit.local.dynamodb import wire
from kit.local.dynamodb.items import Call, Request
from kit.local.dynamodb.lag import LagInvalid
from kit.local.dynamodb.replication import Replication
from kit.local.dynamodb.tables import Tables, read_tags
from kit.local.dynamodb.wire import Answer
from kit.local.unusual_answers import UnusualAnswersInvalid

NO_MAXIMUM = -1


class ThroughputInvalid(UsageError):
    """AWS does not accept the limit."""


class TableOperations:
    """The operations around MiniStack's functions. Each gets MiniStack's function first."""

    def __init__(self, tables: Tables, replication: Replication) -> None:
        self._tables = tables
        self._replication = replication

    def create_table(self, call: Call, request: Request) -> Answer:
        try:
            for each in [request, *(request.get("GlobalSecondaryIndexes") or ())]:
                check_maximum(each.get("OnDemandThroughput"))
            read_tags(request.get("Tags") or ())
        except (ThroughputInvalid, LagInvalid, UnusualAnswersInvalid) as error:
            return _invalid(str(error))
        return call(request)

    def update_table(self, call: Call, request: Request) -> Answer:
        table = self._tables.find(request.get("TableName"))
        if table is None:
            return call(request)
        try:
            _check_update(table.record, request)
        except ThroughputInvalid as error:
            return _invalid(str(error))
        if "OnDemandThroughput" in request:
            # A limit that is not given stays; MiniStack would remove it.
            now = table.record.get("OnDemandThroughput") or {}
            request = {**request, "OnDemandThroughput": {**now, **(request["OnDemandThroughput"] or {})}}
        answer = call(request)
        if answer[0] == 200:
            _set_index_maximums(table.record, request.get("GlobalSecondaryIndexUpdates") or ())
        # A refused update may have changed a part of the table before it was refused.
        table.stale = True
        return answer

    def tag(self, call: Call, request: Request) -> Answer:
        try:
            read_tags(request.get("Tags") or ())
        except (LagInvalid, UnusualAnswersInvalid) as error:
            return _invalid(str(error))
        return self._retagged(call, request)

    def untag(self, call: Call, request: Request) -> Answer:
        return self._retagged(call, request)

    def _retagged(self, call: Call, request: Request) -> Answer:
        answer = call(request)
        table = self._tables.by_arn(str(request.get("ResourceArn")))
        if table is not None:
            table.stale = True
        return answer

    def update_replicas(self, call: Callable[..., Any], name: str, record: Any, updates: Any) -> Any:
        answer = call(name, record, updates)
        for update in updates:
            for action, replica in update.items():
                if action != "Update":
                    self._replication.forget(name, replica.get("RegionName", ""))
        return answer


def _check_update(record: Mapping[str, Any], request: Request) -> None:
    check_maximum(request.get("OnDemandThroughput"))
    for update in request.get("GlobalSecondaryIndexUpdates") or ():
        for each in update.values():
            check_maximum(each.get("OnDemandThroughput"))
    before = (record.get("BillingModeSummary") or {}).get("BillingMode", "PROVISIONED")
    if request.get("BillingMode") != "PROVISIONED" or before == "PROVISIONED":
        return
    if not request.get("ProvisionedThroughput"):
        raise ThroughputInvalid("ProvisionedThroughput must be specified when BillingMode is PROVISIONED")


def check_maximum(maximum: Any) -> None:
    """Raise ThroughputInvalid for a maximum that AWS refuses."""
    for name, value in (maximum or {}).items():
        if value is not None and (int(value) < 1 and int(value) != NO_MAXIMUM):
            raise ThroughputInvalid(f"OnDemandThroughput {name} is {value}: must be at least 1, or -1 for no maximum")


def maximum_of(described: Mapping[str, Any]) -> dict[str, int]:
    """Return both members as DescribeTable does."""
    return {name: int(described.get(name) or NO_MAXIMUM) for name in ("MaxReadRequestUnits", "MaxWriteRequestUnits")}


def _set_index_maximums(record: Mapping[str, Any], updates: Iterable[Mapping[str, Any]]) -> None:
    """Set the maximum throughput of existing indexes, which MiniStack ignores."""
    wanted = {each["Update"]["IndexName"]: each["Update"] for each in updates if "Update" in each}
    for index in record.get("GlobalSecondaryIndexes") or ():
        maximum = wanted.get(index["IndexName"], {}).get("OnDemandThroughput")
        if maximum:
            index["OnDemandThroughput"] = {**index.get("OnDemandThroughput", {}), **maximum}


def _invalid(message: str) -> Answer:
    return wire.error("ValidationException", f"One or more parameter values were invalid: {message}")
