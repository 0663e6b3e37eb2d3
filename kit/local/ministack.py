"""MiniStack's private names that we correct, in one place; each has a contract test in tests/local.

Two races are forced onto the event loop, and what MiniStack pretends to have done is refused instead. MiniStack is
pinned: a name that is missing here means that the pin moved, and the cloud does not start.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

from kit.errors import CloudError
from kit.local.dynamodb.query_narrowing import narrowed_query
from kit.local.dynamodb.update_expression import syntax_error

# A worker thread waits at most this long for the loop to run its store access.
ON_LOOP_S_MAX = 30.0
# Programs send the same few expressions again and again.
EXPRESSIONS_REMEMBERED_MAX = 4096
# Stages of Logs Insights that MiniStack really evaluates; the rest it ignores and answers as if it had.
INSIGHTS_FIELDS = frozenset({"@timestamp", "@message", "@logStream", "@log", "@ptr", "@ingestionTime"})
INSIGHTS_SORT = re.compile(r"(?i)sort\s+@\w+(\s+(asc|desc))?\s*")
INSIGHTS_LIMIT = re.compile(r"(?i)limit\s+\d+\s*")
# CloudFormation types whose resources would be made and then do nothing.
PRETENDED_TYPES = ("AWS::Logs::MetricFilter",)
# CloudFormation types, beside those that MiniStack knows, that get the stack's tags: in which property, and its shape.
STACK_TAGGED_TYPES = {
    "AWS::CloudWatch::CompositeAlarm": ("Tags", "list"),
    "AWS::ECS::TaskDefinition": ("Tags", "list"),
}

Answer = tuple[int, dict[str, str], bytes]


def environment() -> dict[str, str]:
    """Settings that MiniStack reads when it is imported."""
    return {
        # `auto` answers every query SUCCEEDED with a made-up row where duckdb is not installed; this fails then.
        "ATHENA_ENGINE": "duckdb",
    }


def install() -> None:
    """Correct MiniStack in this process. Call once, after its import and before its start."""
    from ministack import app
    from ministack.core import router
    from ministack.services import cloudwatch_logs, dynamodb, sqs

    # A signed call names its service; asking botocore whether the name exists costs 2.7 s and 400 MB.
    _replace(router, "_KNOWN_AWS_SERVICE_NAMES", EveryName())
    _replace(app, "SERVICE_HANDLERS", Handlers(app.SERVICE_HANDLERS))
    _force_on_loop(app, dynamodb, ("_put_item", "_get_item", "_delete_item", "_update_item"))
    _force_on_loop(app, sqs, ("_receive_messages_for_esm", "_delete_messages_for_esm", "_act_send_message"))
    _replace(dynamodb, "_query", narrowed_query(dynamodb))
    # Pure functions of an expression's text, a fifth of a transaction's cost.
    _replace(dynamodb, "_tokenize", remembered_tokens(dynamodb._tokenize))
    syntax_error_of = functools.lru_cache(maxsize=EXPRESSIONS_REMEMBERED_MAX)(dynamodb._condition_syntax_error)
    _replace(dynamodb, "_condition_syntax_error", syntax_error_of)
    _replace(dynamodb, "_apply_update_expression", strict_update(dynamodb._apply_update_expression))
    _replace(cloudwatch_logs, "_start_query", strict_insights(cloudwatch_logs))
    _replace(cloudwatch_logs, "_put_metric_filter", _refuse_metric_filter)
    _forget_pretended_types()
    _pass_stack_tags_on()


class EveryName(frozenset[str]):
    """Contains any name."""

    def __contains__(self, name: object) -> bool:
        return True


class Handlers(dict[str, Any]):
    """MiniStack's handlers by service; a service that nobody serves is refused in words that boto3 shows."""

    def get(self, service: str, default: Any = None) -> Any:  # type: ignore[override]
        """The handler of `service`, never None."""
        return super().get(service) or functools.partial(_refuse_service, service)


async def _refuse_service(service: str, method: str, path: str, headers: dict, body: bytes, query: dict) -> Answer:
    from ministack.core.responses import error_response_json

    message = f"the local AWS does not serve {service!r} ({method} {path})"
    return error_response_json("UnsupportedOperation", message, 501)


def on_loop(
    loop_of: Callable[[], asyncio.AbstractEventLoop | None], function: Callable[..., Any]
) -> Callable[..., Any]:
    """`function`, run by the loop's thread whichever thread calls: MiniStack's stores have no locks of their own.

    Step Functions' optimised DynamoDB calls and Lambda's queue pollers run in worker threads.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        loop = loop_of()
        if loop is None or not loop.is_running() or _is_running_here(loop):
            return function(*args, **kwargs)
        context = contextvars.copy_context()  # the caller's account and region
        done: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def run() -> None:
            try:
                done.set_result(context.run(function, *args, **kwargs))
            except BaseException as error:  # noqa: BLE001  # it belongs to the thread that waits
                done.set_exception(error)

        loop.call_soon_threadsafe(run)
        return done.result(ON_LOOP_S_MAX)

    return call


def remembered_tokens(tokenize: Callable[[str], list[Any]]) -> Callable[[str], list[Any]]:
    """`dynamodb._tokenize` that reads each expression once; every caller gets a list of its own."""
    remembered = functools.lru_cache(maxsize=EXPRESSIONS_REMEMBERED_MAX)(lambda text: tuple(tokenize(text)))

    @functools.wraps(tokenize)
    def tokens(text: str) -> list[Any]:
        return list(remembered(text))

    return tokens


def strict_update(apply: Callable[..., Any]) -> Callable[..., Any]:
    """`dynamodb._apply_update_expression` that refuses what DynamoDB's grammar refuses."""

    @functools.wraps(apply)
    def apply_strictly(item: Any, expression: str, *args: Any, **kwargs: Any) -> Any:
        if wrong := syntax_error(expression):
            # Its callers turn a ValueError into ValidationException, or into a cancellation reason.
            raise ValueError(f"Invalid UpdateExpression: {wrong}")
        return apply(item, expression, *args, **kwargs)

    return apply_strictly


def strict_insights(logs: ModuleType) -> Callable[[dict[str, Any]], Answer]:
    """`cloudwatch_logs._start_query` that refuses stages which it would ignore."""
    from ministack.core.responses import error_response_json

    start, split, compile_filter = logs._start_query, logs._split_insights_pipes, logs._compile_insights_filter

    def understood(stage: str) -> bool:
        word, _, rest = stage.strip().partition(" ")
        if word.lower() == "filter":
            return compile_filter(stage) is not None
        if word.lower() == "fields":
            return {name.strip() for name in rest.split(",")} <= INSIGHTS_FIELDS
        return bool(INSIGHTS_SORT.fullmatch(stage.strip()) or INSIGHTS_LIMIT.fullmatch(stage.strip()))

    def start_strictly(data: dict[str, Any]) -> Answer:
        for stage in split(data.get("queryString", "")):
            if not understood(stage):
                message = f"the local AWS does not evaluate the Logs Insights stage {stage.strip()!r}"
                return error_response_json("MalformedQueryException", message, 400)
        return start(data)

    return start_strictly


def _refuse_metric_filter(_data: dict[str, Any]) -> Answer:
    from ministack.core.responses import error_response_json

    message = "the local AWS makes no metrics from log metric filters: publish them with PutMetricData"
    return error_response_json("UnsupportedOperation", message, 400)


def _forget_pretended_types() -> None:
    """CloudFormation then refuses the stack and names the type."""
    from ministack.services.cloudformation import provisioners

    for name in PRETENDED_TYPES:
        provisioners._RESOURCE_HANDLERS.pop(name, None)


def _pass_stack_tags_on() -> None:
    from ministack.services.cloudformation import provisioners

    if not hasattr(provisioners, "_STACK_TAG_PROPERTY"):
        _missing(provisioners, "_STACK_TAG_PROPERTY")
    provisioners._STACK_TAG_PROPERTY.update(STACK_TAGGED_TYPES)  # in place: other modules hold it by name


def _force_on_loop(app: ModuleType, module: ModuleType, names: tuple[str, ...]) -> None:
    for name in names:
        _replace(module, name, on_loop(lambda: app._MAIN_LOOP, getattr(module, name, None) or _missing(module, name)))


def _is_running_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _replace(module: ModuleType, name: str, value: Any) -> None:
    if not hasattr(module, name):
        _missing(module, name)
    setattr(module, name, value)


def _missing(module: ModuleType, name: str) -> Any:
    raise CloudError(f"{module.__name__}.{name} is gone: this MiniStack is not the pinned one")
