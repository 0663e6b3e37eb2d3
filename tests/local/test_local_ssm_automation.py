"""Automations through boto3: order, outputs, retries, time-outs, branches, failure, cancellation."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.ssm_rig import SsmRig, fail, put, runbook, sleep
from tests.polling import CLOCK_STEP_S, wait_until


@pytest.fixture(scope="module")
def rig(cloud: Any) -> SsmRig:
    return SsmRig(cloud)


@pytest.fixture
def mark() -> str:
    """The name of a parameter for one test."""
    return f"/mark/{uuid.uuid4().hex}"


def test_steps_run_in_order_and_pass_on_their_outputs(rig: SsmRig, mark: str) -> None:
    """Parameters, outputs, globals and the execution's own id reach the calls."""
    get = {
        "name": "Get", "action": "aws:executeAwsApi",
        "inputs": {"Service": "ssm", "Api": "get_parameter", "Name": "{{ Mark }}"},
        "outputs": [
            {"Name": "Value", "Selector": "$.Parameter.Value", "Type": "String"},
            {"Name": "Version", "Selector": "$.Parameter.Version", "Type": "Integer"},
        ],
    }  # fmt: skip
    content = runbook(
        put("{{ Mark }}", "{{ Text }} in {{ global:REGION }}", "First"),
        get,
        put("{{ Mark }}", "{{ Get.Value }}, {{ Get.Version }}, {{ automation:EXECUTION_ID }}", "Last"),
        parameters={"Mark": {"type": "String"}, "Text": {"type": "String", "default": "here"}},
        outputs=["Get.Value", "Get.Version"],
    )
    execution = rig.run(content, Mark=mark)
    assert execution["AutomationExecutionStatus"] == "Success", execution
    assert execution["Outputs"] == {"Get.Value": ["here in us-east-1"], "Get.Version": ["1"]}
    assert rig.parameter(mark) == f"here in us-east-1, 1, {execution['AutomationExecutionId']}"
    first, second, last = execution["StepExecutions"]
    assert first["ExecutionEndTime"] <= second["ExecutionStartTime"] <= last["ExecutionStartTime"]
    assert second["Outputs"]["Value"] == ["here in us-east-1"]
    assert second["Inputs"]["Name"] == mark
    assert execution["ProgressCounters"]["SuccessSteps"] == 3


def test_a_failed_step_ends_the_automation(rig: SsmRig, mark: str) -> None:
    execution = rig.run(runbook(fail("Bad"), put(mark, "x", "Never")))
    assert execution["AutomationExecutionStatus"] == "Failed"
    assert "ParameterNotFound" in execution["FailureMessage"]
    assert rig.steps(execution["AutomationExecutionId"]) == {"Bad": "Failed", "Never": "Pending"}
    assert rig.parameter(mark) is None


@pytest.mark.parametrize(
    ("settings", "status", "value"),
    [
        ({"onFailure": "Continue"}, "Success", "next"),
        ({"onFailure": "Continue", "isCritical": True}, "Failed", "next"),
        ({"onFailure": "step:Other"}, "Failed", "other"),
        ({"onFailure": "step:Other", "isCritical": "false"}, "Success", "other"),
        ({"isEnd": True}, "Failed", None),
    ],
)
def test_on_failure_chooses_the_next_step(
    rig: SsmRig, mark: str, settings: dict[str, Any], status: str, value: str | None
) -> None:
    content = runbook(fail("Bad", **settings), put(mark, "next", "Next", isEnd=True), put(mark, "other", "Other"))
    assert rig.run(content)["AutomationExecutionStatus"] == status
    assert rig.parameter(mark) == value


def test_next_step_and_branch_choose_the_next_step(rig: SsmRig, mark: str) -> None:
    choose = {
        "name": "Choose", "action": "aws:branch",
        "inputs": {
            "Choices": [{"NextStep": "Big", "Variable": "{{ Size }}", "NumericGreater": 10}], "Default": "Small",
        },
    }  # fmt: skip
    content = runbook(
        sleep(0, "Begin", nextStep="Choose"),
        put(mark, "skipped", "Skipped"),
        choose,
        put(mark, "big", "Big", isEnd=True),
        put(mark, "small", "Small"),
        parameters={"Size": {"type": "Integer"}},
    )
    for size, expected in ((11, "big"), (10, "small")):
        assert rig.run(content, Size=size)["AutomationExecutionStatus"] == "Success"
        assert rig.parameter(mark) == expected


def test_a_step_is_retried_until_it_succeeds(rig: SsmRig, mark: str) -> None:
    """The parameter is created while the step is retried."""
    check = {
        "name": "Check", "action": "aws:assertAwsResourceProperty", "maxAttempts": 10,
        "inputs": {
            "Service": "ssm", "Api": "GetParameter", "Name": mark,
            "PropertySelector": "$.Parameter.Value", "DesiredValues": ["here"],
        },
    }  # fmt: skip
    execution_id = rig.in_step(rig.start(runbook(check)), "Check")
    rig.ssm.put_parameter(Name=mark, Value="here", Type="String")
    assert rig.end(execution_id)["AutomationExecutionStatus"] == "Success"


def test_waiting_for_a_property_ends_with_its_value_or_by_its_time_out(rig: SsmRig, mark: str) -> None:
    rig.ssm.put_parameter(Name=mark, Value="before", Type="String")

    def wait(timeout_s: int) -> dict[str, Any]:
        inputs = {
            "Service": "ssm", "Api": "GetParameter", "Name": mark, "PropertySelector": "$.Parameter.Value",
            "DesiredValues": ["after", "later"],
        }  # fmt: skip
        return {
            "name": "Wait", "action": "aws:waitForAwsResourceProperty", "inputs": inputs, "timeoutSeconds": timeout_s,
        }  # fmt: skip

    late = rig.run(runbook(wait(1)))
    assert (late["AutomationExecutionStatus"], late["StepExecutions"][0]["StepStatus"]) == ("TimedOut", "TimedOut")
    execution_id = rig.in_step(rig.start(runbook(wait(30))), "Wait")
    rig.ssm.put_parameter(Name=mark, Value="after", Type="String", Overwrite=True)
    assert rig.end(execution_id)["AutomationExecutionStatus"] == "Success"


def test_a_call_that_can_never_work_is_not_retried(rig: SsmRig) -> None:
    """An unknown service, operation or argument fails at once, whatever maxAttempts is."""
    for inputs, message in (
        ({"Service": "nosuch", "Api": "Get"}, "nosuch"),
        ({"Service": "ssm", "Api": "Nothing"}, "Nothing"),
        ({"Service": "ssm", "Api": "GetParameter", "Nome": "x"}, "Nome"),
        ({"Service": "s3", "Api": "GetObject", "Bucket": "b", "Key": "k"}, "streaming"),
    ):
        step = {"name": "Call", "action": "aws:executeAwsApi", "inputs": inputs, "maxAttempts": 10}
        begun = time.monotonic()
        execution = rig.run(runbook(step))
        assert (execution["AutomationExecutionStatus"], message in execution["FailureMessage"]) == ("Failed", True)
        assert time.monotonic() - begun < 4.5  # ten attempts would pause for that long


def test_a_sleep_is_never_too_short(rig: SsmRig) -> None:
    held = rig.run(runbook(sleep(0.4)))["StepExecutions"][0]
    assert (held["ExecutionEndTime"] - held["ExecutionStartTime"]).total_seconds() >= 0.4 - CLOCK_STEP_S


def test_cancelling_interrupts_a_sleep_and_runs_the_repair(rig: SsmRig, mark: str) -> None:
    content = runbook(
        put(mark, "changed", "Change", onCancel="step:Restore"),
        sleep(600, onCancel="step:Restore"),
        put(mark, "not this", "Skipped"),
        put(mark, "restored", "Restore"),
        sleep(0.2, "After"),
    )
    execution_id = rig.in_step(rig.start(content), "Hold")
    assert rig.parameter(mark) == "changed"
    rig.cancel(execution_id)
    assert rig.end(execution_id)["AutomationExecutionStatus"] == "Cancelled"
    assert rig.parameter(mark) == "restored"
    assert rig.steps(execution_id) == {
        "Change": "Success", "Hold": "Cancelled", "Skipped": "Pending", "Restore": "Success", "After": "Success",
    }  # fmt: skip
    with pytest.raises(ClientError, match="InvalidAutomationStatusUpdateException"):
        rig.cancel(execution_id)


def test_cancelling_during_a_repair_does_not_interrupt_it(rig: SsmRig, mark: str) -> None:
    """The step after the repair's sleep still runs."""
    content = runbook(
        sleep(0, "Change", onCancel="step:Settle"),
        sleep(0.5, "Settle"),
        put(mark, "restored", "Restore"),
    )
    execution_id = rig.in_step(rig.start(content), "Settle")
    rig.cancel(execution_id)
    rig.cancel(execution_id)
    assert rig.status(execution_id) == "Cancelling"
    assert rig.end(execution_id)["AutomationExecutionStatus"] == "Cancelled"
    assert rig.parameter(mark) == "restored"


def test_cancelling_without_a_repair_ends_at_once(rig: SsmRig, mark: str) -> None:
    execution_id = rig.in_step(rig.start(runbook(sleep(600), put(mark, "x", "Never"))), "Hold")
    rig.cancel(execution_id)
    assert rig.end(execution_id)["AutomationExecutionStatus"] == "Cancelled"
    assert rig.parameter(mark) is None


def test_completing_ends_without_the_repair(rig: SsmRig, mark: str) -> None:
    content = runbook(sleep(600, onCancel="step:Restore"), put(mark, "x", "Restore"))
    execution_id = rig.in_step(rig.start(content), "Hold")
    rig.cancel(execution_id, "Complete")
    assert rig.end(execution_id)["AutomationExecutionStatus"] == "CompletedWithSuccess"
    assert rig.parameter(mark) is None


def test_a_failed_repair_makes_the_execution_fail(rig: SsmRig) -> None:
    """Cancelled would mean that everything was put back."""
    content = runbook(sleep(600, onCancel="step:Restore"), fail("Restore"))
    execution_id = rig.in_step(rig.start(content), "Hold")
    rig.cancel(execution_id)
    execution = rig.end(execution_id)
    assert execution["AutomationExecutionStatus"] == "Failed"
    assert "Step Restore failed" in execution["FailureMessage"]


def test_a_runbook_that_loops_ends(rig: SsmRig) -> None:
    execution = rig.run(runbook(sleep(0, "A"), sleep(0, "B", nextStep="A")))
    assert (execution["AutomationExecutionStatus"], "loops" in execution["FailureMessage"]) == ("Failed", True)


def test_a_missing_output_fails_only_the_step_that_uses_it(rig: SsmRig, mark: str) -> None:
    inputs = {"Service": "ssm", "Api": "GetParameters", "Names": ["/never/there"]}
    output = {"Name": "Value", "Selector": "$.Parameters[0].Value", "Type": "String"}
    get = {"name": "Get", "action": "aws:executeAwsApi", "inputs": inputs, "outputs": [output]}
    execution = rig.run(runbook(get, put(mark, "{{ Get.Value }}", "Put")))
    assert rig.steps(execution["AutomationExecutionId"]) == {"Get": "Success", "Put": "Failed"}
    assert "no step has produced the output 'Get.Value'" in execution["FailureMessage"]
    assert rig.parameter(mark) is None


def test_the_output_of_a_step_that_has_not_run_is_an_error(rig: SsmRig, mark: str) -> None:
    get = fail("Get", outputs=[{"Name": "Value", "Selector": "$.Parameter.Value", "Type": "String"}])
    execution = rig.run(runbook(put(mark, "{{ Get.Value }}", "Put"), get))
    assert (execution["AutomationExecutionStatus"], rig.parameter(mark)) == ("Failed", None)


def test_executions_and_their_steps_are_listed_and_filtered(rig: SsmRig) -> None:
    ok, bad = (
        rig.run(runbook(sleep(0)))["AutomationExecutionId"],
        rig.run(runbook(fail("Bad")))["AutomationExecutionId"],
    )

    def ids(*filters: tuple[str, str]) -> list[str]:
        wanted = [{"Key": key, "Values": [value]} for key, value in filters]
        found = rig.ssm.describe_automation_executions(Filters=wanted)["AutomationExecutionMetadataList"]
        return [each["AutomationExecutionId"] for each in found]

    assert bad in ids(("ExecutionStatus", "Failed"), ("DocumentNamePrefix", "doc-"))
    assert ok not in ids(("ExecutionStatus", "Failed"))
    assert ids(("ExecutionId", ok)) == [ok]
    steps = rig.ssm.describe_automation_step_executions(
        AutomationExecutionId=bad, Filters=[{"Key": "StepExecutionStatus", "Values": ["Failed"]}]
    )["StepExecutions"]
    assert [each["StepName"] for each in steps] == ["Bad"]
    with pytest.raises(ClientError, match="AutomationExecutionNotFoundException"):
        rig.get(str(uuid.uuid4()))


def test_a_start_is_validated_and_idempotent(rig: SsmRig, mark: str) -> None:
    name = rig.document(runbook(put(mark, "{{ A }}", "Put"), parameters={"A": {"type": "String"}}))
    token = str(uuid.uuid4())
    request = {"DocumentName": name, "Parameters": {"A": ["1"]}, "ClientToken": token}
    started = {rig.ssm.start_automation_execution(**request)["AutomationExecutionId"] for _ in range(2)}
    assert len(started) == 1
    for wrong, code in (
        ({**request, "Parameters": {"A": ["2"]}}, "IdempotentParameterMismatch"),
        ({"DocumentName": name}, "InvalidAutomationExecutionParametersException"),
        ({"DocumentName": "not-there"}, "AutomationDefinitionNotFoundException"),
        ({"DocumentName": name, "DocumentVersion": "7"}, "AutomationDefinitionVersionNotFoundException"),
        ({**request, "ClientToken": str(uuid.uuid4()), "Mode": "Interactive"}, "UnsupportedOperation"),
    ):
        with pytest.raises(ClientError, match=code):
            rig.ssm.start_automation_execution(**wrong)
    rig.end(started.pop())
    wait_until(lambda: rig.parameter(mark) == "1", "the first start ran")


def test_other_accounts_and_regions_see_nothing(rig: SsmRig) -> None:
    execution_id = rig.run(runbook(sleep(0)))["AutomationExecutionId"]
    other = rig.cloud.client("ssm", access_key="111122223333")
    assert other.list_documents()["DocumentIdentifiers"] == []
    with pytest.raises(ClientError, match="AutomationExecutionNotFoundException"):
        other.get_automation_execution(AutomationExecutionId=execution_id)
