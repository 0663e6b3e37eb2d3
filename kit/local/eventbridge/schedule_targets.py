"""Turn the target of a schedule into the API call that it stands for.

Source: the EventBridge Scheduler user guide, "Using templated targets" and "Using universal targets".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kit.errors import KitError
from kit.local.requests import models
from kit.local.requests.sdk_names import operation_name, sdk_service, served_operation

UNIVERSAL = re.compile(r"arn:aws[a-z-]*:scheduler:::aws-sdk:([a-z0-9-]+):([a-zA-Z0-9]+)")
# Universal targets only change things.
READ_ONLY = re.compile(
    r"(batch|admin|transact)?(get|describe|list|poll|receive|search|scan|query|select|read|lookup|discover|validate|"
    r"retrieve)[A-Z].*|isAuthorized|query|scan|select"
)
FIFO = ".fifo"


class TargetInvalid(KitError):
    """A target that AWS refuses, or that is not served here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of an API, with botocore's names."""

    service: str
    operation: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """One firing of a schedule; its facts take the place of keywords in the target's input."""

    schedule_arn: str
    scheduled_time: str
    execution_id: str
    attempt: int = 1

    def fill(self, text: str) -> str:
        """Replace the keywords."""
        for keyword, value in (
            ("schedule-arn", self.schedule_arn), ("scheduled-time", self.scheduled_time),
            ("execution-id", self.execution_id), ("attempt-number", str(self.attempt)),
        ):  # fmt: skip
            text = text.replace(f"<aws.scheduler.{keyword}>", value)
        return text


def check(target: Mapping[str, Any]) -> None:
    """Raise TargetInvalid for a target that cannot be called."""
    if target.get("Arn"):
        call_of(target, Occasion(schedule_arn="", scheduled_time="", execution_id=""), "{}", "")


def call_of(target: Mapping[str, Any], occasion: Occasion, default_input: str, endpoint: str) -> Call:
    """Return the call that a target stands for. Raises TargetInvalid."""
    arn, given = target["Arn"], target.get("Input")
    text = occasion.fill(given if given is not None else default_input)
    if match := UNIVERSAL.fullmatch(arn):
        return _universal(match[1], match[2], text)
    service = arn.split(":")[2] if arn.count(":") >= 5 else ""
    if service == "sqs":
        return _message(target, text, endpoint)
    if service == "sns":
        return Call(service="sns", operation="Publish", parameters={"TopicArn": arn, "Message": text})
    if service == "lambda":
        _json(text)
        return Call(
            service="lambda", operation="Invoke",
            parameters={"FunctionName": arn, "InvocationType": "Event", "Payload": text},
        )  # fmt: skip
    if service == "states":
        _json(text)
        return Call(
            service="stepfunctions", operation="StartExecution", parameters={"stateMachineArn": arn, "input": text}
        )  # fmt: skip
    if service == "events":
        return _event(target, text)
    raise TargetInvalid(f"Provided Arn is not in correct format: {arn}")


def _universal(named: str, api: str, text: str) -> Call:
    if READ_ONLY.fullmatch(api):
        raise TargetInvalid(f"{named}:{api} is a read-only operation, which universal targets do not support")
    service = sdk_service(named)
    operation = operation_name(service, api) if service else ""
    if service and served_operation(service, operation):
        return Call(service=service, operation=operation, parameters=_parameters(service, operation, text))
    raise TargetInvalid(f"{named}:{api} is not served here; AWS would call it")


def _parameters(service: str, operation: str, text: str) -> dict[str, Any]:
    """Return the request in an input, whose members may differ from the API's names in case only."""
    given = _json(text)
    if not isinstance(given, dict):
        raise TargetInvalid("Input of a universal target must be a JSON object")
    shape: Any = models.model(service).operation_model(operation).input_shape
    return _renamed(shape, given)


def _renamed(shape: Any, value: Any) -> Any:
    if shape is None or value is None:
        return value
    if shape.type_name == "structure" and isinstance(value, dict):
        names = {name.lower(): name for name in shape.members}
        renamed = {names.get(key.lower(), key): item for key, item in value.items()}
        return {key: _renamed(shape.members.get(key), item) for key, item in renamed.items()}
    if shape.type_name == "list" and isinstance(value, list):
        return [_renamed(shape.member, item) for item in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {key: _renamed(shape.value, item) for key, item in value.items()}
    return value


def _message(target: Mapping[str, Any], text: str, endpoint: str) -> Call:
    account, name = target["Arn"].split(":")[4:6]
    group = (target.get("SqsParameters") or {}).get("MessageGroupId")
    if name.endswith(FIFO) and not group:
        raise TargetInvalid(f"SqsParameters.MessageGroupId is required for the FIFO queue {target['Arn']}")
    parameters = {"QueueUrl": f"{endpoint}/{account}/{name}", "MessageBody": text}
    return Call(
        service="sqs",
        operation="SendMessage",
        parameters={**parameters, **({"MessageGroupId": group} if group else {})},
    )


def _event(target: Mapping[str, Any], text: str) -> Call:
    given = target.get("EventBridgeParameters") or {}
    if not given.get("DetailType") or not given.get("Source"):
        raise TargetInvalid("EventBridgeParameters is required for event bus targets")
    _json(text)
    entry = {
        "EventBusName": target["Arn"], "DetailType": given["DetailType"], "Source": given["Source"], "Detail": text,
    }  # fmt: skip
    return Call(service="events", operation="PutEvents", parameters={"Entries": [entry]})


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise TargetInvalid(f"Input must be well-formed JSON: {error}") from error
