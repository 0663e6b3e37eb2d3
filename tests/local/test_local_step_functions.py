"""Step Functions calls FIS, AppConfig and SSM through its aws-sdk integration, as on AWS."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.local.fis_rig import FisRig
from tests.local.ssm_rig import SsmRig, client, put, runbook
from tests.polling import wait_until

SDK = "arn:aws:states:::aws-sdk:"


def task(api: str, parameters: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"Type": "Task", "Resource": f"{SDK}{api}", "Parameters": parameters, **more}


def run(cloud: Any, definition: dict[str, Any]) -> dict[str, Any]:
    """Create a state machine, run it, and return the description of the ended execution."""
    states = client(cloud, "stepfunctions")
    machine = states.create_state_machine(
        name=f"m-{uuid.uuid4().hex[:8]}", roleArn="arn:aws:iam::000000000000:role/sfn",
        definition=json.dumps(definition),
    )["stateMachineArn"]  # fmt: skip
    execution = states.start_execution(stateMachineArn=machine)["executionArn"]
    wait_until(lambda: states.describe_execution(executionArn=execution)["status"] != "RUNNING", "ended", 30)
    return states.describe_execution(executionArn=execution)


def test_a_state_machine_starts_an_experiment_and_reads_its_end(cloud: Any) -> None:
    """Start, wait and poll until it has ended, as a scheduled game day does."""
    template = FisRig(cloud).template()
    token = {"ClientToken.$": "$$.Execution.Name", "ExperimentTemplateId": template, "Tags": {"Run Id": "r 1"}}
    ended = {"Variable": "$.Experiment.State.Status", "StringEquals": "completed", "Next": "Done"}
    states = {
        "Start": task("fis:startExperiment", token, Next="Wait"),
        "Wait": {"Type": "Wait", "Seconds": 1, "Next": "Look"},
        "Look": task("fis:getExperiment", {"Id.$": "$.Experiment.Id"}, Next="Ended"),
        "Ended": {"Type": "Choice", "Choices": [ended], "Default": "Wait"},
        "Done": {"Type": "Succeed"},
    }
    described = run(cloud, {"StartAt": "Start", "States": states})
    assert described["status"] == "SUCCEEDED", described
    experiment = json.loads(described["output"])["Experiment"]
    assert experiment["Actions"]["wait"]["State"]["Status"] == "completed"
    assert experiment["ExperimentTemplateId"] == template
    # Keys of maps stay as they are, and timestamps are text.
    assert experiment["Tags"] == {"Run Id": "r 1"}
    assert experiment["StartTime"].startswith("20") and experiment["StartTime"].endswith("Z")


@pytest.mark.parametrize(
    ("api", "parameters", "error"),
    [
        ("fis:getExperiment", {"Id": "EXPnothere"}, "Fis.ResourceNotFoundException"),
        ("fis:getExperiment", {}, "States.Runtime"),
        ("fis:nothing", {}, "States.Runtime"),
        ("appconfig:getApplication", {"ApplicationId": "nothere"}, "AppConfig.ResourceNotFoundException"),
    ],
)
def test_an_error_of_fis_has_its_name_in_the_state_machine(
    cloud: Any, api: str, parameters: dict[str, Any], error: str
) -> None:
    described = run(cloud, {"StartAt": "Call", "States": {"Call": task(api, parameters, End=True)}})
    assert (described["status"], described["error"]) == ("FAILED", error)


def test_a_state_machine_lists_and_stops_experiments(cloud: Any) -> None:
    """With parameters in the query and in the path."""
    rig = FisRig(cloud)
    wait = {"actionId": "aws:fis:wait", "parameters": {"duration": "PT10M"}}
    experiment_id = rig.running(actions={"wait": wait})
    template = rig.get(experiment_id)["experimentTemplateId"]
    states = {
        "List": task("fis:listExperiments", {"ExperimentTemplateId": template}, Next="Stop"),
        "Stop": task("fis:stopExperiment", {"Id.$": "$.Experiments[0].Id"}, End=True),
    }
    described = run(cloud, {"StartAt": "List", "States": states})
    assert described["status"] == "SUCCEEDED", described
    assert rig.end(experiment_id)["state"]["status"] == "stopped"


def test_a_state_machine_starts_an_automation(cloud: Any) -> None:
    rig, mark = SsmRig(cloud), f"/mark/{uuid.uuid4().hex}"
    document = rig.document(runbook(put(mark, "done", "Put")))
    start = task("ssm:startAutomationExecution", {"DocumentName": document}, End=True)
    described = run(cloud, {"StartAt": "Start", "States": {"Start": start}})
    assert described["status"] == "SUCCEEDED", described
    rig.end(json.loads(described["output"])["AutomationExecutionId"])
    assert rig.parameter(mark) == "done"


def test_the_private_names_exist() -> None:
    """MiniStack must look up the patched function at each call."""
    import inspect

    from ministack.services import stepfunctions

    assert "_dispatch_aws_sdk_rest_json(" in inspect.getsource(stepfunctions._invoke_aws_sdk_integration)
    for name in ("_AWS_SDK_SERVICE_MAP", "_AWS_SDK_ERROR_PREFIX", "_prefix_sdk_error", "_ExecutionError"):
        assert hasattr(stepfunctions, name)
