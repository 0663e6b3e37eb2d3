"""Create, update and delete AWS::ECS::Service, and wait for the service to be steady or gone, as CloudFormation does.

MiniStack calls handlers on the event loop, except for resource types that are registered for a worker thread. These
handlers are registered, because they wait. Their calls of the scheduler run on the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from ministack.core.responses import get_account_id, get_region
from ministack.services.cloudformation import _stacks, provisioners, stacks
from ministack.services.cloudformation import handlers as stack_handlers

from kit.local.ecs import ministack, wire
from kit.local.ecs.cloudformation_calls import StackResourceFailed, call
from kit.local.ecs.scheduler import Scheduler
from kit.local.main_loop import on_main_loop
from kit.local.patching import Patches, require

TYPE = "AWS::ECS::Service"
POLL_S = 0.1
# How long DeleteStack waits for the rollback of the creation that it interrupts.
CANCEL_S_MAX = 120.0
# AWS's defaults of the properties that UpdateService can change. A change of any other property replaces the service on
# AWS, and is refused here.
_UPDATABLE: Mapping[str, Any] = {
    "TaskDefinition": None,
    "DesiredCount": None,
    "NetworkConfiguration": None,
    "LoadBalancers": [],
    "HealthCheckGracePeriodSeconds": 0,
    "EnableExecuteCommand": False,
    "DeploymentConfiguration": {"MinimumHealthyPercent": 100, "MaximumPercent": 200},
    "PropagateTags": "NONE",
    "EnableECSManagedTags": False,
    "AvailabilityZoneRebalancing": "DISABLED",
    "PlatformVersion": "LATEST",
}
# The desired count of a service whose template names none.
_DESIRED_COUNT = 1

StackKey = tuple[str, str, str]


class ServiceResource:
    """The handlers of AWS::ECS::Service.

    MiniStack calls them only on its worker threads, and only one at a time for each stack.
    """

    def __init__(self, scheduler: Scheduler, handlers: Mapping[str, wire.Handler]) -> None:
        self._scheduler = scheduler
        self._handlers = handlers
        self._closed = False
        self._creating: set[StackKey] = set()
        self._interrupted: set[StackKey] = set()
        # By stack and logical id: services that were created and that no handler has waited for yet.
        self._not_awaited: dict[StackKey, dict[str, dict[str, Any]]] = {}

    def install(self, patches: Patches) -> None:
        """Replace MiniStack's handlers."""
        require(provisioners, "_physical_name", "_pascal_to_camel")
        own = {"create": self.create, "update": self.update, "delete": self.delete}
        patches.replace_entry(provisioners, "_RESOURCE_HANDLERS", TYPE, own)
        patches.wrap(stacks, "_runs_on_worker_thread", lambda original, name: name == TYPE or original(name))
        patches.wrap(stack_handlers, "_delete_stack_async", self._delete_stack)

    def close(self) -> None:
        """Let stacks that wait for a service fail at once."""
        self._closed = True

    async def _delete_stack(
        self, delete_stack: Callable[..., Any], stack_name: str, *args: Any, **options: Any
    ) -> None:
        # The creation must end first. Otherwise it would go on to create resources that nobody deletes.
        await self.interrupt(_key(stack_name))
        await delete_stack(stack_name, *args, **options)

    def create(self, logical_id: str, props: dict[str, Any], stack_name: str) -> tuple[str, dict[str, str]]:
        key = _key(stack_name)
        self._creating.add(key)
        try:
            return self._create(key, logical_id, props)
        finally:
            self._creating.discard(key)

    def _create(self, key: StackKey, logical_id: str, props: dict[str, Any]) -> tuple[str, dict[str, str]]:
        name = props.get("ServiceName") or provisioners._physical_name(key[-1], logical_id)
        request = {"DesiredCount": _DESIRED_COUNT, **props, "ServiceName": name}
        record = self._call("CreateService", request)["service"]
        not_awaited = self._not_awaited.setdefault(key, {})
        not_awaited[logical_id] = record
        # CloudFormation creates services in parallel, MiniStack one by one. To let them start in parallel all the same,
        # only the last one waits, for all of them.
        if not _later_service_waits(key[-1], set(not_awaited), logical_id):
            try:
                for created in list(not_awaited.values()):
                    self._await_rollout(created, key)
            except StackResourceFailed:
                # CloudFormation deletes what it could not create, but MiniStack has no record of this service yet.
                self._remove(record["serviceArn"])
                raise
            finally:
                self._not_awaited.pop(key, None)
        return record["serviceArn"], {"ServiceArn": record["serviceArn"], "Name": name}

    def update(
        self, physical_id: str, old_props: dict[str, Any], new_props: dict[str, Any], stack_name: str
    ) -> tuple[str, dict[str, str]]:
        changed = {k for k in {*old_props, *new_props} - {"Tags"} if old_props.get(k) != new_props.get(k)}
        if fixed := sorted(changed - set(_UPDATABLE)):
            raise StackResourceFailed(
                f"{TYPE}: a change of {fixed[0]} is not served here; AWS would replace the service"
            )
        request = {k: new_props.get(k, _UPDATABLE[k]) for k in changed}
        if removed := sorted(k for k, value in request.items() if value is None):
            raise StackResourceFailed(f"{TYPE}: {removed[0]} cannot be removed")
        cluster = new_props.get("Cluster") or "default"
        if _tags(new_props) != _tags(old_props):
            on_main_loop(self._set_tags)(physical_id, _tags(new_props))
        record = self._call("UpdateService", {**request, "Cluster": cluster, "Service": physical_id})["service"]
        self._await_rollout(record, _key(stack_name))
        return physical_id, {"ServiceArn": physical_id, "Name": record["serviceName"]}

    def delete(self, physical_id: str, props: dict[str, Any]) -> None:
        for services in self._not_awaited.values():
            for logical_id in [k for k, record in services.items() if record["serviceArn"] == physical_id]:
                del services[logical_id]
        self._remove(physical_id)

    async def interrupt(self, key: StackKey) -> None:
        """Cancel a creation in progress and wait at most CANCEL_S_MAX until it is rolled back."""
        if key not in self._creating:
            return
        self._interrupted.add(key)
        deadline = time.monotonic() + CANCEL_S_MAX
        # MiniStack sends no event when the status changes, so it is polled.
        while _status(key[-1]) in ("CREATE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS"):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(POLL_S / 2)
        self._interrupted.discard(key)

    def _await_rollout(self, record: dict[str, Any], key: StackKey) -> None:
        """Wait until the service is steady. Raises StackResourceFailed if it fails or the stack is deleted."""
        name, deployment_id = record["serviceName"], record["deployments"][0]["id"]
        deadline = time.monotonic() + self._scheduler.timing.stabilize_s_max
        while time.monotonic() < deadline and not self._closed:
            service = self._scheduler.services.get(record["serviceArn"])
            if service is None or service.status != "ACTIVE":
                raise StackResourceFailed(f"service {name} was deleted while it stabilised")
            if (reason := service.failed_reasons.get(deployment_id)) is not None:
                operation = "Alarm" if "alarm" in reason else "Circuit Breaker"
                raise StackResourceFailed(
                    f"Resource handler returned message: \"Error occurred during operation 'ECS Deployment {operation} "
                    f"was triggered'.\" (service {name}, HandlerErrorCode: GeneralServiceException)"
                )
            if service.steady and len(service.deployments) == 1:
                return
            if key in self._interrupted:
                raise StackResourceFailed("Resource creation cancelled")
            time.sleep(POLL_S)
        limit_s = self._scheduler.timing.stabilize_s_max
        raise StackResourceFailed(f"service {name} did not stabilize within {limit_s:.0f} s")

    def _remove(self, arn: str) -> None:
        """Delete the service and wait until none of its processes is left."""
        service = self._scheduler.services.get(arn)
        if service is None or service.status == "INACTIVE":
            return
        if service.status == "ACTIVE":
            on_main_loop(self._scheduler.delete_service)(service)
        deadline = time.monotonic() + self._scheduler.timing.stabilize_s_max
        while service.status != "INACTIVE":
            if time.monotonic() > deadline or self._closed:
                raise StackResourceFailed(f"service {service.name} still has tasks; it is {service.status}")
            time.sleep(POLL_S)

    def _call(self, action: str, properties: dict[str, Any]) -> dict[str, Any]:
        return call(self._handlers, action, properties)

    def _set_tags(self, arn: str, tags: list[dict[str, str]]) -> None:
        ministack.ecs._tags[arn] = tags
        self._scheduler.update_tags(arn)


def _key(stack_name: str) -> StackKey:
    return get_account_id(), get_region(), stack_name


def _status(stack_name: str) -> str:
    return str((_stacks.get(stack_name) or {}).get("StackStatus", ""))


def _later_service_waits(stack_name: str, created: set[str], logical_id: str) -> bool:
    """Return whether a later service of the stack will wait for this one too.

    The stack must still have a service to create, and no resource may depend on this one.
    """
    stack = _stacks.get(stack_name) or {}
    if stack.get("StackStatus") != "CREATE_IN_PROGRESS":
        return False
    resources = (stack.get("_template") or {}).get("Resources") or {}
    conditions = stack.get("_conditions") or {}
    services = {
        id for id, resource in resources.items()
        if resource.get("Type") == TYPE and conditions.get(resource.get("Condition"), True)
    }  # fmt: skip
    depended_on = any(logical_id in _as_list(resource.get("DependsOn")) for resource in resources.values())
    return bool(services - created) and not depended_on


def _as_list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _tags(props: dict[str, Any]) -> list[dict[str, str]]:
    return [{"key": tag["Key"], "value": str(tag["Value"])} for tag in props.get("Tags") or []]
