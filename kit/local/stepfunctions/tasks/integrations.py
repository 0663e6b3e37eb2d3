"""Call services for Task states: what is special about each optimised integration, and `aws-sdk` calls."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from kit.local.stepfunctions.errors import StateFailed
from kit.local.stepfunctions.language.json_values import dump, parse_json
from kit.local.stepfunctions.tasks import sdk_shapes
from kit.local.stepfunctions.tasks.resources import SDK, Resource
from kit.local.stepfunctions.tasks.sdk_calls import Answer, CallFailed, SdkCalls
from kit.local.stepfunctions.tasks.service_errors import named

STARTED_BY = "AWS Step Functions"
# Hosts of queues that this cloud answers for, besides its own.
_AWS_HOST = "amazonaws.com"


class Integrations:
    """Make the calls of Task states. `host` is the host of this cloud's endpoint."""

    def __init__(self, calls: SdkCalls, host: str) -> None:
        self._calls = calls
        self._host = host

    async def call(self, resource: Resource, parameters: Any) -> dict[str, Any]:
        """Return the answer of a call as the state sees it. Raises StateFailed."""
        is_sdk = resource.kind == SDK
        try:
            if not isinstance(parameters, Mapping):
                raise CallFailed("ValidationException", f"The parameters must be an object, not {dump(parameters)}")
            given = parameters if is_sdk else self._prepare(resource, parameters)
            answer = await self._calls.call(resource.service, resource.operation, given, is_sdk=is_sdk)
        except CallFailed as failed:
            if resource.service == "lambda" and isinstance(parameters, Mapping) and "Qualifier" not in parameters:
                failed = _with_version(failed, str(parameters.get("FunctionName")))
            raise named(resource.service, failed, is_sdk=is_sdk) from failed
        return answer.output if is_sdk else _finish(resource, answer)

    async def invoke(self, function: str, payload: Any) -> Any:
        """Return the result of a Lambda function that is the resource of a state. Raises StateFailed."""
        try:
            answer = await self._calls.call("lambda", "Invoke", {"FunctionName": function, "Payload": dump(payload)})
        except CallFailed as failed:
            raise named("lambda", _with_version(failed, function), is_sdk=False) from failed
        return _payload(answer)

    def _prepare(self, resource: Resource, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters as the API takes them. Raises CallFailed."""
        given = dict(parameters)
        for name in sdk_shapes.JSON_MEMBERS.get((resource.service, resource.operation), ()):
            if given.get(name) is not None and not isinstance(given[name], str):
                given[name] = dump(given[name])
        if resource.service == "lambda":
            given["Payload"] = _lambda_payload(given.get("Payload"))
        elif resource.service == "sqs":
            self._check_queue(given.get("QueueUrl"))
            if given.get("MessageBody") is None:
                raise CallFailed("MissingParameter", "The request must contain the parameter MessageBody.", status=400)
        elif resource.service == "events":
            given["Entries"] = [_entry(each) for each in given.get("Entries") or ()]
        elif resource.service == "ecs":
            given.setdefault("StartedBy", STARTED_BY)
        return given

    def _check_queue(self, url: Any) -> None:
        host = urlsplit(url).hostname if isinstance(url, str) else None
        if host is None or host == self._host or host.endswith(_AWS_HOST) or _is_local(host):
            return
        raise CallFailed("SdkClientException", f"Unable to execute HTTP request: {host}: Name or service not known")


def _is_local(host: str) -> bool:
    if host in ("localhost", "0.0.0.0"):
        return True
    try:
        return socket.inet_aton(host)[0] == 127
    except OSError:
        return False


def _finish(resource: Resource, answer: Answer) -> dict[str, Any]:
    """Return an answer with its metadata. Raises StateFailed for failures inside of a successful answer."""
    output = {**answer.output, **answer.meta}
    if resource.service == "lambda":
        output["Payload"] = _payload(answer)
    elif resource.service == "events" and output.get("FailedEntryCount"):
        raise StateFailed("EventBridge.FailedEntry", dump(answer.output))
    return output


def _entry(entry: Any) -> Any:
    """Return an event whose Detail is a text."""
    if isinstance(entry, Mapping) and "Detail" in entry and not isinstance(entry["Detail"], str):
        return {**entry, "Detail": dump(entry["Detail"])}
    return entry


def _lambda_payload(payload: Any) -> str:
    """Return a payload as JSON; a text that is JSON is passed on as it is."""
    if payload is None:
        return "{}"
    try:
        parse_json(payload)
    except ValueError:
        return dump(payload)
    return payload


def _payload(answer: Answer) -> Any:
    """Return what a function returned. Raises StateFailed with the class of its exception."""
    text = answer.output.get("Payload") or ""
    if isinstance(text, str):
        try:
            value = parse_json(text) if text else None
        except ValueError:
            value = text
    else:
        value = text
    if answer.output.get("FunctionError"):
        kind = value.get("errorType") if isinstance(value, dict) else None
        raise StateFailed(kind or "Lambda.Unknown", text if isinstance(text, str) else dump(text))
    return value


def _with_version(failed: CallFailed, function: str) -> CallFailed:
    """Return a failure that names the version of a missing function, as AWS does."""
    message = str(failed)
    if failed.code != "ResourceNotFoundException" or not message.endswith(function.rpartition(":")[2]):
        return failed
    return CallFailed(failed.code, f"{message}:$LATEST", status=failed.status, request_id=failed.request_id)
