"""Patch MiniStack's ECS handlers, and write our services and tasks to its stores.

MiniStack keeps clusters, task definitions, tags and settings. Its own reads (DescribeClusters' counts, the tagging API,
Step Functions) look into its stores, so our records are written there after every change.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from ministack import app
from ministack.core.responses import request_scope
from ministack.services import cloudwatch, ecs, eventbridge, ssm

from kit.local.ecs import wire
from kit.local.ecs.deployment_alarms import AlarmState
from kit.local.ecs.ecs_services import Service
from kit.local.ecs.tasks import Task
from kit.local.main_loop import on_main_loop
from kit.local.patching import Patches, require

log = logging.getLogger(__name__)


def install(patches: Patches, handlers: Mapping[str, wire.Handler], update_tags: Callable[[str], None]) -> None:
    """Answer the actions of `handlers`, over HTTP and for MiniStack's own callers.

    `update_tags` is called with the ARN of a resource whose tags were changed.
    """
    require(ecs, "_tasks", "_services", "_tags", "_task_defs", "_clusters", "_resolve_td_key", "_resolve_cluster_name")
    require(ecs, "_resolve_td_delete_key", "_next_task_def_revision", "_put_cluster", "_resolve_container_secrets")
    require(ssm, "resolve_parameter_value")
    require(cloudwatch, "_alarms", "_composite_alarms")
    require(eventbridge, "_ensure_default_bus", "_put_events")
    original = app.SERVICE_HANDLERS["ecs"]

    async def handle(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> wire.Answer:
        action = (headers.get("x-amz-target") or headers.get("X-Amz-Target") or "").rpartition(".")[2]
        if action in handlers:
            return wire.answer(handlers[action], json.loads(body or b"{}"))
        answer = await original(method, path, headers, body, query)
        if action in ("TagResource", "UntagResource"):
            update_tags(json.loads(body or b"{}").get("resourceArn", ""))
        return answer

    patches.replace_entry(app, "SERVICE_HANDLERS", "ecs", handle)
    for action, handler in handlers.items():
        # Step Functions and EventBridge targets call these functions from worker threads.
        call = on_main_loop(functools.partial(wire.answer, handler))
        # MiniStack's functions have the names of ours, with an underscore.
        patches.replace(ecs, f"_{handler.__name__}", call)
        patches.replace_entry(ecs, "_ACTION_MAP", action, call)


def put_task(task: Task, record: dict[str, Any]) -> None:
    """Write the task to MiniStack's store, and send an event if its state changed."""
    previous = ecs._tasks.get_scoped(task.account, task.region, task.arn)
    ecs._tasks.set_scoped(task.account, task.region, task.arn, record)
    if previous is None:
        _set_tags(task.account, task.region, task.arn, record["tags"])
    if previous is None or _state(previous) != _state(record):
        _emit(task, record)


def put_service(service: Service, record: dict[str, Any]) -> None:
    """Write the service to MiniStack's store."""
    key = f"{service.cluster}/{service.name}"
    if ecs._services.get_scoped(service.account, service.region, key) is None:
        _set_tags(service.account, service.region, service.arn, record["tags"])
    ecs._services.set_scoped(service.account, service.region, key, record)


def drop_task(task: Task) -> None:
    """Remove the task from MiniStack's stores."""
    ecs._tasks.pop_scoped(task.account, task.region, task.arn, None)
    with request_scope(task.account, task.region):
        ecs._tags.pop(task.arn, None)


def drop_service(service: Service) -> None:
    """Remove the service from MiniStack's stores."""
    ecs._services.pop_scoped(service.account, service.region, f"{service.cluster}/{service.name}", None)
    with request_scope(service.account, service.region):
        ecs._tags.pop(service.arn, None)


def tags_of(arn: str) -> dict[str, str]:
    """Return the tags that MiniStack holds for the ARN, in the request's scope."""
    return {tag["key"]: tag.get("value", "") for tag in ecs._tags.get(arn, [])}


def find_alarm(account: str, region: str, name: str) -> AlarmState | None:
    """Return the state of a CloudWatch alarm, or None if there is none of this name."""
    for store in (cloudwatch._alarms, cloudwatch._composite_alarms):
        alarm = store.get_scoped(account, region, name)
        if alarm is not None:
            return AlarmState(state=alarm["StateValue"], span_s=_span_s(alarm))
    return None


def _span_s(alarm: Mapping[str, Any]) -> float:
    """Return the time that an alarm looks back. A composite alarm follows its alarms at once."""
    periods = [alarm.get("Period"), *((m.get("MetricStat") or {}).get("Period") for m in alarm.get("Metrics") or ())]
    return max((float(period) for period in periods if period), default=0.0) * int(alarm.get("EvaluationPeriods") or 1)


def _set_tags(account: str, region: str, arn: str, tags: list[dict[str, str]]) -> None:
    with request_scope(account, region):
        ecs._tags[arn] = list(tags)


def _state(record: dict[str, Any]) -> tuple[str, str]:
    return record["lastStatus"], record["desiredStatus"]


def _emit(task: Task, record: dict[str, Any]) -> None:
    """Send an "ECS Task State Change" event. Its detail is the DescribeTasks record, as on AWS."""
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
        # Boundary: an error in a rule or target of the user must not disturb the task.
        log.exception("ecs.event.failed", extra={"task": task.id})
