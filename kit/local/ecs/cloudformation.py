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

from ministack.core.responses import get_account_id, get_region
from ministack.services.cloudformation import _stacks, handlers, provisioners, stacks

from kit.errors import KitError
from kit.local.ecs import ministack, operations

if TYPE_CHECKING:
    from kit.local.ecs.service import Scheduler

TYPE = "AWS::ECS::Service"
POLL_S = 0.1
CALL_S_MAX = 30.0
# DeleteStack waits this long for the creation that it interrupts to roll back.
CANCEL_S_MAX = 120.0
# Changes of other properties need a new service, says the resource reference; MiniStack keeps them as they are.
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

StackKey = tuple[str, str, str]


class StackResourceFailed(KitError):
    """The service did not become what the template says; the message is the stack event's reason."""


def install(scheduler: Scheduler, loop: asyncio.AbstractEventLoop) -> None:
    """Put our handlers in the place of MiniStack's."""
    resource = _Resource(scheduler, loop)
    _originals["resource"] = resource
    _originals["handlers"] = provisioners._RESOURCE_HANDLERS[TYPE]
    _originals["blocks"] = blocks = stacks._runs_on_worker_thread
    _originals["delete_stack"] = delete_stack = handlers._delete_stack_async

    async def delete_when_uncreated(stack_name: str, *args: Any, **options: Any) -> None:
        # A deletion that overtakes a creation would leave behind what is created after it.
        await resource.interrupt(_key(stack_name))
        await delete_stack(stack_name, *args, **options)

    provisioners._RESOURCE_HANDLERS[TYPE] = {
        "create": resource.create,
        "update": resource.update,
        "delete": resource.delete,
    }
    stacks._runs_on_worker_thread = lambda type_name: type_name == TYPE or blocks(type_name)
    handlers._delete_stack_async = delete_when_uncreated


def uninstall() -> None:
    """Give MiniStack its handlers back; waiting stacks fail at once."""
    if _originals:
        _originals.pop("resource").closed = True
        provisioners._RESOURCE_HANDLERS[TYPE] = _originals.pop("handlers")
        stacks._runs_on_worker_thread = _originals.pop("blocks")
        handlers._delete_stack_async = _originals.pop("delete_stack")


class _Resource:
    """The resource's handlers. Called on MiniStack's worker threads only, one at a time for a stack."""

    def __init__(self, scheduler: Scheduler, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduler = scheduler
        self._handlers = operations.handlers(scheduler)
        self._loop = loop
        self.closed = False
        self._creating: set[StackKey] = set()
        self._interrupted: set[StackKey] = set()
        # Services of a stack that were created and not waited for yet: logical id → record.
        self._unsettled: dict[StackKey, dict[str, dict[str, Any]]] = {}

    def create(self, logical_id: str, props: dict[str, Any], stack_name: str) -> tuple[str, dict[str, str]]:
        key = _key(stack_name)
        self._creating.add(key)
        try:
            return self._create(key, logical_id, props)
        finally:
            self._creating.discard(key)

    def _create(self, key: StackKey, logical_id: str, props: dict[str, Any]) -> tuple[str, dict[str, str]]:
        name = props.get("ServiceName") or provisioners._physical_name(key[-1], logical_id)
        given = {k: v for k, v in props.items() if k not in ("Tags", "ServiceName")}
        record = self._ask("CreateService", {**_camel(given), "serviceName": name, "tags": _tags(props)})["service"]
        unsettled = self._unsettled.setdefault(key, {})
        unsettled[logical_id] = record
        # CloudFormation creates services side by side, MiniStack one by one: so only the last one waits, for all.
        if not _more_services(key[-1], set(unsettled), logical_id):
            try:
                for created in list(unsettled.values()):
                    self._await_rollout(created, key)
            except StackResourceFailed:
                # CloudFormation deletes what it could not create; MiniStack does not know of this one yet.
                self._remove(record["serviceArn"])
                raise
            finally:
                self._unsettled.pop(key, None)
        return record["serviceArn"], {"ServiceArn": record["serviceArn"], "Name": name}

    def update(
        self, physical_id: str, old_props: dict[str, Any], new_props: dict[str, Any], stack_name: str
    ) -> tuple[str, dict[str, str]]:
        changed = {k: new_props[k] for k in _UPDATABLE if new_props.get(k) not in (None, old_props.get(k))}
        cluster = new_props.get("Cluster") or old_props.get("Cluster") or "default"
        if _tags(new_props) != _tags(old_props):
            self._on_loop(lambda: self._retag(physical_id, _tags(new_props)))
        request = {**_camel(changed), "cluster": cluster, "service": physical_id}
        record = self._ask("UpdateService", request)["service"]
        self._await_rollout(record, _key(stack_name))
        return physical_id, {"ServiceArn": physical_id, "Name": record["serviceName"]}

    def delete(self, physical_id: str, props: dict[str, Any]) -> None:
        for unsettled in self._unsettled.values():
            for logical_id in [k for k, record in unsettled.items() if record["serviceArn"] == physical_id]:
                del unsettled[logical_id]
        self._remove(physical_id)

    async def interrupt(self, key: StackKey) -> None:
        """End a creation that is under way and wait (bounded) for its roll-back."""
        if key not in self._creating:
            return
        self._interrupted.add(key)
        deadline = time.monotonic() + CANCEL_S_MAX
        # MiniStack's status is a plain value that nothing announces.
        while _status(key[-1]) in ("CREATE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS"):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(POLL_S / 2)
        self._interrupted.discard(key)

    # -- waits

    def _await_rollout(self, record: dict[str, Any], key: StackKey) -> None:
        """Return when the service is steady; raise when its deployment failed or the stack is to be deleted."""
        name, deployment_id = record["serviceName"], record["deployments"][0]["id"]
        deadline = time.monotonic() + self._scheduler.timing.stabilize_s_max
        while time.monotonic() < deadline and not self.closed:
            service = self._scheduler.services.get(record["serviceArn"])
            if service is None or service.status != "ACTIVE":
                raise StackResourceFailed(f"service {name} was deleted while it stabilised")
            if deployment_id in service.failed_ids:
                raise StackResourceFailed(
                    "Resource handler returned message: \"Error occurred during operation 'ECS Deployment Circuit "
                    f"Breaker was triggered'.\" (service {name}, HandlerErrorCode: GeneralServiceException)"
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
            self._on_loop(lambda: self._scheduler.retire(service))
        deadline = time.monotonic() + self._scheduler.timing.stabilize_s_max
        while service.status != "INACTIVE":
            if time.monotonic() > deadline or self.closed:
                raise StackResourceFailed(f"service {service.name} still has tasks; it is {service.status}")
            time.sleep(POLL_S)

    # -- onto the loop

    def _ask(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        status, _, body = self._on_loop(lambda: ministack.answered(self._handlers[action], request))
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
        ministack.ecs._tags[arn] = tags
        self._scheduler.retag(arn, ministack.tags_of)


def _key(stack_name: str) -> StackKey:
    return get_account_id(), get_region(), stack_name


def _status(stack_name: str) -> str:
    return str((_stacks.get(stack_name) or {}).get("StackStatus", ""))


def _more_services(stack_name: str, created: set[str], logical_id: str) -> bool:
    """True while the stack that is being created has further services, and nothing waits for this one."""
    stack = _stacks.get(stack_name) or {}
    if stack.get("StackStatus") != "CREATE_IN_PROGRESS":
        return False
    resources = (stack.get("_template") or {}).get("Resources") or {}
    conditions = stack.get("_conditions") or {}
    services = {
        id for id, resource in resources.items()
        if resource.get("Type") == TYPE and conditions.get(resource.get("Condition"), True)
    }  # fmt: skip
    waited_for = any(logical_id in _listed(resource.get("DependsOn")) for resource in resources.values())
    return bool(services - created) and not waited_for


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _camel(props: dict[str, Any]) -> dict[str, Any]:
    camel: Any = provisioners._pascal_to_camel(props)
    return camel


def _tags(props: dict[str, Any]) -> list[dict[str, str]]:
    return [{"key": tag["Key"], "value": str(tag["Value"])} for tag in props.get("Tags") or []]
