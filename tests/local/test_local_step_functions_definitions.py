"""Definitions that Step Functions refuses on AWS, or that the local one would not run as written, are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kit.local.stepfunctions.definitions import problem


def machine(more: dict[str, Any] | None = None, **state: Any) -> dict[str, Any]:
    """Return a machine of one task state."""
    task = {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "End": True, **state}
    return {"StartAt": "Work", "States": {"Work": task}, **(more or {})}


def nested(inner: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return a machine whose only state contains another one."""
    held = {"Branches": [inner]} if kind == "Parallel" else {"ItemProcessor": inner}
    return {"StartAt": "Outer", "States": {"Outer": {"Type": kind, "End": True, **held}}}


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        (machine(), None),
        (machine(TimeoutSeconds=5, Retry=[{"ErrorEquals": ["States.ALL"], "MaxAttempts": 2}]), None),
        (machine({"TimeoutSeconds": 60}), "TimeoutSeconds of the state machine is not served here"),
        (machine(HeartbeatSeconds=5), "HeartbeatSeconds of state 'Work' is not served here"),
        (machine(TimeoutSecondsPath="$.t"), "TimeoutSecondsPath"),
        (machine(Retry=[{"ErrorEquals": ["a"]}, {"ErrorEquals": ["b"], "JitterStrategy": "FULL"}]), "JitterStrategy"),
        (machine(Retry=[{"ErrorEquals": ["a"], "MaxDelaySeconds": 3}]), "MaxDelaySeconds of a retrier"),
        (machine(ItemBatcher={"MaxItemsPerBatch": 3}), "ItemBatcher"),
        (machine(Next="Nowhere"), "MISSING_TRANSITION_TARGET: state 'Work' leads to 'Nowhere'"),
        (machine(Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Lost"}]), "'Lost'"),
        (machine(Type="Choice", Choices=[{"Next": "Gone"}], Default="Work"), "'Gone'"),
        (machine(Type="Choice", Choices=[{"Next": "Work"}], Default="Away"), "'Away'"),
        ({"StartAt": "Missing", "States": {"A": {"Type": "Pass", "End": True}}}, "StartAt 'Missing'"),
        (nested(machine(HeartbeatSeconds=5), "Parallel"), "HeartbeatSeconds"),
        (nested(machine(Next="Nowhere"), "Map"), "'Nowhere'"),
    ],
)
def test_a_definition_is_checked(definition: dict[str, Any], text: str | None) -> None:
    found = problem(json.dumps(definition))
    if text is None:
        assert found is None
    else:
        assert found is not None
        assert text in found


@pytest.mark.parametrize("definition", ["", "nonsense", "[]", None, '{"States": 1}'])
def test_a_definition_that_is_none_is_left_to_the_service(definition: str | None) -> None:
    assert problem(definition) is None
