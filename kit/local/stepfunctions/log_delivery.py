"""Write the events of executions to CloudWatch Logs, as the state machine's logging configuration asks."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ministack.services import cloudwatch_logs

from kit.local.stepfunctions.errors import ApiError
from kit.local.stepfunctions.executions import Execution
from kit.local.stepfunctions.machines import LOGGING_OFF
from kit.local.stepfunctions.states.history import Event

_GROUP = re.compile(r"arn:[a-z-]+:logs:[\w-]+:\d{12}:log-group:([^:*]+)(:\*)?")
_FATAL = frozenset({"ExecutionFailed", "ExecutionTimedOut", "ExecutionAborted"})
_ERROR = re.compile(r".*(Failed|TimedOut|Aborted)")
_DATA = ("input", "output", "parameters", "inputDetails", "outputDetails", "assignedVariables")

log = logging.getLogger(__name__)


def check_logging(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a logging configuration with its defaults. Raises ApiError."""
    level = given.get("level", "OFF")
    destinations = given.get("destinations") or []
    if level == "OFF" and not destinations:
        return {**LOGGING_OFF, **given}
    groups = [_group(each) for each in destinations]
    if level != "OFF" and (len(groups) != 1 or groups[0] is None):
        raise ApiError(
            "InvalidLoggingConfiguration", "Invalid Logging Configuration: Must specify exactly one Log Destination."
        )
    return {"includeExecutionData": False, **given, "level": level}


def _group(destination: Mapping[str, Any]) -> str | None:
    arn = (destination.get("cloudWatchLogsLogGroup") or {}).get("logGroupArn", "")
    match = _GROUP.fullmatch(arn)
    return match[1] if match else None


def deliver(execution: Execution, event: Event) -> None:
    """Write one event to the log group, if the configuration asks for it."""
    config = execution.revision.logging
    level = config.get("level", "OFF")
    if level == "OFF" or not _is_wanted(level, event["type"]):
        return
    group = _group(config["destinations"][0])
    day = datetime.fromtimestamp(execution.started_at, UTC).strftime("%Y/%m/%d/%H/%M")
    stream = f"states/{execution.revision.name}/{day}/{execution.arn.rpartition(':')[2][:8]}"
    record = _record(execution, event, has_data=bool(config.get("includeExecutionData")))
    cloudwatch_logs._create_log_stream({"logGroupName": group, "logStreamName": stream})
    message = {"timestamp": int(event["timestamp"] * 1000), "message": json.dumps(record, ensure_ascii=False)}
    answer = cloudwatch_logs._put_log_events({"logGroupName": group, "logStreamName": stream, "logEvents": [message]})
    if answer[0] != 200:
        log.warning("log of an execution not delivered", extra={"group": group, "execution": execution.arn})


def _is_wanted(level: str, kind: str) -> bool:
    if level == "FATAL":
        return kind in _FATAL
    return level == "ALL" or _ERROR.fullmatch(kind) is not None


def _record(execution: Execution, event: Event, *, has_data: bool) -> dict[str, Any]:
    """Return an event in the form of the log."""
    details: dict[str, Any] = next((item for item in event.values() if isinstance(item, dict)), {})
    shown = {name: item for name, item in details.items() if has_data or name not in _DATA}
    return {
        "id": str(event["id"]),
        "type": event["type"],
        "details": shown,
        "previous_event_id": str(event["previousEventId"]),
        "event_timestamp": str(int(event["timestamp"] * 1000)),
        "execution_arn": execution.arn,
    }
