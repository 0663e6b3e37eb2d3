"""Read the states that the guardrail alarms went through."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kit.aws.client_errors import ClientSource, cloud_errors
from kit.model import Deployment


def alarm_history(
    session: ClientSource, names: Sequence[str], start: float, end: float
) -> dict[str, list[tuple[float, str]]]:
    """Return each alarm's states: (epoch s, state) in order. The first one is the state at `start`."""
    with cloud_errors(f"history of alarms {', '.join(names)}"):
        return {name: list(_states(session.client("cloudwatch"), name, start, end)) for name in names}


def guardrails(deployment: Deployment) -> tuple[str, ...]:
    """Return the names of the deployment's guardrail alarms."""
    return tuple(name for name in deployment.outputs.get("GuardrailAlarms", "").split(",") if name)


def _states(cloudwatch: Any, name: str, start: float, end: float) -> Iterator[tuple[float, str]]:
    """Yield the state at `start`, then every change until `end`."""
    pages = cloudwatch.get_paginator("describe_alarm_history").paginate(
        AlarmName=name, HistoryItemType="StateUpdate", ScanBy="TimestampAscending"
    )
    items = [item for page in pages for item in page["AlarmHistoryItems"]]
    # They arrive in order of time. Sorting would mix up changes that have the same time stamp.
    changes = [(item["Timestamp"].timestamp(), _new_state(item)) for item in items]
    before = [state for at, state in changes if at <= start]
    yield start, before[-1] if before else "INSUFFICIENT_DATA"
    yield from ((at, state) for at, state in changes if start < at <= end)


def _new_state(item: Mapping[str, Any]) -> str:
    """Read the new state from the item's JSON; its summary ("Alarm updated from OK to ALARM") is text for people."""
    return json.loads(item["HistoryData"])["newState"]["stateValue"]
