"""Definitions of state machines: any JSON is either refused by name or a machine that can be loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import strategies as st

from kit.local.stepfunctions.definition import fields
from kit.local.stepfunctions.definition.checks import problems
from kit.local.stepfunctions.language import state_machine
from tests.fuzz.runner import Check, Target

NAMES = sorted(
    {name for kind in fields.TYPES for which in (True, False) for name in fields.allowed(kind, is_jsonata=which)}
    | {"ErrorEquals", "IntervalSeconds", "MaxAttempts", "BackoffRate", "Variable", "And", "Not", "IsNull"}
    | {"ReaderConfig", "InputType", "MaxItems", "ProcessorConfig", "Mode", "ExecutionType", "Bucket", "MessageBody"}
    | {"StartAt", "States", "Condition", "NumericEquals", "a.$"}
)  # fmt: skip
RESOURCES = (
    "arn:aws:states:::sqs:sendMessage", "arn:aws:states:::ecs:runTask.sync", "arn:aws:states:::http:invoke",
    "arn:aws:states:::aws-sdk:fis:getExperiment", "arn:aws:lambda:us-east-1:000000000000:function:f",
    "arn:aws:states:::s3:getObject",
)  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(
        [*fields.TYPES, *RESOURCES, "JSONata", "DISTRIBUTED", "States.ALL", "A", "B", "2024-01-01T00:00:00Z"]
    ),
    st.text("$.@[]()?*'\"\\{}%:,0123 aA", max_size=12),
    st.text("$.@[]()?*'\"\\,0a", max_size=8).map("$.{}".format),
    st.text("$.'\"\\{},()0a", max_size=8).map("States.Format({})".format),
    st.text("$.[]()'\"+-*/&{}:=?,01a", max_size=10).map("{{% {} %}}".format),
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.sampled_from(NAMES), TEXTS), inner, max_size=4)
    ),
    max_leaves=12,
)
STATES = st.builds(
    lambda kind, more: {"Type": kind, "End": True, **more},
    st.sampled_from(fields.TYPES),
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5),
)
MACHINES = st.builds(
    lambda states, more: {"StartAt": "A", "States": states, **more},
    st.dictionaries(st.sampled_from("AB"), STATES, min_size=1, max_size=2),
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=1),
)


@contextmanager
def opened() -> Iterator[Check]:
    yield check


def check(case: Any) -> None:
    """Raise unless the definition is refused or can be loaded."""
    for kind in ("STANDARD", "EXPRESS"):
        found = problems(json.dumps(case), kind)
        assert all(each.code and each.message for each in found)
        if not found:
            state_machine.load(case)


TARGET = Target(
    promise="A definition is refused by name, or it is a machine that can be loaded.",
    cases=st.one_of(MACHINES, VALUES),
    open=opened,
    known=[
        {"StartAt": ["A"], "States": {"A": {"Type": "Pass", "End": True}}},
        {"StartAt": "A", "States": {"A": {"Type": "Choice", "Choices": [{"Next": {}}]}}},
        {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": RESOURCES[0], "Parameters": 1, "Retry": 1}}},
        {"StartAt": "A", "States": {"A": {"Type": "Map", "End": True, "ItemProcessor": []}}},
        {"StartAt": "A", "States": {"A": {"Type": "Parallel", "End": True, "Branches": [None]}}},
        {"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True, "Parameters": {"a.$": "States.Array(" * 50}}}},
        {"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True, "InputPath": "$" + "[" * 500}}},
    ],
)
