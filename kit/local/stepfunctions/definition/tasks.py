"""Check the resource and parameters of Task states, and retriers and catchers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from kit.local.stepfunctions.definition import parameters
from kit.local.stepfunctions.definition.problems import Problem, bounded, schema, unsupported
from kit.local.stepfunctions.definition.queries import assignments, expressions, path_problems, template
from kit.local.stepfunctions.errors import ALL
from kit.local.stepfunctions.language.json_values import as_integer, dump, is_number
from kit.local.stepfunctions.tasks import resources
from kit.local.stepfunctions.tasks.resources import ACTIVITY, CALLBACK, REQUEST, SDK, SERVICE

RETRIER = frozenset({"ErrorEquals", "IntervalSeconds", "MaxAttempts", "BackoffRate", "MaxDelaySeconds"}) | {
    "JitterStrategy", "Comment",
}  # fmt: skip
CATCHER = frozenset({"ErrorEquals", "Next", "Assign", "Comment"})
MAX_ATTEMPTS_MAX = 99_999_999


def problems(state: Mapping[str, Any], path: str, *, is_jsonata: bool, is_express: bool) -> Iterator[Problem]:
    """Yield what is wrong with a Task state."""
    given = state.get("Resource")
    if "Credentials" in state:
        yield from _credentials(state["Credentials"], f"{path}/Credentials")
    timeout, heartbeat = state.get("TimeoutSeconds"), state.get("HeartbeatSeconds")
    if is_number(timeout) and is_number(heartbeat) and heartbeat >= timeout:
        yield schema("HeartbeatSeconds must be smaller than TimeoutSeconds", f"{path}/HeartbeatSeconds")
    if not isinstance(given, str):
        return
    resource = resources.parse(given)
    if resource is None:
        yield schema(
            f"The resource provided {given} is not recognized. The value is not a valid resource ARN, or the resource "
            "is not available in this region.",
            f"{path}/Resource",
        )
        return
    if wrong := resources.problem(resource):
        yield schema(wrong, f"{path}/Resource")
        return
    if is_express and resource.pattern not in (REQUEST,):
        pattern = resource.pattern.partition(":")[0]
        space = " " if resource.pattern == CALLBACK else ""
        yield schema(
            f"Express state machine does not support '.{pattern}' service integration{space}",
            f"{path}/Resource",
        )
    if is_express and resource.kind == ACTIVITY:
        yield schema("Express state machine does not support activities", f"{path}/Resource")
    name = "Arguments" if is_jsonata else "Parameters"
    if resource.kind in (SERVICE, SDK):
        yield from parameters.problems(resource, state.get(name, {}), f"{path}/{name}", is_jsonata=is_jsonata)


def _credentials(value: Any, path: str) -> Iterator[Problem]:
    names = set(value) if isinstance(value, dict) else set()
    if not names & {"RoleArn", "RoleArn.$"}:
        yield schema("The field 'RoleArn' is required but was missing", path)
    else:
        yield schema("Credentials are not served here; AWS would assume the role for the task", path)


def retries_and_catches(state: Mapping[str, Any], path: str, *, is_jsonata: bool) -> Iterator[Problem]:
    """Yield what is wrong with the retriers and catchers of a state."""
    for name, check in (("Retry", _retrier), ("Catch", _catcher)):
        given = state.get(name, [])
        if not isinstance(given, list):
            yield schema(f"{name} must be an array", f"{path}/{name}")
            continue
        for index, each in enumerate(given):
            at = f"{path}/{name}[{index}]"
            if not isinstance(each, dict):
                yield schema(f"{name} must be an array of objects", at)
                continue
            yield from _errors(each.get("ErrorEquals"), at, is_last=index == len(given) - 1)
            yield from check(each, at, is_jsonata=is_jsonata)


def _errors(names: Any, path: str, *, is_last: bool) -> Iterator[Problem]:
    at = f"{path}/ErrorEquals"
    if names is None:
        yield schema("These fields are required: [ErrorEquals]", path)
    elif not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        yield schema("ErrorEquals must be an array with at least one name", at)
    elif ALL in names and (len(names) > 1 or not is_last):
        yield schema(f"{ALL} must appear alone, and in the last retrier or catcher", at)


def _retrier(retrier: Mapping[str, Any], path: str, *, is_jsonata: bool) -> Iterator[Problem]:
    yield from unsupported(retrier, RETRIER, path)
    for name, bounds in (
        ("IntervalSeconds", (1, 99_999_999)),
        ("MaxAttempts", (0, MAX_ATTEMPTS_MAX)),
        ("MaxDelaySeconds", (1, 31_622_400)),
    ):
        if name in retrier:
            yield from bounded(name, retrier[name], bounds, path)
    interval, most = as_integer(retrier.get("IntervalSeconds", 1)), as_integer(retrier.get("MaxDelaySeconds"))
    if interval is not None and most is not None and most <= interval:
        yield schema("MaxDelaySeconds must be greater than IntervalSeconds", f"{path}/MaxDelaySeconds")
    rate = retrier.get("BackoffRate", 2)
    if not is_number(rate) or not math.isfinite(rate) or rate < 1:
        yield schema(f"BackoffRate must be a number of at least 1.0, not {dump(rate)}", f"{path}/BackoffRate")
    if retrier.get("JitterStrategy", "NONE") not in ("NONE", "FULL"):
        yield schema("JitterStrategy must be FULL or NONE", f"{path}/JitterStrategy")


def _catcher(catcher: Mapping[str, Any], path: str, *, is_jsonata: bool) -> Iterator[Problem]:
    yield from unsupported(catcher, CATCHER | ({"Output"} if is_jsonata else {"ResultPath"}), path)
    if not isinstance(catcher.get("Next"), str):
        yield schema("These fields are required: [Next]", path)
    yield from assignments(catcher.get("Assign"), f"{path}/Assign")
    if is_jsonata:
        yield from expressions(catcher.get("Output"), f"{path}/Output")
        yield from expressions(catcher.get("Assign"), f"{path}/Assign")
        return
    yield from template(catcher.get("Assign"), f"{path}/Assign")
    if catcher.get("ResultPath") is not None:
        yield from path_problems("ResultPath", catcher["ResultPath"], path, is_reference=True)
