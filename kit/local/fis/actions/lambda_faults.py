"""Delay or replace the invocations of a Lambda function, as FIS's Lambda extension does on AWS."""

from __future__ import annotations

import functools
import itertools
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ministack.services import lambda_svc

from kit.local.fis.actions.context import ActionContext
from kit.local.fis.collaborators import Collaborators
from kit.local.fis.errors import ConfigurationFailure
from kit.local.fis.journal import Entry

UNDO_KIND = "lambda-invocations"
PERCENT = 100
# Lambda's default, for a function that names none.
TIMEOUT_S = 3.0
# Environment variables that AWS's extension needs: the place of its faults, and the script that starts it.
LOCATION, LOCATION_PREFIX = "AWS_FIS_CONFIGURATION_LOCATION", "arn:aws:s3:::"
WRAPPER, WRAPPER_PATH = "AWS_LAMBDA_EXEC_WRAPPER", "/opt/aws-fis/bootstrap"

Result = dict[str, Any]

# The faults in force, by the handle in their journal entry. Invocations read them from their own threads.
_faults: dict[str, Fault] = {}
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A delay before the function's code, or an answer that replaces its own, with or without running the code."""

    delay_s: float = 0.0
    answer: Result | None = None
    prevents_execution: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An effect on a share of one function's invocations. An empty qualifier means all of them."""

    function: str
    qualifier: str
    percent: int
    effect: Effect
    dice: random.Random
    ended: threading.Event = field(default_factory=threading.Event)

    def hits(self, invoked_arn: str) -> bool:
        """Decide at random whether the fault hits an invocation of this ARN."""
        function, qualifier = split_arn(invoked_arn)
        if function != self.function or self.qualifier not in ("", qualifier or "$LATEST"):
            return False
        return self.dice.random() * 100 < self.percent


def split_arn(arn: str) -> tuple[str, str]:
    """Split an ARN into the function's ARN and the qualifier, which may be empty."""
    parts = arn.split(":")
    return ":".join(parts[:7]), ":".join(parts[7:])


def inject(context: ActionContext, percent: int, effect: Effect) -> None:
    """Put all target functions under the effect. Raises ConfigurationFailure if one is not prepared for FIS."""
    functions = context.targets["Functions"]
    for function in functions:
        _check_prepared(function.arn, function.described)
    for function in functions:
        arn, qualifier = split_arn(function.arn)
        entry = context.remember(UNDO_KIND, {"function": function.arn})
        handle = f"lambda-{next(_numbers)}"
        entry.handles.append(handle)
        dice = random.Random(f"{context.services.seed}-{context.action_name}-{arn}")
        _faults[handle] = Fault(function=arn, qualifier=qualifier, percent=percent, effect=effect, dice=dice)


async def undo(services: Collaborators, entry: Entry) -> None:
    """End the faults; waiting invocations continue. Faults end with the process, so there are none after a restart."""
    for handle in entry.handles:
        fault = _faults.pop(handle, None)
        if fault is not None:
            fault.ended.set()


def impaired(dispatch: Callable[..., Result]) -> Callable[..., Result]:
    """Wrap MiniStack's dispatch of an invocation, so that the faults in force act on it."""

    @functools.wraps(dispatch)
    def call(func: Result, config: Result, event: Any, request_id: str, started: float) -> Result:
        hitting = [fault for fault in list(_faults.values()) if fault.hits(config.get("FunctionArn", ""))]
        if not hitting:
            return dispatch(func, config, event, request_id, started)
        timeout_s = float(config.get("Timeout") or TIMEOUT_S)
        if _wait(hitting, timeout_s):
            return _logged(func, request_id, started, _timed_out(request_id, timeout_s))
        answering = [fault.effect for fault in hitting if fault.effect.answer is not None]
        for effect in answering:
            if effect.prevents_execution:
                return _logged(func, request_id, started, dict(effect.answer or {}))
        result = dispatch(func, config, event, request_id, started)
        return {**(answering[0].answer or {}), "log": result.get("log", "")} if answering else result

    return call


def _wait(hitting: list[Fault], timeout_s: float) -> bool:
    """Wait for the delays; returns True when they exceed the function's time-out."""
    left_s = timeout_s
    for fault in hitting:
        if fault.effect.delay_s and not fault.ended.wait(min(fault.effect.delay_s, left_s)):
            left_s -= fault.effect.delay_s
        if left_s <= 0:
            return True
    return False


def _timed_out(request_id: str, timeout_s: float) -> Result:
    message = f"RequestId: {request_id} Error: Task timed out after {timeout_s:.2f} seconds"
    return {"body": {"errorMessage": message, "errorType": "Sandbox.Timedout"}, "error": True, "log": ""}


def _logged(func: Result, request_id: str, started: float, result: Result) -> Result:
    """Log an invocation that did not reach the function's code, as `dispatch` logs the others."""
    took_ms = int((time.time() - started) * 1000)
    lambda_svc._emit_lambda_logs(func, request_id, "", bool(result.get("error")), took_ms)
    return result


def _check_prepared(arn: str, configuration: Mapping[str, Any]) -> None:
    """Raise ConfigurationFailure without the extension's environment variables; its layer cannot be attached here."""
    variables = (configuration.get("Environment") or {}).get("Variables") or {}
    if not variables.get(LOCATION, "").startswith(LOCATION_PREFIX):
        raise ConfigurationFailure(
            f"function {arn}: environment variable {LOCATION}={variables.get(LOCATION, '')!r} must be the ARN of an S3 "
            f"folder ({LOCATION_PREFIX}bucket/folder/), from which the FIS extension reads its faults"
        )
    if variables.get(WRAPPER) != WRAPPER_PATH:
        raise ConfigurationFailure(
            f"function {arn}: environment variable {WRAPPER}={variables.get(WRAPPER, '')!r} must be {WRAPPER_PATH}, "
            "otherwise the FIS extension does nothing"
        )
