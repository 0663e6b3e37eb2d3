"""Provide short templates for the FIS tests, and a client that waits."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kit.local.fis.journal import FILE_NAME
from tests.polling import wait_until

ROLE = "arn:aws:iam::000000000000:role/fis"
WAIT_S_MAX = 10.0
ENDED = ("completed", "stopped", "failed", "cancelled")


def wait_action(seconds: float = 0.2, **more: Any) -> dict[str, Any]:
    """Return an aws:fis:wait action."""
    return {"actionId": "aws:fis:wait", "parameters": {"duration": f"PT{seconds:g}S"}, **more}


def disrupt(target: str = "Subnets", seconds: float = 60, scope: str = "all", **more: Any) -> dict[str, Any]:
    """Return an aws:network:disrupt-connectivity action."""
    parameters = {"duration": f"PT{seconds:g}S", "scope": scope}
    targets = {"Subnets": target}
    return {"actionId": "aws:network:disrupt-connectivity", "parameters": parameters, "targets": targets, **more}


def subnets_by_tag(tag: str, mode: str = "ALL", **more: Any) -> dict[str, Any]:
    """Return a target of the subnets with the tag `Group=tag`."""
    return {"resourceType": "aws:ec2:subnet", "resourceTags": {"Group": tag}, "selectionMode": mode, **more}


class FisRig:
    """A cloud, its FIS client, and the operations of the tests."""

    def __init__(self, cloud: Any) -> None:
        self.cloud = cloud
        self.fis = cloud.client("fis")
        self.ec2 = cloud.client("ec2")
        self.cloudwatch = cloud.client("cloudwatch")
        self.left_by_others = {line["remember"] for line in self.open_lines()}

    def template(self, **settings: Any) -> str:
        """Create a template of one short wait, changed by `settings`. Return its id."""
        request = {
            "description": "test", "roleArn": ROLE, "stopConditions": [{"source": "none"}],
            "actions": {"wait": wait_action()}, **settings,
        }  # fmt: skip
        return self.fis.create_experiment_template(**request)["experimentTemplate"]["id"]

    def start(self, template_id: str, **settings: Any) -> str:
        return self.fis.start_experiment(experimentTemplateId=template_id, **settings)["experiment"]["id"]

    def get(self, experiment_id: str) -> dict[str, Any]:
        return self.fis.get_experiment(id=experiment_id)["experiment"]

    def status(self, experiment_id: str) -> str:
        return self.get(experiment_id)["state"]["status"]

    def end(self, experiment_id: str, limit_s: float = WAIT_S_MAX) -> dict[str, Any]:
        """Wait until the experiment has ended, and return it."""
        wait_until(lambda: self.status(experiment_id) in ENDED, f"{experiment_id} ended", limit_s)
        return self.get(experiment_id)

    def stop_all(self) -> None:
        """Stop all experiments, so that none outlives its test."""
        for each in self.fis.list_experiments()["experiments"]:
            if each["state"]["status"] in ("pending", "initiating", "running"):
                self.fis.stop_experiment(id=each["id"])
                self.end(each["id"])

    def run(self, **settings: Any) -> dict[str, Any]:
        """Create a template, start it, wait for the end, and return the experiment."""
        return self.end(self.start(self.template(**settings)))

    def running(self, **settings: Any) -> str:
        """Create a template, start it, and wait until it and the actions that start with it run. Return its id."""
        experiment_id = self.start(self.template(**settings))
        wait_until(lambda: self.has_begun(experiment_id), "running")
        return experiment_id

    def has_begun(self, experiment_id: str) -> bool:
        """Tell whether the experiment runs and no action is about to start, other than those that follow another."""
        experiment = self.get(experiment_id)
        firsts = [action for action in experiment["actions"].values() if not action.get("startAfter")]
        waiting = {"pending", "initiating"} & {action["state"]["status"] for action in firsts}
        return experiment["state"]["status"] == "running" and not waiting

    @contextmanager
    def held(self, **settings: Any) -> Iterator[None]:
        """Run an experiment that lasts until this ends, and stop it. Nothing may be left to undo then."""
        experiment_id = self.running(**settings)
        try:
            yield
        finally:
            if self.status(experiment_id) == "running":
                self.fis.stop_experiment(id=experiment_id)
            ended = self.end(experiment_id)
        assert ended["state"]["status"] == "stopped", ended
        assert self.open_entries() == []

    def open_entries(self) -> list[str]:
        """Return the kinds of the changes made since the rig exists that are not undone yet.

        A test of an undo that fails leaves its change in the journal of the shared cloud.
        """
        return [line["kind"] for line in self.open_lines() if line["remember"] not in self.left_by_others]

    def open_lines(self) -> list[dict[str, Any]]:
        """Return the lines of the undo journal for changes that are not undone yet."""
        journal = self.cloud.state_dir / FILE_NAME
        lines = [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []
        forgotten = {line["forget"] for line in lines if "forget" in line}
        return [line for line in lines if "remember" in line and line["remember"] not in forgotten]

    def subnets(self, zones: str = "ab", count: int = 1) -> tuple[str, list[str]]:
        """Create a VPC with `count` subnets in each zone, tagged Group=<name>. Return the name and the subnet ids."""
        name = f"g-{uuid.uuid4().hex[:8]}"
        vpc = self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        tags = [{"ResourceType": "subnet", "Tags": [{"Key": "Group", "Value": name}]}]
        return name, [
            self.ec2.create_subnet(
                VpcId=vpc, CidrBlock=f"10.0.{10 * index + each}.0/24", AvailabilityZone=f"us-east-1{zone}",
                TagSpecifications=tags,
            )["Subnet"]["SubnetId"]
            for index, zone in enumerate(zones) for each in range(count)
        ]  # fmt: skip

    def alarm(self, state: str = "OK") -> str:
        """Create an alarm whose state changes only by SetAlarmState. Return its ARN."""
        name = f"guard-{uuid.uuid4().hex[:8]}"
        self.cloudwatch.put_metric_alarm(
            AlarmName=name, Namespace="Test", MetricName=name, Statistic="Sum", Period=60, EvaluationPeriods=1,
            Threshold=1, ComparisonOperator="GreaterThanThreshold", TreatMissingData="ignore",
        )  # fmt: skip
        self.set_alarm(name, state)
        return f"arn:aws:cloudwatch:us-east-1:000000000000:alarm:{name}"

    def set_alarm(self, name_or_arn: str, state: str) -> None:
        name = name_or_arn.rpartition(":")[2]
        self.cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason="test")


def stop_on(*arns: str) -> list[dict[str, str]]:
    """Return stop conditions for these alarms."""
    return [{"source": "aws:cloudwatch:alarm", "value": arn} for arn in arns]
