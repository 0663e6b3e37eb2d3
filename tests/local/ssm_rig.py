"""Runbooks, and a client that creates and runs them, for the Systems Manager tests."""

from __future__ import annotations

import functools
import json
import re
import uuid
from pathlib import Path
from typing import Any

import yaml

from tests.polling import wait_until

ACTIVE = ("Pending", "InProgress", "Cancelling")

STACK = Path(__file__).parents[2] / "paperbroker" / "deploy" / "stack.yaml"


class _StackLoader(yaml.SafeLoader):
    """Read `!Ref Name` of a stack as a runbook's `{{ Name }}`, and any other function as None."""


_StackLoader.add_multi_constructor(
    "!", lambda _loader, function, node: f"{{{{ {node.value} }}}}" if function == "Ref" else None
)


def stack_document(logical_id: str) -> str:
    """Return a document of PaperBroker's stack as YAML. What the stack would fill in becomes a parameter."""
    content = yaml.load(STACK.read_text(), _StackLoader)["Resources"][logical_id]["Properties"]["Content"]
    del content["assumeRole"]
    names = re.findall(r"\{\{ (\w+) \}\}", json.dumps(content["mainSteps"]))
    content["parameters"] = {name: {"type": "String"} for name in names} | content["parameters"]
    return yaml.safe_dump(content)


# Each changes something for a time, and puts it back at the end, on cancellation and on failure.
SLOW_STORE = stack_document("SlowStoreDocument")
THROTTLE = stack_document("ThrottleDocument")


@functools.cache
def client(cloud: Any, service: str) -> Any:
    """Return a client of a cloud. It is created once, because that takes longer than most of these tests."""
    return cloud.client(service, parameter_validation=False)


def put(name: str, value: str, step: str, **more: Any) -> dict[str, Any]:
    """Return a step that sets a parameter of the Parameter Store."""
    inputs = {"Service": "ssm", "Api": "PutParameter", "Name": name, "Value": value, "Type": "String"}
    return {"name": step, "action": "aws:executeAwsApi", "inputs": {**inputs, "Overwrite": True}, **more}


def fail(step: str, **more: Any) -> dict[str, Any]:
    """Return a step whose call fails."""
    inputs = {"Service": "ssm", "Api": "GetParameter", "Name": "/never/there"}
    return {"name": step, "action": "aws:executeAwsApi", "inputs": inputs, **more}


def sleep(seconds: float, step: str = "Hold", **more: Any) -> dict[str, Any]:
    """Return an aws:sleep step."""
    return {"name": step, "action": "aws:sleep", "inputs": {"Duration": f"PT{seconds:g}S"}, **more}


def runbook(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a document's content."""
    return {"schemaVersion": "0.3", "mainSteps": list(steps), **more}


class SsmRig:
    """A client for SSM that creates documents, runs them and waits for them."""

    def __init__(self, cloud: Any) -> None:
        self.cloud = cloud
        self.ssm = client(cloud, "ssm")

    def document(self, content: dict[str, Any] | str, **more: Any) -> str:
        """Create an automation document and return its name."""
        text = content if isinstance(content, str) else json.dumps(content)
        name = f"doc-{uuid.uuid4().hex[:8]}"
        request = {"DocumentFormat": "YAML", "DocumentType": "Automation", "Name": name, **more}
        return self.ssm.create_document(Content=text, **request)["DocumentDescription"]["Name"]

    def arn(self, document: str) -> str:
        return f"arn:aws:ssm:{self.cloud.region}:{self.cloud.account_id}:document/{document}"

    def start(self, content: dict[str, Any] | str, **parameters: Any) -> str:
        """Create a document and start it. Return the execution's id."""
        values = {key: value if isinstance(value, list) else [str(value)] for key, value in parameters.items()}
        request = {"DocumentName": self.document(content)} | ({"Parameters": values} if values else {})
        return self.ssm.start_automation_execution(**request)["AutomationExecutionId"]

    def get(self, execution_id: str) -> dict[str, Any]:
        return self.ssm.get_automation_execution(AutomationExecutionId=execution_id)["AutomationExecution"]

    def status(self, execution_id: str) -> str:
        return self.get(execution_id)["AutomationExecutionStatus"]

    def steps(self, execution_id: str) -> dict[str, str]:
        """Return the steps' states by name."""
        return {each["StepName"]: each["StepStatus"] for each in self.get(execution_id)["StepExecutions"]}

    def end(self, execution_id: str, limit_s: float = 20.0) -> dict[str, Any]:
        """Wait until the execution has ended, and return it."""
        wait_until(lambda: self.status(execution_id) not in ACTIVE, f"{execution_id} ended", limit_s)
        return self.get(execution_id)

    def in_step(self, execution_id: str, step: str) -> str:
        """Wait until a step runs. Return the execution's id."""
        wait_until(lambda: self.get(execution_id).get("CurrentStepName") == step, f"in step {step}")
        return execution_id

    def run(self, content: dict[str, Any] | str, **parameters: Any) -> dict[str, Any]:
        """Create a document, start it, wait for its end, and return the execution."""
        return self.end(self.start(content, **parameters))

    def cancel(self, execution_id: str, kind: str = "Cancel") -> None:
        self.ssm.stop_automation_execution(AutomationExecutionId=execution_id, Type=kind)

    def parameter(self, name: str) -> str | None:
        """Return a parameter's value, or None if it does not exist."""
        found = self.ssm.get_parameters(Names=[name])["Parameters"]
        return found[0]["Value"] if found else None
