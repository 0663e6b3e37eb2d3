"""A schedule calls any API that is served, with retries, and leaves a dead letter when it gives up."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from kit.local.eventbridge import schedule_delivery
from kit.local.eventbridge.schedule_delivery import CallFailed, RetryPolicy, deliver
from kit.local.eventbridge.schedule_targets import Occasion, TargetInvalid, call_of, check
from tests.polling import wait_until

ROLE = "arn:aws:iam::000000000000:role/r"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:q"
UNIVERSAL = "arn:aws:scheduler:::aws-sdk"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:f"
URL = "http://c/000000000000/q"
OCCASION = Occasion(schedule_arn="arn:s", scheduled_time="2026-01-01T00:00:00Z", execution_id="e", attempt=2)


@pytest.mark.parametrize(
    ("target", "service", "operation", "parameters"),
    [
        ({"Arn": QUEUE, "Input": "text"}, "sqs", "SendMessage", {"QueueUrl": URL, "MessageBody": "text"}),
        ({"Arn": QUEUE}, "sqs", "SendMessage", {"QueueUrl": URL, "MessageBody": '{"default": 1}'}),
        ({"Arn": f"{QUEUE}.fifo", "SqsParameters": {"MessageGroupId": "g"}, "Input": "x"}, "sqs", "SendMessage",
         {"QueueUrl": f"{URL}.fifo", "MessageBody": "x", "MessageGroupId": "g"}),
        ({"Arn": FUNCTION, "Input": "{}"}, "lambda", "Invoke",
         {"FunctionName": FUNCTION, "InvocationType": "Event", "Payload": "{}"}),
        ({"Arn": f"{UNIVERSAL}:sqs:sendMessage",
          "Input": '{"queueUrl": "u", "MessageBody": "<aws.scheduler.attempt-number>"}'},
         "sqs", "SendMessage", {"QueueUrl": "u", "MessageBody": "2"}),
        ({"Arn": f"{UNIVERSAL}:sfn:startExecution", "Input": '{"StateMachineArn": "m", "Input": "{}"}'},
         "stepfunctions", "StartExecution", {"stateMachineArn": "m", "input": "{}"}),
        ({"Arn": f"{UNIVERSAL}:fis:startExperiment", "Input": '{"ExperimentTemplateId": "t", "Tags": {"a": "b"}}'},
         "fis", "StartExperiment", {"experimentTemplateId": "t", "tags": {"a": "b"}}),
        ({"Arn": "arn:aws:events:us-east-1:000000000000:event-bus/b", "Input": "{}",
          "EventBridgeParameters": {"DetailType": "d", "Source": "s"}}, "events", "PutEvents",
         {"Entries": [{"EventBusName": "arn:aws:events:us-east-1:000000000000:event-bus/b", "DetailType": "d",
                       "Source": "s", "Detail": "{}"}]}),
    ],
)  # fmt: skip
def test_a_target_stands_for_a_call(
    target: dict[str, Any], service: str, operation: str, parameters: dict[str, Any]
) -> None:
    call = call_of(target, OCCASION, '{"default": 1}', "http://c")
    assert (call.service, call.operation, call.parameters) == (service, operation, parameters)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ({"Arn": f"{UNIVERSAL}:codebuild:startBuild", "Input": "{}"}, "codebuild:startBuild is not served here"),
        ({"Arn": f"{UNIVERSAL}:sqs:shout", "Input": "{}"}, "sqs:shout is not served here"),
        ({"Arn": f"{UNIVERSAL}:dynamodb:getItem", "Input": "{}"}, "read-only"),
        ({"Arn": f"{UNIVERSAL}:ec2:describeVpcs", "Input": "{}"}, "read-only"),
        ({"Arn": f"{UNIVERSAL}:sqs:sendMessage", "Input": "text"}, "well-formed JSON"),
        ({"Arn": f"{UNIVERSAL}:sqs:sendMessage", "Input": "[]"}, "must be a JSON object"),
        ({"Arn": f"{QUEUE}.fifo"}, "MessageGroupId is required"),
        ({"Arn": FUNCTION, "Input": "text"}, "well-formed JSON"),
        ({"Arn": "arn:aws:events:us-east-1:000000000000:event-bus/b"}, "EventBridgeParameters is required"),
        ({"Arn": "arn:aws:kinesis:us-east-1:000000000000:stream/s"}, "not in correct format"),
    ],
)
def test_a_target_that_cannot_be_called_is_refused(target: dict[str, Any], words: str) -> None:
    with pytest.raises(TargetInvalid, match=words):
        check(target)


def run(policy: RetryPolicy, *errors: CallFailed | None) -> tuple[Any, list[int], list[float]]:
    """Deliver against these errors; return what was given up, the attempts, and the waits."""
    now, attempts, waits, given = [0.0], [], [], iter(errors)

    async def call(attempt: int) -> None:
        attempts.append(attempt)
        if (error := next(given)) is not None:
            raise error

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    return asyncio.run(deliver(call, policy, clock=lambda: now[0], sleep=sleep)), attempts, waits


def failed(may_retry: bool = True) -> CallFailed:
    return CallFailed("Code", "words", may_retry=may_retry)


def test_a_call_is_repeated_until_it_succeeds() -> None:
    assert run(RetryPolicy(), failed(), failed(), None) == (None, [1, 2, 3], [1.0, 2.0])


@pytest.mark.parametrize(
    ("policy", "errors", "exhausted", "retries"),
    [
        (RetryPolicy(retries=0), [failed()], "MaximumRetryAttempts", 0),
        (RetryPolicy(retries=2), [failed()] * 3, "MaximumRetryAttempts", 2),
        (RetryPolicy(age_s=5), [failed()] * 9, "MaximumEventAge", 2),
        (RetryPolicy(), [failed(may_retry=False)], "", 0),
    ],
)
def test_a_call_is_given_up_by_its_policy(
    policy: RetryPolicy, errors: list[CallFailed], exhausted: str, retries: int
) -> None:
    given_up, _, _ = run(policy, *errors)
    assert (given_up.exhausted, given_up.retries) == (exhausted, retries)
    attributes = schedule_delivery.dead_letter_attributes(given_up, {"SCHEDULE_ARN": "arn:s"})
    assert attributes["ERROR_CODE"] == {"DataType": "String", "StringValue": "Code"}
    assert ("EXHAUSTED_RETRY_CONDITION" in attributes) == bool(exhausted)


def test_a_schedule_is_read_with_its_policy() -> None:
    target = {"RetryPolicy": {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}}
    assert RetryPolicy.of(target) == RetryPolicy(retries=0, age_s=60)
    assert RetryPolicy.of({}) == RetryPolicy(retries=185, age_s=86_400)


@pytest.mark.slow
def test_universal_targets_are_called_and_leave_dead_letters(cloud: Any) -> None:
    """The Scheduler looks at its schedules every ten seconds."""
    sqs, scheduler, name = cloud.client("sqs"), cloud.client("scheduler"), f"schedule-{uuid.uuid4().hex[:6]}"
    url, dead = (sqs.create_queue(QueueName=f"{name}-{each}")["QueueUrl"] for each in ("called", "dead"))
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    at = (datetime.now(UTC) - timedelta(seconds=1)).strftime("at(%Y-%m-%dT%H:%M:%S)")
    common = {"ScheduleExpression": at, "FlexibleTimeWindow": {"Mode": "OFF"}, "ActionAfterCompletion": "DELETE"}

    def schedule(kind: str, queue: str) -> None:
        given = json.dumps({"QueueUrl": queue, "MessageBody": "<aws.scheduler.schedule-arn>"})
        target = {
            "Arn": f"{UNIVERSAL}:sqs:sendMessage", "RoleArn": ROLE, "Input": given,
            "DeadLetterConfig": {"Arn": arn}, "RetryPolicy": {"MaximumRetryAttempts": 0},
        }  # fmt: skip
        scheduler.create_schedule(Name=f"{name}-{kind}", Target=target, **common)

    schedule("works", url)
    schedule("fails", f"{url}-gone")

    def received(queue: str) -> list[Any]:
        return sqs.receive_message(QueueUrl=queue, MessageAttributeNames=["All"]).get("Messages", [])

    (called,) = wait_until(lambda: received(url), "the target is called")
    assert called["Body"].endswith(f":schedule/default/{name}-works")
    (letter,) = wait_until(lambda: received(dead), "the dead letter arrives")
    attributes = {key: each["StringValue"] for key, each in letter["MessageAttributes"].items()}
    assert attributes["SCHEDULE_ARN"].endswith(f"{name}-fails") and "NonExistentQueue" in attributes["ERROR_CODE"]


def test_a_schedule_with_a_target_that_is_not_served_is_refused(cloud: Any) -> None:
    target = {"Arn": f"{UNIVERSAL}:codebuild:startBuild", "RoleArn": ROLE, "Input": "{}"}
    with pytest.raises(ClientError, match="codebuild:startBuild is not served here"):
        cloud.client("scheduler").create_schedule(
            Name="unserved", ScheduleExpression="rate(1 hour)", FlexibleTimeWindow={"Mode": "OFF"}, Target=target
        )
