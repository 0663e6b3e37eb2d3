"""Patch MiniStack's Lambda: our environments run its functions, and its other services invoke them as AWS does."""

from __future__ import annotations

import functools
import json
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from ministack import app
from ministack.core.responses import error_response_json
from ministack.services import eventbridge, lambda_svc, sns

from kit.local.functions import rules
from kit.local.functions.definition import Definition, split_arn
from kit.local.functions.invocations import Invocations, log_without_environment
from kit.local.functions.pool import SANDBOXES_MAX
from kit.local.functions.rules import RequestRefused
from kit.local.log_streams import LogStream
from kit.local.main_loop import on_main_loop
from kit.local.patching import Patches, require

INVOCATIONS_PATH = "/invocations"

Record = dict[str, Any]
Answer = tuple[int, dict[str, str], bytes]
Retire = Callable[[Callable[[Definition], bool]], None]


def install(patches: Patches, invocations: Invocations, retire: Retire) -> None:
    """Patch the API, the execution of functions, and the services that invoke them."""
    patches.wrap_entry(app, "SERVICE_HANDLERS", "lambda", _check_invocation)
    patches.wrap(lambda_svc, "_create_function", _create_function)
    patches.wrap(lambda_svc, "_update_code", _update_code)
    patches.wrap(lambda_svc, "_update_config", _update_config)
    patches.replace(lambda_svc, "_ACCOUNT_CONCURRENCY_CAP", SANDBOXES_MAX)
    patches.replace(lambda_svc, "_execute_function", invocations.execute)
    patches.replace(lambda_svc, "_execute_function_dispatch", invocations.dispatch)
    patches.replace(lambda_svc, "invoke_async_with_retry", invocations.invoke_later)
    patches.replace(lambda_svc, "invalidate_worker", functools.partial(_invalidate, retire))
    # Each invocation makes its metric data once, in `Invocations`.
    patches.replace(lambda_svc, "_emit_lambda_metrics", _nothing)
    # FIS's faults log invocations that do not reach the code.
    patches.replace(lambda_svc, "_emit_lambda_logs", _log)
    # Topics and rules invoke asynchronously. MiniStack invokes once, and forgets.
    require(lambda_svc, "_get_func_record_for_ref", "_execution_record_for_config")
    patches.replace(sns, "_deliver_to_lambda", functools.partial(_from_topic, invocations))
    patches.replace(eventbridge, "_dispatch_to_lambda", functools.partial(_from_rule, invocations))


async def _check_invocation(
    serve: Callable[..., Any], method: str, path: str, headers: Mapping[str, str], body: bytes, *rest: Any
) -> Answer:
    if method == "POST" and path.rstrip("/").endswith(INVOCATIONS_PATH):
        given = {name.lower(): value for name, value in headers.items()}
        try:
            rules.check_payload(given.get("x-amz-invocation-type") or rules.SYNCHRONOUS, body or b"")
        except RequestRefused as refused:
            return error_response_json(refused.code, str(refused), refused.status)
    return await serve(method, path, headers, body, *rest)


def _create_function(create: Callable[..., Answer], data: Record) -> Answer:
    def check() -> None:
        rules.check_code(data.get("Code") or {})
        rules.check_network(data.get("VpcConfig"))

    return _checked(check, create, data)


def _update_code(update: Callable[..., Answer], name: str, data: Record) -> Answer:
    return _checked(lambda: rules.check_code(data), update, name, data)


def _update_config(update: Callable[..., Answer], name: str, data: Record) -> Answer:
    return _checked(lambda: rules.check_network(data.get("VpcConfig")), update, name, data)


def _checked(check: Callable[[], None], original: Callable[..., Answer], *arguments: Any) -> Answer:
    try:
        check()
    except RequestRefused as refused:
        return error_response_json(refused.code, str(refused), refused.status)
    return original(*arguments)


def _invalidate(
    retire: Retire, name: str, qualifier: str | None = None, account: str | None = None, region: str | None = None
) -> None:
    """End the environments of a function that was changed or deleted."""

    def is_meant(definition: Definition) -> bool:
        return (
            definition.name == name
            and qualifier in (None, definition.version)
            and account in (None, definition.account)
            and region in (None, definition.region)
        )

    on_main_loop(retire)(is_meant)


def _nothing(*_: Any, **__: Any) -> None:
    """Do nothing."""


def _log(function: Record, request_id: str, _text: str, error: bool, duration_ms: float, **_named: Any) -> None:
    """Write the log of an invocation that reached no environment."""
    config = function.get("config") or function
    account, region, name, _qualifier = split_arn(config["FunctionArn"])
    stream = LogStream(
        account=account, region=region, group=f"/aws/lambda/{name}", create_group=True,
        stream=f"{datetime.now(UTC):%Y/%m/%d}/[{config.get('Version') or '$LATEST'}]{uuid.uuid4().hex}",
    )  # fmt: skip

    def write(*lines: str) -> None:
        stream.create()
        now_ms = int(time.time() * 1000)
        stream.put([{"timestamp": now_ms, "message": line} for line in lines])

    reported = "FISInjectedError" if error else ""
    on_main_loop(log_without_environment)(write, function, request_id, reported, duration_ms)


def _from_topic(
    invocations: Invocations, endpoint: str, envelope: str, _topic: str, subscription: str, *_rest: Any
) -> None:
    """Invoke the function that has subscribed to a topic."""
    message = json.loads(envelope)
    # Functions get these names in another spelling than HTTP endpoints, and all members.
    for name in ("SigningCertURL", "UnsubscribeURL"):
        message[name.replace("URL", "Url")] = message.pop(name, "")
    content = {"Subject": None, "MessageAttributes": {}, **message}
    record = {
        "EventVersion": "1.0", "EventSubscriptionArn": subscription, "EventSource": "aws:sns", "Sns": content,
    }  # fmt: skip
    _invoke_later(invocations, endpoint, {"Records": [record]})


def _from_rule(invocations: Invocations, arn: str, payload: str) -> None:
    """Invoke the function that is a target of a rule or a schedule."""
    try:
        event = json.loads(payload)
    except (TypeError, ValueError):
        event = payload
    _invoke_later(invocations, arn, event)


def _invoke_later(invocations: Invocations, arn: str, event: Any) -> None:
    function, config, _ = lambda_svc._get_func_record_for_ref(arn)
    if function and config:
        invocations.invoke_later(lambda_svc._execution_record_for_config(function, config), event)
