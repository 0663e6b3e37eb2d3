"""The seam to MiniStack: its ECS handlers are ours, and its stores show our services and tasks.

Owns every private name of MiniStack's ECS that we touch (but for CloudFormation's). Must not know how
anything is scheduled.

MiniStack keeps clusters, task definitions, tags and settings. Its own reads (DescribeClusters' counts, the
tagging API, Step Functions) look into its stores, so our records are put there after every change.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from ministack import app
from ministack.core.responses import error_response_json, json_response, request_scope
from ministack.services import ecs, eventbridge

from kit.local.ecs.definitions import RequestRefused
from kit.local.ecs.ecs_services import Service
from kit.local.ecs.tasks import Task

if TYPE_CHECKING:
    from kit.local.ecs.service import Scheduler

log = logging.getLogger(__name__)

Answer = tuple[int, dict[str, str], bytes]
Handler = Callable[[dict[str, Any]], dict[str, Any]]

# Who may wait how long for the loop: MiniStack's threads (Step Functions, EventBridge targets) call in.
BRIDGE_S_MAX = 30.0
_FUNCTION_OF = {
    "CreateService": "_create_service",
    "UpdateService": "_update_service",
    "DeleteService": "_delete_service",
    "DescribeServices": "_describe_services",
    "ListServices": "_list_services",
    "RunTask": "_run_task",
    "StopTask": "_stop_task",
    "DescribeTasks": "_describe_tasks",
    "ListTasks": "_list_tasks",
    "DeleteCluster": "_delete_cluster",
}
_originals: dict[str, Any] = {}


def install(scheduler: Scheduler, handlers: dict[str, Handler], loop: asyncio.AbstractEventLoop) -> None:
    """Answer `handlers`' actions from the scheduler, over HTTP and for MiniStack's own callers."""
    if _originals:
        raise RuntimeError("MiniStack's ECS is taken over already: one local cloud a process")
    loop_thread = threading.get_ident()
    services: dict[str, Any] = app.SERVICE_HANDLERS
    original = services["ecs"]
    _originals["handler"] = original

    async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Answer:
        action = (headers.get("x-amz-target") or headers.get("X-Amz-Target") or "").rpartition(".")[2]
        if action not in handlers:
            answer = await original(method, path, headers, body, query)
            if action in ("TagResource", "UntagResource"):
                scheduler.retag(json.loads(body or b"{}").get("resourceArn", ""), tags_of)
            return answer
        return answered(handlers[action], json.loads(body or b"{}"))

    services["ecs"] = handle
    for action, name in _FUNCTION_OF.items():
        _originals[name] = getattr(ecs, name)
        if action in handlers:
            bridge = _bridge(handlers[action], loop, loop_thread)
            setattr(ecs, name, bridge)
            cast(Any, ecs._ACTION_MAP)[action] = bridge


def uninstall() -> None:
    """Give MiniStack its own functions back."""
    if not _originals:
        return
    app.SERVICE_HANDLERS["ecs"] = _originals.pop("handler")
    for action, name in _FUNCTION_OF.items():
        setattr(ecs, name, _originals[name])
        ecs._ACTION_MAP[action] = _originals.pop(name)


def _bridge(handler: Handler, loop: asyncio.AbstractEventLoop, loop_thread: int) -> Callable[[Any], Answer]:
    def call(data: dict[str, Any]) -> Answer:
        if threading.get_ident() == loop_thread:
            return answered(handler, data)

        async def on_loop() -> Answer:
            return answered(handler, data)

        return asyncio.run_coroutine_threadsafe(on_loop(), loop).result(BRIDGE_S_MAX)

    return call


def answered(handler: Handler, data: dict[str, Any]) -> Answer:
    """The handler's answer on the wire; a refusal becomes AWS's error."""
    try:
        return json_response(handler(data))
    except RequestRefused as error:
        return error_response_json(error.code, str(error), 400)
    except ValueError as error:
        # A number or an enumeration that does not parse.
        return error_response_json("InvalidParameterException", f"Invalid value: {error}", 400)


# -- stores


def put_task(task: Task, record: dict[str, Any]) -> None:
    """Show the task in MiniStack's store and tell EventBridge of a change of state."""
    previous = ecs._tasks.get_scoped(task.account, task.region, task.arn)
    ecs._tasks.set_scoped(task.account, task.region, task.arn, record)
    if previous is None:
        _set_tags(task.account, task.region, task.arn, record["tags"])
    if previous is None or _state(previous) != _state(record):
        _emit(task, record)


def put_service(service: Service, record: dict[str, Any]) -> None:
    """Show the service in MiniStack's store."""
    key = f"{service.cluster}/{service.name}"
    if ecs._services.get_scoped(service.account, service.region, key) is None:
        _set_tags(service.account, service.region, service.arn, record["tags"])
    ecs._services.set_scoped(service.account, service.region, key, record)


def drop_task(task: Task) -> None:
    """Forget the task."""
    ecs._tasks.pop_scoped(task.account, task.region, task.arn, None)
    with request_scope(task.account, task.region):
        ecs._tags.pop(task.arn, None)


def drop_service(service: Service) -> None:
    """Forget the service."""
    ecs._services.pop_scoped(service.account, service.region, f"{service.cluster}/{service.name}", None)
    with request_scope(service.account, service.region):
        ecs._tags.pop(service.arn, None)


def tags_of(arn: str) -> dict[str, str]:
    """The tags that MiniStack holds for the ARN, in the request's scope."""
    return {tag["key"]: tag.get("value", "") for tag in ecs._tags.get(arn, [])}


def _set_tags(account: str, region: str, arn: str, tags: list[dict[str, str]]) -> None:
    with request_scope(account, region):
        ecs._tags[arn] = list(tags)


def _state(record: dict[str, Any]) -> tuple[str, str]:
    return record["lastStatus"], record["desiredStatus"]


def _emit(task: Task, record: dict[str, Any]) -> None:
    """An "ECS Task State Change" event; `detail` is the DescribeTasks record, as on AWS."""
    entry = {
        "Source": "aws.ecs",
        "DetailType": "ECS Task State Change",
        "Resources": [task.arn],
        "Detail": json.dumps(record),
    }
    try:
        with request_scope(task.account, task.region):
            eventbridge._ensure_default_bus()
            eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
    except Exception:
        # Boundary: a user's rule or target that fails must not disturb the task it reports on.
        log.exception("ecs.event.failed", extra={"task": task.id})
