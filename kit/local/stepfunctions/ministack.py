"""Patch MiniStack: requests to Step Functions, executions that other services start, and CloudFormation's types."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from ministack import app
from ministack.core import responses
from ministack.services import stepfunctions

from kit.local.main_loop import on_main_loop
from kit.local.patching import Patches
from kit.local.stepfunctions import cloudformation, cloudformation_versions, wire
from kit.local.stepfunctions.engine import Engine
from kit.local.stepfunctions.errors import ApiError

ROUTE = "states"


def caller() -> tuple[str, str]:
    """Return the account and the Region of the present request or execution."""
    return responses.get_account_id(), responses.get_region()


def install(patches: Patches, handle: Callable[..., Any], engine: Engine) -> None:
    """Hand requests, the targets of EventBridge, Scheduler and Pipes, and resources to our engine."""

    def resolve(arn: str) -> Mapping[str, Any] | None:
        try:
            return {"stateMachineArn": engine.machines.resolve(arn).arn}
        except ApiError:
            return None

    def start(data: Mapping[str, Any]) -> tuple[int, dict[str, str], bytes]:
        try:
            revision = engine.machines.resolve(data["stateMachineArn"])
            given = data.get("input", "{}")
            text = given if isinstance(given, str) else json.dumps(given)
            execution = engine.start(revision, data.get("name"), text)
        except ApiError as error:
            return wire.refuse(error)
        return wire.answer({"executionArn": execution.arn, "startDate": execution.started_at})

    patches.add_entry(app, "SERVICE_HANDLERS", ROUTE, handle)
    # Targets are called from worker threads as well.
    patches.replace(stepfunctions, "_start_execution", on_main_loop(start))
    patches.replace(stepfunctions, "_resolve_state_machine_arn", resolve)
    cloudformation.install(patches, engine)
    cloudformation_versions.install(patches, engine)
