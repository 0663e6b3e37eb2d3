"""AWS::ECS::Service for MiniStack's CloudFormation, with the waits that AWS's handler has.

Owns the resource's create, update and delete. Must not know how services are scheduled.

MiniStack calls handlers synchronously on the loop, unless a type is said to block: then in a thread of its
own, which is what we ask for. The thread waits; everything it asks is done on the loop.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ministack.services.cloudformation import provisioners, stacks

from kit.errors import KitError
from kit.local.ecs import api, mirror

if TYPE_CHECKING:
    from kit.local.ecs.scheduler import Scheduler

TYPE = "AWS::ECS::Service"
POLL_S = 0.1
CALL_S_MAX = 30.0
# Changes of these need a new service, says the resource reference; MiniStack keeps them as they are.
_UPDATABLE = (
    "TaskDefinition",
    "DesiredCount",
    "NetworkConfiguration",
    "LoadBalancers",
    "HealthCheckGracePeriodSeconds",
    "EnableExecuteCommand",
    "DeploymentConfiguration",
    "PropagateTags",
    "EnableECSManagedTags",
)
_originals: dict[str, Any] = {}


class StackResourceFailed(KitError):
    """The service did not become what the template says; the message is the stack event's reason."""


def install(scheduler: Scheduler, loop: asyncio.AbstractEventLoop) -> None:
    """Put our handlers in the place of MiniStack's."""
    resource = _Resource(scheduler, loop)
    _originals["handlers"] = provisioners._RESOURCE_HANDLERS[TYPE]
    _originals["blocks"] = blocks = stacks._runs_on_worker_thread
    provisioners._RESOURCE_HANDLERS[TYPE] = {
        "create": resource.create,
        "update": resource.update,
        "delete": resource.delete,
    }
    stacks._runs_on_worker_thread = lambda type_name: type_name == TYPE or blocks(type_name)
    _originals["resource"] = resource


def uninstall() -> None:
    """Give MiniStack its handlers back; waiting stacks fail at once."""
    if _originals:
        _originals.pop("resource").closed = True
        provisioners._RESOURCE_HANDLERS[TYPE] = _originals.pop("handlers")
        stacks._runs_on_worker_thread = _originals.pop("blocks")


class _Resource:
    """The resource's handlers. Called on MiniStack's worker threads only."""

    def __init__(self, scheduler: Scheduler, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduler = scheduler
        self._handlers = api.handlers(scheduler)
        self._loop = loop
        self.closed = False

    def create(self, logical_id: str, props: dict[str, Any], stack_name: str) -> tuple[str, dict[str, str]]:
        name = props.get("ServiceName") or provisioners._physical_name(stack_name, logical_id)
        given = {k: v for k, v in props.items() if k not in ("Tags", "ServiceName")}
        request = {**_camel(given), "serviceName": name, "tags": _tags(props)}
        record = self._ask("CreateService", request)["service"]
        try:
            self._await_rollout(record, stack_name)
        except StackResourceFailed:
            # CloudFormation deletes what it could not create; MiniStack does not know of it yet.
            self._remove(record["clusterArn"], record["serviceArn"])
            raise
        return record["serviceArn"], {"ServiceArn": record["serviceArn"], "Name": name}

    def update(
        self, physical_id: str, old_props: dict[str, Any], new_props: dict[str, Any], stack_name: str
    ) -> tuple[str, dict[str, str]]:
        changed = {
            name: new_props[name] for name in _UPDATABLE if new_props.get(name) not in (None, old_props.get(name))
        }
        cluster = new_props.get("Cluster") or old_props.get("Cluster") or "default"
        request = {**_camel(changed), "cluster": cluster, "service": physical_id}
        if _tags(new_props) != _tags(old_props):
            self._on_loop(lambda: self._retag(physical_id, _tags(new_props)))
        record = self._ask("UpdateService", request)["service"]
        self._await_rollout(record, stack_name)
        return physical_id, {"ServiceArn": physical_id, "Name": record["serviceName"]}

    def delete(self, physical_id: str, props: dict[str, Any]) -> None:
        self._remove(props.get("Cluster") or "default", physical_id)

    # -- waits

    def _await_rollout(self, record: dict[str, Any], stack_name: str) -> None:
        """Return when the service is steady; raise when its deployment failed or the stack is being deleted."""
        deployment_id = record["deployments"][0]["id"]
        deadline = time.monotonic() + self._scheduler.timing.stabilize_s_max
        while time.monotonic() < deadline and not self.closed:
            service = self._scheduler.services.get(record["serviceArn"])
            if service is None or service.status != "ACTIVE":
                raise StackResourceFailed(f"service {record['serviceName']} was deleted while it stabilised")
            if deployment_id in service.failed_ids:
                raise StackResourceFailed(
                    "Resource handler returned message: \"Error occurred during operation 'ECS Deployment Circuit "
                    "Breaker was triggered'.\" (RequestToken: , HandlerErrorCode: GeneralServiceException)"
                )
            if service.steady and len(service.deployments) == 1:
                return
            if _deleting(stack_name):
                raise StackResourceFailed("Resource creation cancelled")
            time.sleep(POLL_S)
        raise StackResourceFailed(
            f"service {record['serviceName']} did not stabilize within {self._scheduler.timing.stabilize_s_max:.0f} s"
        )

    def _remove(self, cluster: str, arn: str) -> None:
        """Delete the service and wait until none of its processes is left."""
        service = self._scheduler.services.get(arn)
        if service is None or service.status == "INACTIVE":
            return
        if service.status == "ACTIVE":
            self._ask("DeleteService", {"cluster": cluster, "service": arn, "force": True})
        deadline = time.monotonic() + self._scheduler.timing.stabilize_s_max
        while service.status != "INACTIVE":
            if time.monotonic() > deadline or self.closed:
                raise StackResourceFailed(f"service {service.name} still has tasks; it is {service.status}")
            time.sleep(POLL_S)

    # -- onto the loop

    def _ask(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        status, _, body = self._on_loop(lambda: mirror.answered(self._handlers[action], request))
        if status >= 400:
            raise StackResourceFailed(f"Resource handler returned message: {json.loads(body).get('message')}")
        return json.loads(body)

    def _on_loop(self, call: Callable[[], Any]) -> Any:
        """Run `call` on the loop with this thread's request scope."""
        answer: concurrent.futures.Future[Any] = concurrent.futures.Future()
        context = contextvars.copy_context()

        def run() -> None:
            try:
                answer.set_result(context.run(call))
            except BaseException as error:  # noqa: BLE001 - handed to the waiting thread
                answer.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return answer.result(CALL_S_MAX)

    def _retag(self, arn: str, tags: list[dict[str, str]]) -> None:
        mirror.ecs._tags[arn] = tags
        self._scheduler.retag(arn, mirror.tags_of)


def _deleting(stack_name: str) -> bool:
    from ministack.services.cloudformation import _stacks

    return str((_stacks.get(stack_name) or {}).get("StackStatus", "")).startswith("DELETE")


def _camel(props: dict[str, Any]) -> dict[str, Any]:
    camel: Any = provisioners._pascal_to_camel(props)
    return camel


def _tags(props: dict[str, Any]) -> list[dict[str, str]]:
    return [{"key": tag["Key"], "value": str(tag["Value"])} for tag in props.get("Tags") or []]
