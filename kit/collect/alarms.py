"""The guardrail alarms and the states that they went through."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kit.aws.client_errors import ClientSource, cloud_errors
from kit.model import Deployment


def alarm_history(
    session: ClientSource, names: Sequence[str], start: float, end: float
) -> dict[str, list[tuple[float, str]]]:
    """Each alarm's states: (epoch s, state) in order; the first is the state in which it was at `start`."""
    with cloud_errors(f"history of alarms {', '.join(names)}"):
        return {name: list(_states(session.client("cloudwatch"), name, start, end)) for name in names}


def guardrails(deployment: Deployment) -> tuple[str, ...]:
    """The names of the deployment's guardrail alarms."""
    return tuple(name for name in deployment.outputs.get("GuardrailAlarms", "").split(",") if name)


def _states(cloudwatch: Any, name: str, start: float, end: float) -> Iterator[tuple[float, str]]:
    """From the history's first change on; before it the alarm was in the change's old state."""
    pages = cloudwatch.get_paginator("describe_alarm_history").paginate(
        AlarmName=name, HistoryItemType="StateUpdate", ScanBy="TimestampAscending"
    )
    items = [item for page in pages for item in page["AlarmHistoryItems"]]
    # Asked in order of time; sorting would shuffle changes that carry the same moment.
    changes = [(item["Timestamp"].timestamp(), _new_state(item)) for item in items]
    before = [state for at, state in changes if at <= start]
    yield start, before[-1] if before else "INSUFFICIENT_DATA"
    yield from ((at, state) for at, state in changes if start < at <= end)


def _new_state(item: Mapping[str, Any]) -> str:
    """From the item's JSON; its summary ("Alarm updated from OK to ALARM") is prose."""
    return json.loads(item["HistoryData"])["newState"]["stateValue"]
