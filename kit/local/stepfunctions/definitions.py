"""Check definitions of state machines: where transitions lead, and fields that MiniStack accepts and ignores."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

# What the field would do on AWS, by where it stands.
MACHINE = {"TimeoutSeconds": "end the execution"}
STATE = {
    "TimeoutSecondsPath": "limit the task's time",
    "HeartbeatSeconds": "fail a task without heartbeats",
    "HeartbeatSecondsPath": "fail a task without heartbeats",
    "ItemBatcher": "group the items",
    "ResultWriter": "write the results to S3",
    "Credentials": "assume the role",
    "MaxConcurrencyPath": "limit the concurrency",
    "ToleratedFailureCountPath": "tolerate failures",
    "ToleratedFailurePercentagePath": "tolerate failures",
}
RETRIER = {"MaxDelaySeconds": "limit the delay", "JitterStrategy": "vary the delay"}

State = Mapping[str, Any]


def problem(definition: Any) -> str | None:
    """Return why a definition is refused, or None. A definition that is not JSON is MiniStack's to refuse."""
    try:
        machine = json.loads(definition)
    except (TypeError, ValueError):
        return None
    if not isinstance(machine, dict):
        return None
    return next(itertools.chain(_ignored(machine, MACHINE, "the state machine"), _in_machine(machine)), None)


def _in_machine(machine: State) -> Iterator[str]:
    states = machine.get("States")
    if not isinstance(states, dict):
        return
    if machine.get("StartAt") not in states:
        yield f"MISSING_TRANSITION_TARGET: StartAt {machine.get('StartAt')!r} is not a state"
    for name, state in states.items():
        if isinstance(state, dict):
            yield from _in_state(name, state, states)


def _in_state(name: str, state: State, states: Mapping[str, Any]) -> Iterator[str]:
    for target in _targets(state):
        if target not in states:
            yield f"MISSING_TRANSITION_TARGET: state {name!r} leads to {target!r}, which is not a state"
    yield from _ignored(state, STATE, f"state {name!r}")
    for retrier in state.get("Retry") or ():
        yield from _ignored(retrier, RETRIER, f"a retrier of state {name!r}")
    inner = [*(state.get("Branches") or ()), state.get("ItemProcessor"), state.get("Iterator")]
    for machine in inner:
        if isinstance(machine, dict):
            yield from _in_machine(machine)


def _targets(state: State) -> Iterator[Any]:
    for branch in (state, *(state.get("Choices") or ()), *(state.get("Catch") or ())):
        for key in ("Next", "Default"):
            if isinstance(branch, dict) and key in branch:
                yield branch[key]


def _ignored(given: Any, fields: Mapping[str, str], where: str) -> Iterator[str]:
    for name, purpose in fields.items():
        if isinstance(given, dict) and name in given:
            yield f"{name} of {where} is not served here; AWS would {purpose}"
