"""A function of the local Lambda answers, fails and ends as AWS's does, and leaves nothing."""

from __future__ import annotations

import base64
import json
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.function_rig import Function, archive, is_running
from tests.local.test_local_cloudformation_properties import create
from tests.polling import wait_until


@pytest.fixture(scope="module")
def tried(cloud: Any) -> Function:
    return Function(cloud)


def test_an_event_is_answered_in_a_warm_environment(cloud: Any, tried: Function) -> None:
    first, _ = tried.invoke({"n": 1})
    second, error = tried.invoke({"n": 2})
    assert (second["event"], error, second["pid"]) == ({"n": 2}, "", first["pid"])
    assert second["runs"] == first["runs"] + 1
    assert (second["arn"], second["version"], second["memory"]) == (tried.arn, "$LATEST", "128")
    assert 0 < second["left_ms"] <= 10_000
    assert Path(second["home"]).is_relative_to(cloud.state_dir)


@pytest.mark.parametrize("event", ["text", 5, [1, {"a": None}], None, {"_x": "ä\U0001f600"}])
def test_an_event_is_any_json(cloud: Any, event: Any) -> None:
    echo = _shared(cloud, "def handler(event, context):\n    return event\n")
    answer = echo.client.invoke(FunctionName=echo.name, Payload=json.dumps(event))
    assert json.loads(answer["Payload"].read()) == event


_made: dict[str, Function] = {}


def _shared(cloud: Any, source: str, **settings: Any) -> Function:
    """Return a function with this source that the tests share."""
    if source not in _made:
        _made[source] = Function(cloud, source, **settings)
    return _made[source]


def test_an_exception_is_told_by_its_class(tried: Function) -> None:
    """Type, words and stack trace, as a state machine's Catch matches them."""
    body, error = tried.invoke({"do": "raise", "words": "no stock"})
    assert (body["errorType"], body["errorMessage"], error) == ("MyError", "no stock", "Unhandled")
    assert len(body["stackTrace"]) == 1 and "raise MyError" in body["stackTrace"][0]
    assert len(body["requestId"]) == 36
    # The environment survives an exception.
    pid = tried.invoke()[0]["pid"]
    tried.invoke({"do": "raise", "words": ""})
    assert tried.invoke()[0]["pid"] == pid


@pytest.mark.parametrize(
    ("source", "handler", "kind", "words"),
    [
        ("import nope_nope\n", "app.handler", "Runtime.ImportModuleError", "Unable to import module 'app': No module"),
        ("x = 1\n", "app.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
        ("def handler(:\n", "app.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app'"),
        ("raise KeyError('gone')\n", "app.handler", "KeyError", "'gone'"),
        ("import sys\nsys.exit(3)\n", "app.handler", "Runtime.ExitError", "exited with error: exit status 3"),
    ],
)
def test_code_that_cannot_be_loaded_is_told_by_lambdas_types(
    cloud: Any, source: str, handler: str, kind: str, words: str
) -> None:
    function = Function(cloud, source, handler)
    body, error = function.invoke()
    assert (body["errorType"], error) == (kind, "Unhandled")
    assert words in body["errorMessage"]
    assert function.metric("Errors") == 1


@pytest.mark.parametrize(
    ("event", "kind", "words"),
    [
        ({"do": "exit", "code": 4}, "Runtime.ExitError", "exit status 4"),
        ({"do": "exit", "code": 0}, "Runtime.ExitError", "without providing a reason"),
        ({"do": "kill"}, "Runtime.ExitError", "signal: killed"),
        ({"do": "eat", "mb": 400}, "Runtime.OutOfMemory", "signal: killed"),
        ({"do": "set"}, "Runtime.MarshalError", "Object of type set is not JSON serializable"),
        ({"do": "large", "size": 6 * 1024 * 1024 + 200}, "Function.ResponseSizeTooLarge", "exceeded maximum"),
    ],
)
def test_an_end_without_an_answer_is_told_by_lambdas_types(
    tried: Function, event: dict[str, Any], kind: str, words: str
) -> None:
    """The next invocation has an environment that works."""
    body, error = tried.invoke(event)
    assert (body["errorType"], error) == (kind, "Unhandled")
    assert words in body["errorMessage"]
    assert tried.invoke()[1] == ""


def test_a_function_is_killed_at_its_time_out(cloud: Any) -> None:
    """With everything that it started; the log says so."""
    function = Function(cloud, Timeout=1)
    left = function.invoke({"do": "leave"})[0]
    began = time.monotonic()
    body, error = function.invoke({"do": "sleep", "s": 30})
    assert 0.9 < time.monotonic() - began < 10
    assert (body["errorType"], error) == ("Sandbox.Timedout", "Unhandled")
    assert body["errorMessage"].endswith("Task timed out after 1.00 seconds")
    wait_until(lambda: not is_running(left["pid"]) and not is_running(left["child"]), "its processes have ended")
    log = function.log()
    assert any("Task timed out after 1.00 seconds" in line for line in log)
    assert any(line.startswith("REPORT") and "Status: timeout" in line for line in log)


def test_the_log_has_what_was_printed_between_the_lines_of_the_platform(cloud: Any) -> None:
    """Each environment has a log stream, which its context names; LogType=Tail answers the end of it."""
    function = Function(cloud)
    answer = function.client.invoke(FunctionName=function.name, LogType="Tail", Payload=json.dumps(
        {"do": "print", "words": "first\nsecond"}))  # fmt: skip
    lines = function.log()
    assert [line.split(" ")[0] for line in lines] == [
        "START",
        "first",
        "second",
        *[each.split(" ")[0] for each in lines[3:]],
    ]
    assert lines[3].startswith("[WARNING]\t") and lines[3].endswith("\ttold by logging")
    assert lines[4] == "told by a child" and lines[5].startswith("END RequestId: ")
    assert "Max Memory Used: 0 MB" not in lines[6] and "Init Duration: " in lines[6]
    assert base64.b64decode(answer["LogResult"]).decode().splitlines() == lines
    stream = function.invoke()[0]["stream"]
    logs = cloud.client("logs")
    streams = logs.describe_log_streams(logGroupName=f"/aws/lambda/{function.name}")["logStreams"]
    assert [each["logStreamName"] for each in streams] == [stream]


def test_every_function_is_its_role(cloud: Any, tried: Function) -> None:
    """STS names the role and the function; the key is no account's, and is refused when the environment is gone."""
    who = tried.invoke({"do": "who"})[0]
    assert who["arn"] == f"arn:aws:sts::000000000000:assumed-role/tried/{tried.name}"
    assert who["key"].startswith("ASIA") and who["account"] == "000000000000"


def test_metrics_count_invocations_whoever_makes_them(cloud: Any) -> None:
    """A throttle is neither an invocation nor an error."""
    function = Function(cloud)
    function.invoke()
    function.invoke({"do": "raise", "words": "x"})
    function.client.invoke(FunctionName=function.name, InvocationType="Event", Payload=b"{}")
    topic = cloud.client("sns").create_topic(Name=function.name)["TopicArn"]
    cloud.client("sns").subscribe(TopicArn=topic, Protocol="lambda", Endpoint=function.arn)
    cloud.client("sns").publish(TopicArn=topic, Message="m")
    wait_until(lambda: function.metric("Invocations") == 4, "all invocations are counted")
    function.client.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError) as caught:
        function.invoke()
    assert caught.value.response["Error"]["Code"] == "TooManyRequestsException"
    found = {name: function.metric(name) for name in ("Invocations", "Errors", "Throttles")}
    assert found == {"Invocations": 4, "Errors": 1, "Throttles": 1}
    assert function.metric("Duration", "SampleCount") == 4
    assert function.metric("ConcurrentExecutions", "Maximum") >= 1


def test_reserved_concurrency_holds_for_versions_too(cloud: Any) -> None:
    """Invocations beyond it are throttled at once, and none waits."""
    function = Function(cloud)
    version = function.client.publish_version(FunctionName=function.name)["Version"]
    function.client.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=1)
    busy = threading.Thread(target=function.invoke, args=({"do": "sleep", "s": 1.5},), kwargs={"Qualifier": version})
    busy.start()
    wait_until(lambda: function.log() if _has_log(function) else [], "the first one runs")
    with pytest.raises(ClientError, match="Rate Exceeded"):
        function.invoke(Qualifier=version)
    busy.join()
    assert function.invoke(Qualifier=version)[1] == ""


def _has_log(function: Function) -> bool:
    groups = function.cloud.client("logs").describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{function.name}")
    return bool(groups["logGroups"])


def queue(cloud: Any, name: str, **attributes: str) -> tuple[str, str]:
    sqs = cloud.client("sqs")
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def message(cloud: Any, url: str) -> dict[str, Any]:
    sqs = cloud.client("sqs")
    received = wait_until(
        lambda: sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"]).get("Messages"), "a message arrives"
    )
    return received[0]


def test_a_failed_event_is_retried_and_retained(cloud: Any) -> None:
    """Twice, then its record goes to the destination, and the event itself to the dead-letter queue."""
    name = f"retained-{uuid.uuid4().hex[:6]}"
    (failed_url, failed), (dead_url, dead) = queue(cloud, f"{name}-failed"), queue(cloud, f"{name}-dead")
    function = Function(cloud, DeadLetterConfig={"TargetArn": dead})
    function.client.put_function_event_invoke_config(
        FunctionName=function.name, DestinationConfig={"OnFailure": {"Destination": failed}}
    )
    event = {"do": "raise", "words": "no stock"}
    function.client.invoke(FunctionName=function.name, InvocationType="Event", Payload=json.dumps(event))
    record = json.loads(message(cloud, failed_url)["Body"])
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert (record["requestPayload"], record["responsePayload"]["errorType"]) == (event, "MyError")
    letter = message(cloud, dead_url)
    assert json.loads(letter["Body"]) == event
    attributes = {key: each["StringValue"] for key, each in letter["MessageAttributes"].items()}
    assert (attributes["ErrorMessage"], attributes["ErrorCode"]) == ("no stock", "200")
    assert attributes["RequestID"] == record["requestContext"]["requestId"] == record["responsePayload"]["requestId"]
    assert function.metric("Invocations") == 3 and function.metric("AsyncEventsDropped") == 1


def test_a_success_is_recorded_where_it_is_asked_for(cloud: Any) -> None:
    url, arn = queue(cloud, f"success-{uuid.uuid4().hex[:6]}")
    function = Function(cloud)
    function.client.put_function_event_invoke_config(
        FunctionName=function.name, DestinationConfig={"OnSuccess": {"Destination": arn}}
    )
    function.client.invoke(FunctionName=function.name, InvocationType="Event", Payload=b'{"n": 7}')
    record = json.loads(message(cloud, url)["Body"])
    assert record["requestContext"]["condition"] == "Success" and record["responsePayload"]["event"] == {"n": 7}


def test_payloads_are_bounded_and_json(tried: Function) -> None:
    for kind, payload, code in (
        ("RequestResponse", b'"' + b"x" * (6 * 1024 * 1024) + b'"', "RequestEntityTooLargeException"),
        ("Event", b'"' + b"x" * (1024 * 1024) + b'"', "RequestEntityTooLargeException"),
        ("RequestResponse", b"{'n': 1}", "InvalidRequestContentException"),
    ):
        with pytest.raises(ClientError) as caught:
            tried.client.invoke(FunctionName=tried.name, InvocationType=kind, Payload=payload)
        assert caught.value.response["Error"]["Code"] == code


def test_a_changed_function_runs_its_new_code(cloud: Any) -> None:
    function = Function(cloud, "def handler(event, context):\n    return 1\n")
    assert function.invoke()[0] == 1
    changed = archive("def handler(event, context):\n    return 2\n")
    function.client.update_function_code(FunctionName=function.name, ZipFile=changed)
    assert function.invoke()[0] == 2


def test_what_a_function_refers_to_must_exist(cloud: Any) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"VpcConfig": {"SubnetIds": ["subnet-gone"], "SecurityGroupIds": ["sg-gone"]}}, "subnet-gone"),
        ({"VpcConfig": {"SubnetIds": ["subnet-gone"]}}, "must coexist"),
        ({"Code": {"S3Bucket": "gone", "S3Key": "code.zip"}}, "NoSuchKey"),
        ({"Runtime": "nodejs20.x"}, "not served here"),
    ]
    for settings, words in refused:
        with pytest.raises(ClientError, match=words):
            Function(cloud, **settings)


def test_a_function_of_a_stack_has_every_property(cloud: Any) -> None:
    """Inline code runs; properties that its provisioner of MiniStack does not read take effect, too."""
    function = {
        "FunctionName": f"of-stack-{uuid.uuid4().hex[:6]}", "Runtime": "python3.12", "Handler": "index.handler",
        "Role": "arn:aws:iam::000000000000:role/r", "Timeout": "7", "ReservedConcurrentExecutions": "0",
        "Code": {"ZipFile": "def handler(event, context):\n    return 'inline'\n"},
        "Tags": [{"Key": "a", "Value": "b"}],
    }  # fmt: skip
    stack, name = f"function-{uuid.uuid4().hex[:6]}", str(function["FunctionName"])
    resource = {"Type": "AWS::Lambda::Function", "Properties": function}
    cloudformation, reasons = create(cloud, stack, {"F": resource})
    assert reasons == []
    client = cloud.client("lambda")
    described = client.get_function(FunctionName=name)
    assert (described["Configuration"]["Timeout"], described["Tags"]["a"]) == (7, "b")
    with pytest.raises(ClientError, match="Rate Exceeded"):
        client.invoke(FunctionName=name)
    del function["ReservedConcurrentExecutions"]
    cloudformation.update_stack(StackName=stack, TemplateBody=json.dumps({"Resources": {"F": resource}}))
    waiter = cloudformation.get_waiter("stack_update_complete")
    waiter.wait(StackName=stack, WaiterConfig={"Delay": 0.2, "MaxAttempts": 50})
    assert client.invoke(FunctionName=name)["Payload"].read() == b'"inline"'
    network = {"SubnetIds": ["subnet-gone"], "SecurityGroupIds": ["sg-x"]}
    placed = {**function, "FunctionName": f"{name}-x", "VpcConfig": network}
    _, reasons = create(cloud, f"{stack}-gone", {"F": {**resource, "Properties": placed}})
    assert any("subnet-gone" in reason for reason in reasons), reasons


CUSTOM = """
import json
import urllib.request

def handler(event, context):
    body = {"Status": "SUCCESS", "PhysicalResourceId": "made", "Data": {"Answer": "42"}}
    body |= {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
    request = urllib.request.Request(event["ResponseURL"], data=json.dumps(body).encode(), method="PUT")
    urllib.request.urlopen(request, timeout=5).close()
"""


def test_a_custom_resource_is_made_by_its_function(cloud: Any) -> None:
    """The function answers to the presigned URL that it is given."""
    function, stack = Function(cloud, CUSTOM), f"custom-{uuid.uuid4().hex[:6]}"
    resource = {"Type": "Custom::Answer", "Properties": {"ServiceToken": function.arn}}
    cloudformation, reasons = create(cloud, stack, {"C": resource})
    assert reasons == []
    found = cloudformation.describe_stack_resource(StackName=stack, LogicalResourceId="C")["StackResourceDetail"]
    assert found["PhysicalResourceId"] == "made" and function.metric("Invocations") == 1


def test_a_queues_messages_are_worked_off_by_the_function(cloud: Any) -> None:
    """The invocations of an event source are counted, too."""
    function, (url, arn) = Function(cloud), queue(cloud, f"source-{uuid.uuid4().hex[:6]}")
    mapping = function.client.create_event_source_mapping(EventSourceArn=arn, FunctionName=function.name)["UUID"]
    try:
        cloud.client("sqs").send_message(QueueUrl=url, MessageBody="m")
        wait_until(lambda: function.metric("Invocations") == 1, "the function was invoked")
    finally:
        function.client.delete_event_source_mapping(UUID=mapping)


REFUSING = """
def handler(event, context):
    counts = {each["messageId"]: int(each["attributes"]["ApproximateReceiveCount"]) for each in event["Records"]}
    bodies = {each["messageId"]: each["body"] for each in event["Records"]}
    print(sorted((bodies[one], count) for one, count in counts.items()))
    if any(bodies[one] == "at-first" and count == 1 for one, count in counts.items()):
        raise RuntimeError("not yet")
    return {"batchItemFailures": [{"itemIdentifier": one} for one in bodies if bodies[one] == "never"]}
"""


WARM_UPS = 1


def _refusing(cloud: Any) -> Function:
    """Return a function whose environment is up, so that an invocation takes less than the visibility timeout."""
    function = Function(cloud, REFUSING, Timeout=1)
    for _ in range(WARM_UPS):
        assert function.invoke({"Records": []}) == ({"batchItemFailures": []}, "")
    return function


def test_a_message_whose_invocation_failed_is_worked_off_again(cloud: Any) -> None:
    """It comes again after its visibility timeout, with its count, and is gone when an invocation succeeds."""
    function = _refusing(cloud)
    url, arn = queue(cloud, f"again-{uuid.uuid4().hex[:6]}", VisibilityTimeout="1")
    cloud.client("sqs").send_message(QueueUrl=url, MessageBody="at-first")
    mapping = function.client.create_event_source_mapping(EventSourceArn=arn, FunctionName=function.name)["UUID"]
    try:
        wait_until(lambda: function.metric("Invocations") == WARM_UPS + 2, "the function was invoked again")
        wait_until(lambda: kept(cloud, url) == 0, "the message is gone")
    finally:
        function.client.delete_event_source_mapping(UUID=mapping)
    assert [line for line in function.log() if "at-first" in line] == ["[('at-first', 1)]", "[('at-first', 2)]"]
    assert function.metric("Errors") == 1


def test_only_the_refused_message_of_a_batch_comes_again_until_it_is_a_dead_letter(cloud: Any) -> None:
    """After as many receives as its queue's redrive policy allows."""
    function, name = _refusing(cloud), f"batch-{uuid.uuid4().hex[:6]}"
    dead_url, dead_arn = queue(cloud, f"{name}-dead")
    redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 2})
    url, arn = queue(cloud, name, VisibilityTimeout="1", RedrivePolicy=redrive)
    entries = [{"Id": body, "MessageBody": body} for body in ("never", "taken")]
    cloud.client("sqs").send_message_batch(QueueUrl=url, Entries=entries)
    mapping = function.client.create_event_source_mapping(
        EventSourceArn=arn, FunctionName=function.name, FunctionResponseTypes=["ReportBatchItemFailures"]
    )["UUID"]
    try:
        assert message(cloud, dead_url)["Body"] == "never"
    finally:
        function.client.delete_event_source_mapping(UUID=mapping)
    assert [line for line in function.log() if "never" in line] == ["[('never', 1), ('taken', 1)]", "[('never', 2)]"]
    assert (kept(cloud, url), function.metric("Errors")) == (0, 0)


def kept(cloud: Any, url: str) -> int:
    """Return how many messages a queue holds, visible or not."""
    names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    told = cloud.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=list(names))["Attributes"]
    return sum(int(told[name]) for name in names)
