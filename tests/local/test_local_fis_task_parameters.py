"""Test the parameters of task faults and their journal entries, without tasks."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ministack.services import ec2

from kit.local.fis.actions import ACTIONS, UNDO, ActionContext
from kit.local.fis.actions.ecs_task_cpu_stress import UNDO_KIND, TaskCpuStress
from kit.local.fis.actions.ecs_task_network_latency import TaskNetworkLatency
from kit.local.fis.actions.ecs_task_network_packet_loss import TaskNetworkPacketLoss
from kit.local.fis.actions.task_links import peers
from kit.local.fis.errors import ConfigurationFailure
from kit.local.fis.journal import Journal
from kit.local.fis.resources import Resource
from kit.local.links import ANYWHERE, Links, Match
from tests.local.ecs_fixtures import state
from tests.polling import wait_until


def test_parameters_default_as_on_aws() -> None:
    """Parameters that a template omits have AWS's defaults."""
    assert TaskNetworkLatency.parse({}) == TaskNetworkLatency(delay_ms=200, jitter_ms=10, flows_pct=100, sources="ALL")
    assert TaskNetworkPacketLoss.parse({}) == TaskNetworkPacketLoss(loss_pct=7, flows_pct=100, sources="ALL")
    assert TaskCpuStress.parse({}) == TaskCpuStress(percent=100, workers=0)
    assert ACTIONS["aws:ecs:task-kill-process"].parse({"processName": "x"}).signal is signal.SIGTERM  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "parameters", "expected"),
    [
        ("network-latency", {"flowsPercent": "25"}, {"delay_ms": 200, "jitter_ms": 10, "flows_pct": 25}),
        ("network-packet-loss", {"lossPercent": "100"}, {"loss_pct": 100, "blackhole": True}),
        ("network-packet-loss", {"lossPercent": "100", "flowsPercent": "50"}, {"flows_pct": 50, "blackhole": False}),
    ],
)
def test_rules_are_one_way_and_journaled(
    kind: str, parameters: dict[str, str], expected: dict[str, Any], tmp_path: Path
) -> None:
    """Each task gets one outgoing rule, which is in the journal and is removed by the undo."""
    task = SimpleNamespace(id="t1", arn="arn-1", endpoint=SimpleNamespace(vpc="vpc-1"))
    parts: Any = SimpleNamespace(links=Links(1), ecs=SimpleNamespace(task={"arn-1": task}.get))
    resource = Resource(type="aws:ecs:task", arn="arn-1", tags={}, described={})
    journal = Journal(tmp_path)
    journal.load()
    context = ActionContext(
        services=parts, journal=journal, experiment_id="EXP", action_name="hit", targets={"Tasks": [resource]}
    )
    asyncio.run(ACTIONS[f"aws:ecs:task-{kind}"].parse(parameters).start(context))  # type: ignore[arg-type]
    (rule,) = parts.links.rules()
    assert {name: getattr(rule, name) for name in expected} == expected
    assert (rule.both_ways, rule.src, rule.dst) == (False, Match(kinds=["task"], ids=["t1"]), ANYWHERE)
    (entry,) = context.changes
    assert (entry.data["rule"], entry.data["task"]) == ("EXP/hit/t1", "arn-1")
    asyncio.run(UNDO[entry.kind](parts, entry))  # type: ignore[arg-type]
    assert parts.links.rules() == []


def test_more_stress_leaves_a_smaller_share() -> None:
    """Without stress a task keeps all of its time.

    A small task loses more than a large one, and none loses everything.
    """
    stress = TaskCpuStress(percent=100, workers=1)
    assert TaskCpuStress(percent=0).share_left(0.25) == 1.0
    assert stress.share_left(1.0) == 0.5
    assert stress.share_left(0.25) == 0.2
    assert TaskCpuStress(percent=100, workers=1000).share_left(0.25) == 0.02


def test_sources_are_subnets_and_services(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zones (by name or id) and networks mean subnets of the task's VPC. A single address is refused."""
    here = {"VpcId": "vpc-1", "AvailabilityZone": "us-east-1a", "AvailabilityZoneId": "use1-az1"}
    subnets = {
        "a": {"SubnetId": "a", "CidrBlock": "10.0.0.0/24", **here},
        "b": {"SubnetId": "b", "CidrBlock": "10.0.1.0/24", **here, "AvailabilityZone": "us-east-1b"},
        "far": {"SubnetId": "far", "CidrBlock": "10.0.0.0/24", **here, "VpcId": "vpc-2"},
    }
    subnets["b"]["AvailabilityZoneId"] = "use1-az2"
    monkeypatch.setattr(ec2, "_subnets", subnets)
    assert peers("us-east-1a", "vpc-1") == peers("use1-az1", "vpc-1") == [Match(subnets=["a"])]
    assert peers("10.0.0.0/16", "vpc-1") == [Match(subnets=["a", "b"])]
    assert peers("S3, us-east-1b,DYNAMODB", "vpc-1") == [
        Match(kinds=["aws"], services=["s3", "dynamodb"], regions=["us-east-1"]), Match(subnets=["b"])
    ]  # fmt: skip
    assert peers("sqs.eu-west-1.amazonaws.com,s3.amazonaws.com,S3", "vpc-1") == [
        Match(kinds=["aws"], services=["s3"]), Match(kinds=["aws"], services=["sqs"], regions=["eu-west-1"])
    ]  # fmt: skip
    assert peers("S3,0.0.0.0/0", "vpc-1") == [ANYWHERE]
    for meaningless in ("10.0.0.7", "us-east-1c", "example.com"):
        with pytest.raises(ConfigurationFailure, match=meaningless):
            peers(f"ALL,{meaningless}", "vpc-1")


def test_a_task_left_stopped_by_a_killed_server_is_continued(tmp_path: Path) -> None:
    """The journal is enough for the next server to continue the task, and repeating the undo has no effect."""
    marker = f"GAMEDAY_TEST_TASK={tmp_path.name}-{os.getpid()}"
    name, _, value = marker.partition("=")
    argv = [sys.executable, "-S", "-c", "import time; print(flush=True); time.sleep(60)"]
    with subprocess.Popen(argv, env={**os.environ, name: value}, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.send_signal(signal.SIGSTOP)
            wait_until(lambda: state(process.pid) == "T", "stopped")
            written = Journal(tmp_path)
            written.load()
            written.remember(UNDO_KIND, {"task": "arn", "markers": [marker]})
            (entry,) = Journal(tmp_path).load()
            for _ in range(2):
                asyncio.run(UNDO[entry.kind](SimpleNamespace(), entry))  # type: ignore[arg-type, misc]
            wait_until(lambda: state(process.pid) == "S", "continued")
        finally:
            process.kill()
