"""What the Systems Manager tests share: runbooks, and what tests do with them.

`API_LATENCY` and `DATA_THROTTLING` are the documents of the scenarios of these names, as a stack may copy them: each
changes something for a time and puts it back at the end, on cancellation and on failure.
"""

from __future__ import annotations

import functools
import json
import uuid
from typing import Any

from tests.local.fis_rig import until

ACTIVE = ("Pending", "InProgress", "Cancelling")

API_LATENCY = """
schemaVersion: "0.3"
description: Deploy the slow version of a feature flag for a time, then the normal one again.
assumeRole: "{{ AutomationAssumeRole }}"
parameters:
  ApplicationId: {type: String}
  EnvironmentId: {type: String}
  ProfileId: {type: String}
  StrategyId: {type: String}
  SlowVersion: {type: String}
  NormalVersion: {type: String}
  Duration: {type: String, default: PT1M}
  AutomationAssumeRole: {type: String, default: ""}
mainSteps:
  - name: DeploySlow
    action: aws:executeAwsApi
    onFailure: step:Settle
    onCancel: step:Settle
    inputs:
      Service: appconfig
      Api: StartDeployment
      ApplicationId: "{{ ApplicationId }}"
      EnvironmentId: "{{ EnvironmentId }}"
      ConfigurationProfileId: "{{ ProfileId }}"
      DeploymentStrategyId: "{{ StrategyId }}"
      ConfigurationVersion: "{{ SlowVersion }}"
  - name: Hold
    action: aws:sleep
    onFailure: step:Settle
    onCancel: step:Settle
    inputs:
      Duration: "{{ Duration }}"
  - name: Settle
    action: aws:waitForAwsResourceProperty
    timeoutSeconds: 60
    onFailure: step:DeployNormal
    inputs:
      Service: appconfig
      Api: GetEnvironment
      ApplicationId: "{{ ApplicationId }}"
      EnvironmentId: "{{ EnvironmentId }}"
      PropertySelector: $.State
      DesiredValues: [READY_FOR_DEPLOYMENT, ROLLED_BACK, REVERTED]
  - name: DeployNormal
    action: aws:executeAwsApi
    maxAttempts: 5
    isEnd: true
    inputs:
      Service: appconfig
      Api: StartDeployment
      ApplicationId: "{{ ApplicationId }}"
      EnvironmentId: "{{ EnvironmentId }}"
      ConfigurationProfileId: "{{ ProfileId }}"
      DeploymentStrategyId: "{{ StrategyId }}"
      ConfigurationVersion: "{{ NormalVersion }}"
"""

DATA_THROTTLING = """
schemaVersion: "0.3"
description: Limit the write capacity of an on-demand table for a time, then lift the limit again.
assumeRole: "{{ AutomationAssumeRole }}"
parameters:
  TableName: {type: String}
  MaxWriteRequestUnits: {type: Integer, default: 1}
  Duration: {type: String, default: PT1M}
  AutomationAssumeRole: {type: String, default: ""}
mainSteps:
  - name: Throttle
    action: aws:executeAwsApi
    onFailure: step:Settle
    onCancel: step:Settle
    inputs:
      Service: dynamodb
      Api: UpdateTable
      TableName: "{{ TableName }}"
      OnDemandThroughput:
        MaxWriteRequestUnits: "{{ MaxWriteRequestUnits }}"
  - name: Hold
    action: aws:sleep
    onFailure: step:Settle
    onCancel: step:Settle
    inputs:
      Duration: "{{ Duration }}"
  - name: Settle
    action: aws:waitForAwsResourceProperty
    timeoutSeconds: 60
    onFailure: step:Restore
    inputs:
      Service: dynamodb
      Api: DescribeTable
      TableName: "{{ TableName }}"
      PropertySelector: $.Table.TableStatus
      DesiredValues: [ACTIVE]
  - name: Restore
    action: aws:executeAwsApi
    maxAttempts: 5
    isEnd: true
    inputs:
      Service: dynamodb
      Api: UpdateTable
      TableName: "{{ TableName }}"
      OnDemandThroughput:
        MaxWriteRequestUnits: -1
"""


@functools.cache
def client(cloud: Any, service: str) -> Any:
    """A client of a cloud, made once: making one takes longer than most of these tests."""
    return cloud.client(service, parameter_validation=False)


def put(name: str, value: str, step: str, **more: Any) -> dict[str, Any]:
    """A step that leaves a mark: it sets a parameter of the Parameter Store."""
    inputs = {"Service": "ssm", "Api": "PutParameter", "Name": name, "Value": value, "Type": "String"}
    return {"name": step, "action": "aws:executeAwsApi", "inputs": {**inputs, "Overwrite": True}, **more}


def fail(step: str, **more: Any) -> dict[str, Any]:
    """A step whose call fails."""
    inputs = {"Service": "ssm", "Api": "GetParameter", "Name": "/never/there"}
    return {"name": step, "action": "aws:executeAwsApi", "inputs": inputs, **more}


def sleep(seconds: float, step: str = "Hold", **more: Any) -> dict[str, Any]:
    """An aws:sleep step."""
    return {"name": step, "action": "aws:sleep", "inputs": {"Duration": f"PT{seconds:g}S"}, **more}


def runbook(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A document's content."""
    return {"schemaVersion": "0.3", "mainSteps": list(steps), **more}


class SsmRig:
    """A cloud, its SSM client, and what tests do with it."""

    def __init__(self, cloud: Any) -> None:
        self.cloud = cloud
        self.ssm = client(cloud, "ssm")

    def document(self, content: dict[str, Any] | str, **more: Any) -> str:
        """A new automation document; its name."""
        text = content if isinstance(content, str) else json.dumps(content)
        name = f"doc-{uuid.uuid4().hex[:8]}"
        request = {"DocumentFormat": "YAML", "DocumentType": "Automation", "Name": name, **more}
        return self.ssm.create_document(Content=text, **request)["DocumentDescription"]["Name"]

    def arn(self, document: str) -> str:
        return f"arn:aws:ssm:{self.cloud.region}:{self.cloud.account_id}:document/{document}"

    def start(self, content: dict[str, Any] | str, **parameters: Any) -> str:
        """Create the document and start it; the execution's id."""
        values = {key: value if isinstance(value, list) else [str(value)] for key, value in parameters.items()}
        request = {"DocumentName": self.document(content)} | ({"Parameters": values} if values else {})
        return self.ssm.start_automation_execution(**request)["AutomationExecutionId"]

    def get(self, execution_id: str) -> dict[str, Any]:
        return self.ssm.get_automation_execution(AutomationExecutionId=execution_id)["AutomationExecution"]

    def status(self, execution_id: str) -> str:
        return self.get(execution_id)["AutomationExecutionStatus"]

    def steps(self, execution_id: str) -> dict[str, str]:
        """The steps' states by name."""
        return {each["StepName"]: each["StepStatus"] for each in self.get(execution_id)["StepExecutions"]}

    def end(self, execution_id: str, limit_s: float = 20.0) -> dict[str, Any]:
        """Wait until it ended; the execution."""
        until(lambda: self.status(execution_id) not in ACTIVE, f"{execution_id} ended", limit_s)
        return self.get(execution_id)

    def in_step(self, execution_id: str, step: str) -> str:
        """Wait until a step is under way; the execution's id."""
        until(lambda: self.get(execution_id).get("CurrentStepName") == step, f"in step {step}")
        return execution_id

    def run(self, content: dict[str, Any] | str, **parameters: Any) -> dict[str, Any]:
        """Create, start, wait."""
        return self.end(self.start(content, **parameters))

    def cancel(self, execution_id: str, kind: str = "Cancel") -> None:
        self.ssm.stop_automation_execution(AutomationExecutionId=execution_id, Type=kind)

    def parameter(self, name: str) -> str | None:
        """A parameter's value, None if there is none."""
        found = self.ssm.get_parameters(Names=[name])["Parameters"]
        return found[0]["Value"] if found else None
