"""Task states: what they call, how calls fail, callbacks, heartbeats, time-outs, activities and jobs."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from kit.local.stepfunctions.errors import ApiError
from kit.local.stepfunctions.executions import Execution
from kit.local.stepfunctions.tasks.activities import take
from kit.local.stepfunctions.tasks.resources import parse
from kit.local.stepfunctions.tasks.sdk_calls import CallFailed
from tests.local.states_rig import FUNCTION, PREFIX, START, Rig, chain, events, one, play, run

OPTIMISED = "arn:aws:states:::"
SQS = {"QueueUrl": "http://127.0.0.1/q", "MessageBody.$": "$"}
CALLBACK = one(
    "Task", Resource=f"{OPTIMISED}sqs:sendMessage.waitForTaskToken", HeartbeatSeconds=20,
    Parameters={"QueueUrl": "http://127.0.0.1/q", "MessageBody": {"t.$": "$$.Task.Token"}},
)  # fmt: skip
ITEM = {"TableName": "t", "Key": {}}
NESTED = {"StateMachineArn": f"{PREFIX}stateMachine:inner", "Name": "n", "Input.$": "$"}


def invoke(**fields: Any) -> dict[str, Any]:
    parameters = {"FunctionName": "work", "Payload.$": "$"}
    return one("Task", **{"Resource": f"{OPTIMISED}lambda:invoke", "Parameters": parameters, **fields})


async def until(rig: Rig, execution: Execution, kind: str) -> None:
    """Let the engine go on until an event of this type."""
    while kind not in events(execution):
        assert execution.is_running, (execution.error, execution.cause)
        await rig.time.sleep(0)


# ---- calls


def test_a_function_is_invoked_and_its_result_is_parsed() -> None:
    answer = {"StatusCode": 200, "ExecutedVersion": "$LATEST", "Payload": '{"r": 1}'}
    execution = run(invoke(ResultSelector={"r.$": "$.Payload.r"}), {"i": 1}, lambda_Invoke=answer)
    assert execution.output == {"r": 1}
    assert events(execution)[2:5] == ["TaskScheduled", "TaskStarted", "TaskSucceeded"]


@pytest.mark.parametrize("resource", [FUNCTION, f"{OPTIMISED}lambda:invoke"])
def test_an_exception_of_a_function_keeps_its_class(resource: str) -> None:
    raised = json.dumps({"errorType": "Late", "errorMessage": "no"})
    answer = {"StatusCode": 200, "FunctionError": "Unhandled", "Payload": raised}
    catch = [{"ErrorEquals": ["Late"], "Next": "N"}]
    definition = chain(A={**invoke(Resource=resource, Catch=catch)["States"]["A"]}, N={"Type": "Pass"})
    definition["States"]["A"].pop("End")
    definition["States"]["A"]["Next"] = "N"
    assert run(definition, lambda_Invoke=answer).output == {"Error": "Late", "Cause": raised}


def test_a_payload_that_is_a_text_is_passed_on_as_json() -> None:
    def echo(parameters: Any) -> dict[str, Any]:
        return {"Payload": parameters["Payload"]}

    for given, wanted in (('{"a": 1}', {"a": 1}), ("plain", "plain"), (None, {}), ([1], [1])):
        definition = invoke(Parameters={"FunctionName": "work", "Payload.$": "$.p"}, OutputPath="$.Payload")
        assert run(definition, {"p": given}, lambda_Invoke=echo).output == wanted


@pytest.mark.parametrize(
    ("resource", "parameters", "code", "error"),
    [
        ("lambda:invoke", {"FunctionName": "f"}, "ResourceNotFoundException", "Lambda.ResourceNotFoundException"),
        ("lambda:invoke", {"FunctionName": "f"}, "Nobody", "Lambda.AWSLambdaException"),
        ("sqs:sendMessage", SQS, "AWS.SimpleQueueService.NonExistentQueue", "SQS.QueueDoesNotExistException"),
        ("sns:publish", {"Message": "m"}, "InvalidParameter", "SNS.InvalidParameterException"),
        ("dynamodb:getItem", ITEM, "ValidationException", "DynamoDB.AmazonDynamoDBException"),
        ("dynamodb:getItem", ITEM, "ThrottlingException", "DynamoDB.ThrottlingException"),
        ("aws-sdk:dynamodb:getItem", ITEM, "ValidationException", "DynamoDb.DynamoDbException"),
        ("aws-sdk:fis:getExperiment", {"Id": "e"}, "ResourceNotFoundException", "Fis.ResourceNotFoundException"),
        ("aws-sdk:s3:getObject", {"Bucket": "b", "Key": "k"}, "NoSuchKey", "S3.NoSuchKeyException"),
        ("aws-sdk:cloudwatchlogs:describeLogGroups", {}, "Nobody", "CloudWatchLogs.CloudWatchLogsException"),
    ],
)  # fmt: skip
def test_an_error_of_a_service_has_its_name(resource: str, parameters: dict[str, Any], code: str, error: str) -> None:
    failed = CallFailed(code, "no", status=400, request_id="r")
    definition = one("Task", Resource=OPTIMISED + resource, Parameters=parameters)
    called = parse(OPTIMISED + resource)
    assert called is not None
    answers: dict[str, Any] = {f"{called.service}_{called.operation}": failed}
    execution = run(definition, {}, **answers)
    assert (execution.status, execution.error) == ("FAILED", error)
    assert str(execution.cause).startswith("no (Service: ")
    assert "TaskFailed" in events(execution)


def test_a_queue_on_another_host_cannot_be_reached() -> None:
    definition = one(
        "Task", Resource=f"{OPTIMISED}sqs:sendMessage", Parameters={**SQS, "QueueUrl": "http://elsewhere/q"}
    )
    execution = run(definition, "m")
    assert execution.error == "SQS.SdkClientException"


def test_an_entry_that_eventbridge_refuses_fails_the_task() -> None:
    answer = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "MalformedDetail"}]}
    definition = one("Task", Resource=f"{OPTIMISED}events:putEvents", Parameters={"Entries": [{"Detail": {"a": 1}}]})

    async def script(rig: Rig) -> None:
        execution = rig.start(definition)
        await execution.ended.wait()
        assert execution.error == "EventBridge.FailedEntry"
        assert rig.calls.made == [("events:PutEvents", {"Entries": [{"Detail": '{"a":1}'}]})]

    play(script, events_PutEvents=answer)


def test_a_result_that_is_too_large_can_be_caught() -> None:
    execution = run(invoke(), lambda_Invoke={"Payload": json.dumps("x" * 270_000)})
    assert (execution.status, execution.error) == ("FAILED", "States.DataLimitExceeded")
    assert "TaskFailed" in events(execution)


def test_a_task_that_takes_too_long_times_out() -> None:
    async def script(rig: Rig) -> None:
        never = asyncio.get_running_loop().create_future()
        rig.calls.answers = {"lambda:Invoke": never}
        execution = rig.start(invoke(TimeoutSecondsPath="$.s"), {"s": 7})
        await execution.ended.wait()
        assert (execution.error, rig.time.now - START) == ("States.Timeout", 7)
        assert events(execution)[-2:] == ["TaskTimedOut", "ExecutionFailed"]

    play(script)


# ---- callbacks


def sent_token(rig: Rig) -> str:
    return json.loads(rig.calls.made[-1][1]["MessageBody"])["t"]


def test_a_callback_ends_the_task() -> None:
    async def script(rig: Rig) -> None:
        execution = rig.start(CALLBACK)
        await until(rig, execution, "TaskSubmitted")
        token = sent_token(rig)
        rig.engine.callbacks.find(token).succeed({"o": 1})
        await execution.ended.wait()
        assert execution.output == {"o": 1}
        with pytest.raises(ApiError) as raised:
            rig.engine.callbacks.find(token)
        assert raised.value.code == "TaskTimedOut"

    play(script, sqs_SendMessage={"MessageId": "m"})


def test_heartbeats_keep_a_task_alive_and_their_end_times_it_out() -> None:
    async def script(rig: Rig) -> None:
        execution = rig.start(CALLBACK)
        await until(rig, execution, "TaskSubmitted")
        for _ in range(5):
            await rig.time.sleep(15)
            rig.engine.callbacks.find(sent_token(rig)).beat()
        await execution.ended.wait()
        assert (execution.error, rig.time.now - START) == ("States.Timeout", 5 * 15 + 20)
        assert events(execution)[-2:] == ["TaskTimedOut", "ExecutionFailed"]

    play(script, sqs_SendMessage={"MessageId": "m"})


@pytest.mark.parametrize("name", ["States.HeartbeatTimeout", "States.Timeout"])
def test_a_missed_heartbeat_is_caught_by_either_name(name: str) -> None:
    task = {**CALLBACK["States"]["A"], "Catch": [{"ErrorEquals": [name], "Next": "N"}], "Next": "N"}
    del task["End"]
    execution = run(chain(A=task, N={"Type": "Pass"}), sqs_SendMessage={"MessageId": "m"})
    assert execution.status == "SUCCEEDED"


def test_a_failure_without_a_name_is_caught_by_all() -> None:
    async def script(rig: Rig) -> None:
        task = {**CALLBACK["States"]["A"], "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "N"}], "Next": "N"}
        del task["End"]
        execution = rig.start(chain(A=task, N={"Type": "Pass"}))
        await until(rig, execution, "TaskSubmitted")
        rig.engine.callbacks.find(sent_token(rig)).fail(None, None)
        await execution.ended.wait()
        assert execution.output == {"Error": None, "Cause": None}

    play(script, sqs_SendMessage={"MessageId": "m"})


def test_a_token_that_was_never_given_out_is_invalid() -> None:
    async def script(rig: Rig) -> None:
        with pytest.raises(ApiError) as raised:
            rig.engine.callbacks.find("nonsense")
        assert raised.value.code == "InvalidToken"

    play(script)


def test_an_activity_hands_its_task_to_a_worker() -> None:
    async def script(rig: Rig) -> None:
        activity = rig.engine.activities.create(f"{PREFIX}activity:a", "a", START, {})
        execution = rig.start(one("Task", Resource=activity.arn), {"i": 1})
        task = await take(activity, "me")
        assert task is not None
        assert json.loads(task.input) == {"i": 1}
        rig.engine.callbacks.find(task.token).succeed(2)
        await execution.ended.wait()
        assert execution.output == 2
        assert events(execution)[2:5] == ["ActivityScheduled", "ActivityStarted", "ActivitySucceeded"]

    play(script)


def test_a_task_that_timed_out_is_not_handed_out_any_more() -> None:
    async def script(rig: Rig) -> None:
        activity = rig.engine.activities.create(f"{PREFIX}activity:a", "a", START, {})
        execution = rig.start(one("Task", Resource=activity.arn, TimeoutSeconds=5))
        await execution.ended.wait()
        assert events(execution)[-2:] == ["ActivityTimedOut", "ExecutionFailed"]
        assert await take(activity, "me", poll_s=0.01) is None

    play(script)


# ---- jobs


@pytest.mark.parametrize(("pattern", "shown"), [("sync", '{"r":1}'), ("sync:2", {"r": 1})])
def test_a_nested_execution_is_awaited(pattern: str, shown: Any) -> None:
    async def script(rig: Rig) -> None:
        rig.machine(one(Result={"r": 1}), "inner")
        task = one("Task", Resource=f"{OPTIMISED}states:startExecution.{pattern}", Parameters=NESTED)
        execution = rig.start(task, {"i": 1})
        await execution.ended.wait()
        assert (execution.output["Status"], execution.output["Output"]) == ("SUCCEEDED", shown)
        assert "TaskSubmitted" in events(execution)

    play(script)


def test_a_nested_execution_that_fails_fails_the_task_with_its_description() -> None:
    async def script(rig: Rig) -> None:
        rig.machine(one("Fail", Error="E", Cause="c"), "inner")
        execution = rig.start(one("Task", Resource=f"{OPTIMISED}states:startExecution.sync", Parameters=NESTED))
        await execution.ended.wait()
        assert execution.error == "States.TaskFailed"
        assert json.loads(str(execution.cause))["Error"] == "E"

    play(script)


def test_a_stop_also_stops_a_nested_execution() -> None:
    async def script(rig: Rig) -> None:
        inner = rig.machine(one("Wait", Seconds=10_000), "inner")
        branch = {"StartAt": "T", "States": {"T": {"Type": "Task", "End": True, "Parameters": NESTED}}}
        branch["States"]["T"]["Resource"] = f"{OPTIMISED}states:startExecution.sync"
        execution = rig.start(one("Parallel", Branches=[branch]))
        await until(rig, execution, "TaskSubmitted")
        nested = next(each for each in rig.engine.all() if each.revision.arn == inner.arn)
        await rig.engine.stop(execution, None, None)
        await nested.ended.wait()
        assert (execution.status, nested.status) == ("ABORTED", "ABORTED")

    play(script)


def ecs_answers(*descriptions: dict[str, Any]) -> dict[str, Any]:
    looked_up = iter(descriptions)
    last = descriptions[-1]
    return {
        "ecs_RunTask": {"Tasks": [{"TaskArn": "arn:t"}], "Failures": []},
        "ecs_DescribeTasks": lambda _: {"Tasks": [{"TaskArn": "arn:t", **next(looked_up, last)}], "Failures": []},
        "ecs_StopTask": {},
    }


ECS = one("Task", Resource=f"{OPTIMISED}ecs:runTask.sync", Parameters={"TaskDefinition": "t", "Cluster": "c"})
RUNNING = {"LastStatus": "RUNNING"}


@pytest.mark.parametrize(
    ("end", "error"),
    [
        ({"StopCode": "EssentialContainerExited", "Containers": [{"ExitCode": 0}]}, None),
        ({"StopCode": "EssentialContainerExited", "Containers": [{"ExitCode": 3}]}, "States.TaskFailed"),
        ({"StopCode": "UserInitiated", "Containers": [{"ExitCode": 0}]}, "States.TaskFailed"),
        ({"StopCode": "TaskFailedToStart", "Containers": [{}]}, "States.TaskFailed"),
    ],
)
def test_an_ecs_task_is_awaited_and_judged_by_its_exit_code(end: dict[str, Any], error: str | None) -> None:
    execution = run(ECS, **ecs_answers(RUNNING, RUNNING, {"LastStatus": "STOPPED", **end}))
    assert execution.error == error
    if error is None:
        assert execution.output["LastStatus"] == "STOPPED"


def test_a_task_that_ecs_cannot_place_fails() -> None:
    answers = {**ecs_answers(RUNNING), "ecs_RunTask": {"Tasks": [], "Failures": [{"Reason": "CAPACITY"}]}}
    execution = run(ECS, **answers)
    assert execution.error == "AmazonECS.Unknown"
    assert events(execution)[-2:] == ["TaskSubmitFailed", "ExecutionFailed"]


@pytest.mark.parametrize("how", ["stop", "time-out"])
def test_an_ecs_task_that_nobody_awaits_is_stopped(how: str) -> None:
    async def script(rig: Rig) -> None:
        definition = {**ECS, "TimeoutSeconds": 60} if how == "time-out" else ECS
        execution = rig.start(definition)
        await until(rig, execution, "TaskSubmitted")
        if how == "stop":
            await rig.engine.stop(execution, None, None)
        await execution.ended.wait()
        await rig.time.sleep(1)
        assert [call for call in rig.calls.made if call[0] == "ecs:StopTask"] == [
            ("ecs:StopTask", {"Cluster": "c", "Task": "arn:t", "Reason": "The Step Functions task was stopped"})
        ]

    play(script, **ecs_answers(RUNNING))


def test_an_ecs_task_that_starts_while_its_execution_is_stopped_is_stopped_too() -> None:
    async def script(rig: Rig) -> None:
        answer = asyncio.get_running_loop().create_future()
        rig.calls.answers = {"ecs:RunTask": answer, "ecs:StopTask": {}}
        execution = rig.start(ECS)
        await until(rig, execution, "TaskStarted")
        await rig.time.sleep(0)
        await rig.engine.stop(execution, None, None)
        assert execution.status == "ABORTED"
        answer.set_result({"Tasks": [{"TaskArn": "arn:t"}], "Failures": []})
        await rig.time.sleep(1)
        assert [name for name, _ in rig.calls.made] == ["ecs:RunTask", "ecs:StopTask"]

    play(script)


def test_an_ecs_task_that_cannot_be_looked_at_is_not_given_up_at_once() -> None:
    end = {"LastStatus": "STOPPED", "StopCode": "EssentialContainerExited", "Containers": [{"ExitCode": 0}]}
    looks = iter([CallFailed("ThrottlingException", "slow down", status=400)] * 3)
    answers = ecs_answers(end)
    described = answers["ecs_DescribeTasks"]
    answers["ecs_DescribeTasks"] = lambda parameters: next(looks, None) or described(parameters)
    assert run(ECS, **answers).status == "SUCCEEDED"


# ---- starting


def test_starting_by_the_same_name_is_idempotent_while_it_runs() -> None:
    async def script(rig: Rig) -> None:
        revision = rig.machine(one("Wait", Seconds=60)).revision
        first = rig.engine.start(revision, "n", '{"a": 1}')
        assert rig.engine.start(revision, "n", '{"a":1}') is first
        with pytest.raises(ApiError, match="Execution Already Exists"):
            rig.engine.start(revision, "n", "{}")
        await first.ended.wait()
        with pytest.raises(ApiError, match="Execution Already Exists"):
            rig.engine.start(revision, "n", '{"a": 1}')

    play(script)


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("a b", "{}", "InvalidName"),
        ("n", "{", "InvalidExecutionInput"),
        ("n", '"' + "x" * 300_000 + '"', "InvalidExecutionInput"),
    ],
)
def test_a_bad_start_is_refused(name: str, text: str, code: str) -> None:
    async def script(rig: Rig) -> None:
        with pytest.raises(ApiError) as raised:
            rig.engine.start(rig.machine(one()).revision, name, text)
        assert raised.value.code == code

    play(script)
