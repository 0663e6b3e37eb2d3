"""Hold the rules and schedules of stacks, and all schedule expressions, to the rules of the API.

MiniStack's provisioners write rules and schedules past the API's checks, and ignore the Scheduler's refusals: the stack
is complete, and nothing is ever sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ministack.services import eventbridge, scheduler
from ministack.services.cloudformation import provisioners

from kit.local.eventbridge import schedule_targets
from kit.local.eventbridge.schedule_targets import TargetInvalid
from kit.local.patching import Patches, require

RULE, SCHEDULE = "AWS::Events::Rule", "AWS::Scheduler::Schedule"

Properties = dict[str, Any]
Answer = tuple[int, dict[str, str], bytes]


def install(patches: Patches) -> None:
    """Patch schedules of the API, and rules and schedules of stacks."""
    require(eventbridge, "_validate_schedule_expression", "_event_pattern_error")
    require(scheduler, "_at_time_epoch", "_error")
    require(provisioners, "_physical_name")
    for name in ("_create_schedule", "_update_schedule"):
        patches.wrap(scheduler, name, _with_expression)
    for verb in ("create", "update"):
        patches.wrap_resource_handler(RULE, verb, _rule)
    patches.wrap_resource_handler(SCHEDULE, "create", _create_schedule)
    patches.wrap_resource_handler(SCHEDULE, "update", _update_schedule)


def is_schedule(expression: str) -> bool:
    """Return whether a schedule's expression is one that MiniStack's Scheduler fires."""
    return scheduler._at_time_epoch(expression) is not None or eventbridge._validate_schedule_expression(expression)


def _with_expression(change: Callable[..., Answer], name: str, body: Properties) -> Answer:
    try:
        schedule_targets.check(body.get("Target") or {})
    except TargetInvalid as error:
        return scheduler._error(400, "ValidationException", str(error))
    expression = body.get("ScheduleExpression")
    if expression and not is_schedule(expression):
        return scheduler._error(400, "ValidationException", f"Invalid Schedule Expression {expression}.")
    return change(name, body)


def _rule(provision: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Create or update a rule. Raises ValueError for what PutRule refuses, which fails the stack."""
    # create(logical_id, props, stack_name); update(physical_id, old_props, new_props, stack_name)
    props = arguments[1] if len(arguments) == 3 else arguments[2]
    expression, pattern = props.get("ScheduleExpression"), props.get("EventPattern")
    if not expression and not pattern:
        raise ValueError(f"{RULE}: Parameter(s) EventPattern or ScheduleExpression must be specified.")
    if expression and not eventbridge._validate_schedule_expression(expression):
        raise ValueError(f"{RULE}: Parameter ScheduleExpression {expression!r} is not valid.")
    text = json.dumps(pattern) if isinstance(pattern, dict) else pattern or ""
    if text and (problem := eventbridge._event_pattern_error(text)):
        raise ValueError(f"{RULE}: Event pattern is not valid. Reason: {problem}")
    return provision(*arguments, **named)


def _create_schedule(provision: Callable[..., Any], logical_id: str, props: Properties, stack_name: str) -> Any:
    """Create a schedule through the API. Raises ValueError for its refusal."""
    del provision
    name = props.get("Name") or provisioners._physical_name(stack_name, logical_id, max_len=64)
    _accepted(scheduler._create_schedule(name, _body(props)))
    return name, {"Arn": scheduler._schedule_arn(props.get("GroupName") or "default", name)}


def _update_schedule(
    provision: Callable[..., Any], physical_id: str, old: Properties, new: Properties, *rest: Any, **named: Any
) -> Any:
    """Update a schedule in place; a change of its name or group is MiniStack's to replace."""
    if any(old.get(key) != new.get(key) for key in ("Name", "GroupName")):
        if not is_schedule(new.get("ScheduleExpression", "")):
            raise ValueError(f"{SCHEDULE}: Invalid Schedule Expression {new.get('ScheduleExpression')}.")
        return provision(physical_id, old, new, *rest, **named)
    _accepted(scheduler._update_schedule(physical_id, _body(new)))
    return physical_id, {"Arn": scheduler._schedule_arn(new.get("GroupName") or "default", physical_id)}


def _body(props: Properties) -> Properties:
    return {key: value for key, value in dict(props).items() if key != "Name" and value is not None}


def _accepted(answer: Answer) -> None:
    status, _, body = answer
    if status >= 400:
        raise ValueError(f"{SCHEDULE}: {json.loads(body).get('Message') or body.decode()}")
