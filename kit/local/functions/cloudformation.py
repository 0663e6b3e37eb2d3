"""Make functions of stacks through the API, so that a stack is held to the API's rules and loses no property."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from ministack.services import lambda_svc
from ministack.services.cloudformation import provisioners

from kit.local.patching import Patches, require
from kit.local.requests.templates import PropertyRefused, request_of

TYPE = "AWS::Lambda::Function"
# Properties that are no members of CreateFunction's request, or have another form there.
OWN = ("Code", "Tags", "ReservedConcurrentExecutions")
CONFIGURED_ELSEWHERE = ("VpcConfig", "DeadLetterConfig")

Properties = dict[str, Any]
Answer = tuple[int, dict[str, str], bytes]


def install(patches: Patches) -> None:
    """Patch the type."""
    require(provisioners, "_physical_name", "_zip_inline", "_tag_map")
    patches.wrap_resource_handler(TYPE, "create", _create)
    patches.wrap_resource_handler(TYPE, "update", _update)


def _create(provision: Callable[..., Any], logical_id: str, props: Properties, stack_name: str) -> Any:
    """Create a function. Raises ValueError for what the API refuses."""
    del provision
    given = dict(props)
    name = given.get("FunctionName") or provisioners._physical_name(stack_name, logical_id, max_len=64)
    code = dict(given.get("Code") or {})
    inline = code.pop("ZipFile", None)
    members = {key: value for key, value in given.items() if key not in OWN}
    try:
        request = request_of("lambda", "CreateFunction", {**members, "FunctionName": name, "Code": code})
    except PropertyRefused as refused:
        raise ValueError(f"{TYPE}: {refused}") from refused
    if inline is not None:
        handler, runtime = str(request.get("Handler") or ""), str(request.get("Runtime") or "")
        archive = provisioners._zip_inline(inline, handler, runtime) or b""
        request["Code"] = {"ZipFile": base64.b64encode(archive).decode()}
    _accepted(lambda_svc._create_function({**request, "Tags": provisioners._tag_map(given.get("Tags"))}))
    function = lambda_svc._functions[name]
    # A stack waits until its function can be invoked.
    function["config"] |= {
        "State": "Active",
        "StateReason": "",
        "StateReasonCode": "",
        "LastUpdateStatus": "Successful",
    }
    _reserve(name, given)
    return name, {"Arn": function["config"]["FunctionArn"]}


def _update(
    provision: Callable[..., Any], physical_id: str, old: Properties, new: Properties, *rest: Any, **named: Any
) -> Any:
    """Update a function: MiniStack most of it, we the properties that it does not read."""
    made = provision(physical_id, old, new, *rest, **named)
    name = made[0]
    settings = {key: new.get(key) or {} for key in CONFIGURED_ELSEWHERE if new.get(key) != old.get(key)}
    if settings:
        _accepted(lambda_svc._update_config(name, settings))
    if new.get("ReservedConcurrentExecutions") != old.get("ReservedConcurrentExecutions"):
        _reserve(name, new)
    return made


def _reserve(name: str, props: Properties) -> None:
    reserved = props.get("ReservedConcurrentExecutions")
    if reserved is None:
        lambda_svc._delete_function_concurrency(name)
    else:
        _accepted(lambda_svc._put_function_concurrency(name, {"ReservedConcurrentExecutions": int(reserved)}))


def _accepted(answer: Answer) -> None:
    status, _, body = answer
    if status >= 400:
        raise ValueError(f"{TYPE}: {json.loads(body).get('message') or body.decode()}")
