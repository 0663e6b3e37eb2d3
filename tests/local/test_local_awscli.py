"""The AWS command line against the local AWS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.polling import wait_for_value

CALL_S_MAX = 60.0


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def cli(cloud, home):
    """Run `aws --endpoint-url … words`, and return its output."""

    def run(*words: str, fails: bool = False) -> Any:
        argv = [
            str(Path(sys.executable).with_name("aws")),
            "--endpoint-url",
            cloud.endpoint,
            "--output",
            "json",
            *words,
        ]
        env = {
            "PATH": os.environ["PATH"], "HOME": str(home), "AWS_PAGER": "",
            **cloud.environment(),
        }  # fmt: skip
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=CALL_S_MAX, check=False)
        assert (done.returncode != 0) == fails, done.stderr
        return done.stderr if fails else json.loads(done.stdout or "null")

    return run


def test_tasks_are_listed(cli, cloud):
    cloud.client("ecs").create_cluster(clusterName="cli")
    assert cli("ecs", "list-tasks", "--cluster", "cli") == {"taskArns": []}


def test_an_alarm_is_described(cli, cloud):
    cloud.client("cloudwatch").put_metric_alarm(
        AlarmName="cli-alarm", Namespace="PaperBroker", MetricName="LatencyMs", Statistic="Average", Period=10,
        EvaluationPeriods=2, Threshold=1.0, ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    found = cli("cloudwatch", "describe-alarms", "--alarm-names", "cli-alarm")["MetricAlarms"]
    assert [alarm["AlarmName"] for alarm in found] == ["cli-alarm"]


def test_an_unknown_service_is_refused(cli):
    assert "does not serve" in cli("synthetics", "describe-canaries", fails=True)


def test_an_experiment_is_started_and_stopped(cli, cloud):
    """Without the kit an experiment can be stopped by `aws fis stop-experiment`."""
    fis = cloud.client("fis")
    template = fis.create_experiment_template(
        description="cli", roleArn="arn:aws:iam::000000000000:role/fis", stopConditions=[{"source": "none"}],
        actions={"Wait": {"actionId": "aws:fis:wait", "parameters": {"duration": "PT5M"}}},
    )["experimentTemplate"]["id"]  # fmt: skip
    started = cli("fis", "start-experiment", "--experiment-template-id", template)["experiment"]
    assert started["experimentTemplateId"] == template
    cli("fis", "stop-experiment", "--id", started["id"])
    wait_for_value(lambda: fis.get_experiment(id=started["id"])["experiment"]["state"]["status"], "stopped")
