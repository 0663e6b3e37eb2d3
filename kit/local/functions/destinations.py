"""Send the records and events of asynchronous invocations to queues, topics, functions and event buses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import eventbridge, lambda_svc, sns, sqs

from kit.errors import KitError
from kit.local.functions.asynchronous import SUCCESS
from kit.local.functions.definition import split_arn
from kit.local.patching import require

require(sqs, "_act_send_message", "_queue_by_arn", "_Err")
require(sns, "publish_internal", "_topics")
require(eventbridge, "_put_events", "_ensure_default_bus")
require(lambda_svc, "_get_func_record_for_ref", "_execution_record_for_config")

Attributes = Mapping[str, Mapping[str, str]]
InvokeLater = Callable[[dict[str, Any], Any], None]


class NotDelivered(KitError):
    """The target does not exist, or refuses the message."""


def send(target: str, content: Any, function_arn: str, invoke_later: InvokeLater, attributes: Attributes) -> None:
    """Send `content` to a target, in the function's account and Region. Raises NotDelivered."""
    account, region, _, _ = split_arn(function_arn)
    service = target.split(":")[2] if target.count(":") >= 5 else ""
    with request_scope(account, region):
        if service == "sqs":
            _to_queue(target, content, attributes)
        elif service == "sns":
            _to_topic(target, content, attributes)
        elif service == "lambda":
            _to_function(target, content, invoke_later)
        elif service == "events":
            _to_bus(target, content, function_arn)
        else:
            raise NotDelivered(f"target {target} is no queue, topic, function or event bus")


def _to_queue(target: str, content: Any, attributes: Attributes) -> None:
    queue = sqs._queue_by_arn(target)
    if queue is None:
        raise NotDelivered(f"queue {target} does not exist")
    message = {"QueueUrl": queue["url"], "MessageBody": json.dumps(content), "MessageAttributes": dict(attributes)}
    try:
        sqs._act_send_message(message, queue["url"])
    except sqs._Err as error:
        raise NotDelivered(f"queue {target}: {error}") from error


def _to_topic(target: str, content: Any, attributes: Attributes) -> None:
    if sns._topics.get(target) is None:
        raise NotDelivered(f"topic {target} does not exist")
    try:
        sns.publish_internal(target, json.dumps(content), message_attributes=dict(attributes))
    except ValueError as error:
        raise NotDelivered(f"topic {target}: {error}") from error


def _to_function(target: str, content: Any, invoke_later: InvokeLater) -> None:
    function, config, _ = lambda_svc._get_func_record_for_ref(target)
    if not function or not config:
        raise NotDelivered(f"function {target} does not exist")
    invoke_later(lambda_svc._execution_record_for_config(function, config), content)


def _to_bus(target: str, content: Any, function_arn: str) -> None:
    succeeded = content.get("requestContext", {}).get("condition") == SUCCESS
    entry = {
        "Source": "lambda",
        "DetailType": f"Lambda Function Invocation Result - {'Success' if succeeded else 'Failure'}",
        "Resources": [target, function_arn],
        "Detail": json.dumps(content),
        "EventBusName": target.rpartition("/")[2],
    }
    eventbridge._ensure_default_bus()
    answer = eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
    result = json.loads(answer[2])
    if answer[0] >= 400 or result.get("FailedEntryCount"):
        raise NotDelivered(f"event bus {target}: {answer[2][:200]!r}")
