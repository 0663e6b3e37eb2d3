"""Test faults in Lambda invocations: delays, errors and replaced answers, however the function was invoked."""

from __future__ import annotations

import io
import json
import time
import uuid
import zipfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from kit.local.fis.journal import FILE_NAME
from tests.local.fis_rig import FisRig
from tests.polling import CLOCK_STEP_S, wait_until

pytestmark = pytest.mark.slow

ROLE = "arn:aws:iam::000000000000:role/lambda"
PROGRAM = Path(__file__).with_name("programs") / "recording_function.py"
PREPARED = {
    "AWS_FIS_CONFIGURATION_LOCATION": "arn:aws:s3:::faults/fis/",
    "AWS_LAMBDA_EXEC_WRAPPER": "/opt/aws-fis/bootstrap",
}


class Function:
    """A function with a name of its own, which is also its tag."""

    def __init__(self, rig: FisRig, folder: Any, timeout_s: int = 3, environment: dict[str, str] | None = None) -> None:
        self.rig = rig
        self.name = f"f-{uuid.uuid4().hex[:8]}"
        self.ran = folder / self.name
        self.client = rig.cloud.client("lambda")
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.write(PROGRAM, "app.py")
        variables = {"RAN": str(self.ran), **(PREPARED if environment is None else environment)}
        self.arn = self.client.create_function(
            FunctionName=self.name, Runtime="python3.11", Role=ROLE, Handler="app.handler", Timeout=timeout_s,
            Code={"ZipFile": buffer.getvalue()}, Environment={"Variables": variables}, Tags={"Name": self.name},
        )["FunctionArn"]  # fmt: skip

    def runs(self) -> int:
        return self.ran.stat().st_size if self.ran.exists() else 0

    def invoke(self, **more: Any) -> tuple[float, dict[str, Any], str]:
        """Invoke the function. Return the duration, the answer and the kind of error."""
        began_at = time.perf_counter()
        answer = self.client.invoke(FunctionName=self.name, Payload=b'{"n": 1}', **more)
        body = json.loads(answer["Payload"].read() or b"null")
        return time.perf_counter() - began_at, body, answer.get("FunctionError", "")

    def template(self, kind: str, target: dict[str, Any] | None = None, **parameters: str) -> dict[str, Any]:
        functions = {"resourceType": "aws:lambda:function", "resourceTags": {"Name": self.name}, "selectionMode": "ALL"}
        action = {
            "actionId": f"aws:lambda:invocation-{kind}", "targets": {"Functions": "Functions"},
            "parameters": {"duration": "PT1M", **parameters},
        }  # fmt: skip
        return {"actions": {"hit": action}, "targets": {"Functions": {**functions, **(target or {})}}}

    def fault(self, kind: str, target: dict[str, Any] | None = None, **parameters: str) -> AbstractContextManager[None]:
        return self.rig.held(**self.template(kind, target, **parameters))


@pytest.fixture(scope="module")
def rig(start_cloud: Any) -> FisRig:
    # A cloud of its own: the journal is looked at as a whole.
    return FisRig(start_cloud())


@pytest.fixture(scope="module")
def function(rig: FisRig, tmp_path_factory: pytest.TempPathFactory) -> Function:
    made = Function(rig, tmp_path_factory.mktemp("ran"))
    made.invoke()
    return made


def test_a_delay_makes_every_invocation_late(function: Function) -> None:
    """Each invocation is late by the whole delay; after the experiment none is late."""
    with function.fault("add-delay", startupDelayMilliseconds="700"):
        took_s, answer, error = function.invoke()
        assert (answer, error) == ({"echo": {"n": 1}}, "")
        assert took_s >= 0.7 - CLOCK_STEP_S
    assert min(function.invoke()[0] for _ in range(3)) < 0.5


def test_a_delay_beyond_the_functions_time_is_its_time_out(rig: FisRig, tmp_path: Any) -> None:
    """The invocation ends at the function's time-out, and its code does not run."""
    function = Function(rig, tmp_path, timeout_s=1)
    with function.fault("add-delay", startupDelayMilliseconds="30000"):
        took_s, answer, error = function.invoke()
    assert answer.get("errorType"), (took_s, answer, error)
    assert (answer["errorType"], error, function.runs()) == ("Sandbox.Timedout", "Unhandled", 0)
    assert 1.0 - CLOCK_STEP_S <= took_s < 20.0


@pytest.mark.parametrize(("prevent", "runs"), [("true", 0), ("false", 1)])
def test_an_error_marks_the_invocation_failed(function: Function, prevent: str, runs: int) -> None:
    """The function's code runs before, or is prevented, as the parameter demands."""
    before = function.runs()
    with function.fault("error", preventExecution=prevent):
        _, answer, error = function.invoke()
    assert error == "Unhandled" and "AWS FIS" in answer["errorMessage"]
    assert function.runs() - before == runs
    assert function.invoke()[2] == ""


def test_an_http_answer_takes_the_place_of_the_functions_own(function: Function) -> None:
    """The answer has the status and content type of the template."""
    parameters: Any = {"statusCode": "503", "contentTypeHeader": "text/html", "preventExecution": "true"}
    with function.fault("http-integration-response", **parameters):
        _, answer, error = function.invoke()
    assert (answer["statusCode"], answer["headers"], error) == (503, {"Content-Type": "text/html"}, "")


def test_a_percentage_hits_that_share(function: Function) -> None:
    """Some of 30 invocations are hit, and the seed decides which."""
    with function.fault("error", preventExecution="true", invocationPercentage="50"):
        errors = [function.invoke()[2] for _ in range(30)]
    assert 5 <= errors.count("Unhandled") <= 25


def test_a_qualifier_hits_the_invocations_that_name_it(function: Function) -> None:
    """Invocations of the alias are hit, invocations without a qualifier are not."""
    version = function.client.publish_version(FunctionName=function.name)["Version"]
    function.client.create_alias(FunctionName=function.name, Name="live", FunctionVersion=version)
    with function.fault("error", {"parameters": {"functionQualifier": "live"}}, preventExecution="true"):
        assert function.invoke(Qualifier="live")[2] == "Unhandled"
        assert function.invoke()[2] == ""
    assert function.invoke(Qualifier="live")[2] == ""


def test_the_fault_also_hits_event_sources_and_step_functions(function: Function) -> None:
    """A queue's message does not run the code while the fault prevents it, and a state machine gets the error."""
    sqs, states = (function.rig.cloud.client(each) for each in ("sqs", "stepfunctions"))
    queue_url = sqs.create_queue(QueueName=function.name, Attributes={"VisibilityTimeout": "1"})["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    task = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": True}
    task["Parameters"] = {"FunctionName": function.arn, "Payload": {"n": 2}}  # type: ignore[assignment]
    machine = states.create_state_machine(
        name=function.name, roleArn=ROLE, definition=json.dumps({"StartAt": "Call", "States": {"Call": task}})
    )["stateMachineArn"]

    def execute() -> str:
        arn = states.start_execution(stateMachineArn=machine)["executionArn"]
        wait_until(lambda: states.describe_execution(executionArn=arn)["status"] != "RUNNING", "execution ended")
        return states.describe_execution(executionArn=arn)["status"]

    before = function.runs()
    mapping = function.client.create_event_source_mapping(EventSourceArn=queue, FunctionName=function.name)["UUID"]
    try:
        with function.fault("error", preventExecution="true"):
            sqs.send_message(QueueUrl=queue_url, MessageBody="m")
            assert execute() == "FAILED"
            time.sleep(1.5)
            assert function.runs() == before
        wait_until(lambda: function.runs() > before, "the message is worked off")
        assert execute() == "SUCCEEDED"
    finally:
        function.client.delete_event_source_mapping(UUID=mapping)


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({}, "AWS_FIS_CONFIGURATION_LOCATION=''"),
        ({**PREPARED, "AWS_FIS_CONFIGURATION_LOCATION": "s3://faults/fis"}, "'s3://faults/fis'"),
        ({**PREPARED, "AWS_LAMBDA_EXEC_WRAPPER": "/opt/other"}, "AWS_LAMBDA_EXEC_WRAPPER='/opt/other'"),
    ],
)
def test_a_function_that_is_not_prepared_for_fis_fails_the_experiment(
    rig: FisRig, tmp_path: Any, environment: dict[str, str], named: str
) -> None:
    """On AWS such a fault would have no effect or not start. Here the error names what is missing."""
    function = Function(rig, tmp_path, environment=environment)
    experiment = rig.run(**function.template("error", preventExecution="true"))
    assert experiment["state"]["error"]["code"] == "ConfigurationFailure"
    assert named in experiment["state"]["reason"]
    assert "remember" not in (rig.cloud.state_dir / FILE_NAME).read_text() or function.invoke()[2] == ""
