"""Add what MiniStack's CloudFormation leaves out of tables: limits, expiry, recovery, replicas of global tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ministack.core.responses import get_region
from ministack.services import dynamodb
from ministack.services.cloudformation import provisioners

from kit.local.dynamodb.operations import ThroughputInvalid, check_maximum, maximum_of
from kit.local.dynamodb.tables import Tables
from kit.local.patching import Patches

TABLE_TYPE = "AWS::DynamoDB::Table"
GLOBAL_TABLE_TYPE = "AWS::DynamoDB::GlobalTable"

Properties = Mapping[str, Any]
Provision = Callable[..., Any]


class Provisioning:
    """The handlers around MiniStack's handlers of AWS::DynamoDB::Table and AWS::DynamoDB::GlobalTable."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def install(self, patches: Patches) -> None:
        """Wrap MiniStack's handlers."""
        # The function is called by its name, too, by the handlers of global tables.
        patches.wrap(provisioners, "_ddb_create", _create)
        for resource_type, verb, around in (
            (TABLE_TYPE, "create", _create),
            (TABLE_TYPE, "update", self._update),
            (GLOBAL_TABLE_TYPE, "create", _create_global),
            (GLOBAL_TABLE_TYPE, "update", self._update_global),
            (GLOBAL_TABLE_TYPE, "delete", _delete_global),
        ):
            patches.wrap_resource_handler(resource_type, verb, around)

    def _update(self, update: Provision, name: str, old: Properties, new: Properties, *rest: Any, **more: Any) -> Any:
        answer = update(name, old, new, *rest, **more)
        if new.get("OnDemandThroughput") != old.get("OnDemandThroughput"):
            _set_maximum(answer[0], new.get("OnDemandThroughput") or {})
        _set_expiry_and_recovery(answer[0], old, new)
        self._changed(answer[0])
        return answer

    def _update_global(
        self, update: Provision, name: str, old: Properties, new: Properties, *rest: Any, **more: Any
    ) -> Any:
        answer = update(name, old, new, *rest, **more)
        if _global_maximum(new) != _global_maximum(old):
            _set_maximum(answer[0], _global_maximum(new))
        before, after = _regions(old), _regions(new)
        _change_replicas(answer[0], [region for region in before if region not in after], "Delete")
        _change_replicas(answer[0], [region for region in after if region not in before], "Create")
        self._changed(answer[0])
        return answer

    def _changed(self, name: str) -> None:
        """Read the table's tags again: CloudFormation changes them in place."""
        if table := self._tables.find(name):
            table.stale = True


def _create(create: Provision, logical_id: str, properties: Properties, *rest: Any) -> Any:
    for each in [properties, *(properties.get("GlobalSecondaryIndexes") or ())]:
        check_maximum(each.get("OnDemandThroughput"))
    name, attributes = create(logical_id, properties, *rest)
    record = dynamodb._tables[name]
    if record["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST":
        # MiniStack sets 5 and 5.
        record["ProvisionedThroughput"] = {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0}
        if properties.get("OnDemandThroughput"):
            record["OnDemandThroughput"] = maximum_of(properties["OnDemandThroughput"])
    _set_expiry_and_recovery(name, {}, properties)
    return name, attributes


def _create_global(create: Provision, logical_id: str, properties: Properties, *rest: Any) -> Any:
    """Create the replicas, too; MiniStack makes one table."""
    name, attributes = create(logical_id, properties, *rest)
    record = dynamodb._tables[name]
    if maximum := _global_maximum(properties):
        check_maximum(maximum)
        record["OnDemandThroughput"] = maximum_of(maximum)
    if regions := _regions(properties):
        _change_replicas(name, regions, "Create")
        attributes = {**attributes, "StreamArn": record["LatestStreamArn"]}
    return name, attributes


def _delete_global(delete: Provision, name: str, properties: Properties, *rest: Any) -> Any:
    record = dynamodb._tables.get(name) or {}
    _change_replicas(name, [region for region in dynamodb._replica_group(record) if region != get_region()], "Delete")
    return delete(name, properties, *rest)


def _set_expiry_and_recovery(name: str, old: Properties, new: Properties) -> None:
    """Set time to live and point-in-time recovery where they changed; MiniStack ignores both properties."""
    for key, operation in (
        ("TimeToLiveSpecification", dynamodb._update_ttl),
        ("PointInTimeRecoverySpecification", dynamodb._update_continuous_backups),
    ):
        before, after = _typed(old.get(key)), _typed(new.get(key))
        if after != before:
            # A property that was removed switches off what it had switched on.
            request = {
                "TableName": name,
                key: after or {**before, "Enabled": False, "PointInTimeRecoveryEnabled": False},
            }
            status, _, body = operation(request)
            if status >= 400:
                raise ThroughputInvalid(f"{key} of table {name}: {body!r}")


def _typed(specification: Properties | None) -> dict[str, Any]:
    """Return the specification with booleans for the texts of a template."""
    as_boolean = {"true": True, "false": False}
    return {key: as_boolean.get(str(value).lower(), value) for key, value in (specification or {}).items()}


def _set_maximum(name: str, maximum: Mapping[str, Any]) -> None:
    """Set the maximum throughput, and remove a limit that is not given."""
    status, _, body = dynamodb._update_table({"TableName": name, "OnDemandThroughput": maximum_of(maximum)})
    if status >= 400:
        raise ThroughputInvalid(f"OnDemandThroughput of table {name}: {body!r}")


def _global_maximum(properties: Properties) -> dict[str, Any]:
    read = (properties.get("ReadOnDemandThroughputSettings") or {}).get("MaxReadRequestUnits")
    write = (properties.get("WriteOnDemandThroughputSettings") or {}).get("MaxWriteRequestUnits")
    found = {"MaxReadRequestUnits": read, "MaxWriteRequestUnits": write}
    return {name: units for name, units in found.items() if units is not None}


def _regions(properties: Properties) -> list[str]:
    """Return the Regions of the replicas outside the stack's own Region."""
    regions = [str(replica["Region"]) for replica in properties.get("Replicas") or ()]
    return [region for region in regions if region != get_region()]


def _change_replicas(name: str, regions: list[str], action: str) -> None:
    if not regions:
        return
    updates = [{action: {"RegionName": region}} for region in regions]
    refused = dynamodb._apply_replica_updates(name, dynamodb._tables[name], updates)
    if refused:
        raise ThroughputInvalid(f"{action} of replicas {regions} of table {name}: {refused[2]!r}")
