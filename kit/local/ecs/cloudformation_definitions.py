"""Create, update and delete AWS::ECS::Cluster and AWS::ECS::TaskDefinition by the operations of the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ministack.services import ecs
from ministack.services.cloudformation import provisioners

from kit.local.ecs import wire
from kit.local.ecs.cloudformation_calls import StackResourceFailed, call
from kit.local.patching import Patches

CLUSTER = "AWS::ECS::Cluster"
TASK_DEFINITION = "AWS::ECS::TaskDefinition"
Properties = dict[str, Any]
Created = tuple[str, dict[str, str]]


class DefinitionResources:
    """The handlers of clusters and task definitions."""

    def __init__(self, handlers: Mapping[str, wire.Handler]) -> None:
        self._handlers = handlers

    def install(self, patches: Patches) -> None:
        """Replace MiniStack's handlers."""
        for type_name, own in (
            (CLUSTER, {"create": self.create_cluster, "update": self.update_cluster, "delete": self.delete_cluster}),
            (
                TASK_DEFINITION,
                {"create": self.create_definition, "update": self.update_definition, "delete": self.delete_definition},
            ),
        ):
            handlers = {**own, "update_with_logical_id": True}
            patches.replace_entry(provisioners, "_RESOURCE_HANDLERS", type_name, handlers)
            patches.pass_stack_tags(type_name, "list")

    def create_cluster(self, logical_id: str, props: Properties, stack_name: str) -> Created:
        name = props.get("ClusterName") or provisioners._physical_name(stack_name, logical_id)
        if name in ecs._clusters:
            raise StackResourceFailed(f"{CLUSTER}: cluster {name} already exists")
        cluster = self._call("CreateCluster", {**_renamed(props), "ClusterName": name})["cluster"]
        return name, {"Arn": cluster["clusterArn"], "ClusterName": name}

    def update_cluster(
        self, name: str, old: Properties, new: Properties, stack_name: str, logical_id: str | None = None
    ) -> Created:
        changed = _changed(old, new)
        if fixed := sorted(changed - {"ClusterSettings"}):
            raise StackResourceFailed(f"{CLUSTER}: a change of {fixed[0]} is not served here")
        if changed:
            self._call("UpdateCluster", {"Cluster": name, "Settings": new.get("ClusterSettings") or []})
        arn = ecs._clusters[name]["clusterArn"]
        ecs._tags[arn] = _tags(new)
        return name, {"Arn": arn, "ClusterName": name}

    def delete_cluster(self, name: str, props: Properties) -> None:
        if name in ecs._clusters:
            self._call("DeleteCluster", {"Cluster": name})

    def create_definition(self, logical_id: str, props: Properties, stack_name: str) -> Created:
        family = props.get("Family") or f"{stack_name}-{logical_id}"
        definition = self._call("RegisterTaskDefinition", {**props, "Family": family})["taskDefinition"]
        return definition["taskDefinitionArn"], {"TaskDefinitionArn": definition["taskDefinitionArn"]}

    def update_definition(
        self, arn: str, old: Properties, new: Properties, stack_name: str, logical_id: str | None = None
    ) -> Created:
        if _changed(old, new):
            created = self.create_definition(logical_id or arn, new, stack_name)
            provisioners._delete_predecessor(self.delete_definition, arn, old)
            return created
        ecs._tags[arn] = _tags(new)
        return arn, {"TaskDefinitionArn": arn}

    def delete_definition(self, arn: str, props: Properties) -> None:
        definition = wire.find_definition(arn)
        if definition is not None and definition["status"] == "ACTIVE":
            self._call("DeregisterTaskDefinition", {"TaskDefinition": arn})

    def _call(self, action: str, properties: Properties) -> dict[str, Any]:
        return call(self._handlers, action, properties)


def _renamed(props: Properties) -> Properties:
    """Return the properties of a cluster with the API's names."""
    return {{"ClusterSettings": "Settings"}.get(name, name): value for name, value in props.items()}


def _changed(old: Properties, new: Properties) -> set[str]:
    return {name for name in {*old, *new} - {"Tags"} if old.get(name) != new.get(name)}


def _tags(props: Properties) -> list[dict[str, str]]:
    return [{"key": tag["Key"], "value": str(tag["Value"])} for tag in props.get("Tags") or []]
