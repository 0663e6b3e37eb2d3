"""Test whole runs that must not pass: one that a guardrail aborts, and one whose fault is disarmed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from kit import scenarios
from kit.fis_rules.catalog import HARMLESS
from kit.local.fis.disarm import FILE_NAME as DISARM
from kit.local.fis.journal import FILE_NAME as JOURNAL
from tests.polling import wait_for_value, wait_until

pytestmark = pytest.mark.timeout(400)

ABORTED, INVALID = 2, 3
UNDONE_S_MAX = 2.0
ALARM_S_MAX = 60.0
KEPT = ("verdict.json", "executed.ipynb", "report.html", "junit.xml", "history/summary.json", "ledger/events.parquet")
# Scenarios whose experiment has an effect to prove.
BREAKING = [name for name in scenarios.names() if not scenarios.get(name).breaks_nothing]
# The fault must last long enough for the guardrail to abort it.
LONG_FAULT = ("-p", "fault_duration_s=60")


def command(scenario: str, tmp_path: Path, *more: str) -> tuple[str, ...]:
    """`gameday run` of a scenario in its brief form."""
    brief = [word for name, value in scenarios.get(scenario).brief.items() for word in ("-p", f"{name}={value}")]
    where = ("--run-id", "e2e-0", "--reports", str(tmp_path))
    return (sys.executable, "-m", "kit", "run", scenario, *brief, *where, *more)


def guardrail_of(scenario: str) -> str:
    """Name a guardrail that may stop the scenario. A scenario that breaks nothing is stopped by silence alone."""
    return "guardrail-silence" if scenarios.get(scenario).breaks_nothing else "guardrail-latency"


class Cloud:
    """The run's own local AWS, found by the file that it leaves in its folder; `guardrail` is the alarm to watch."""

    def __init__(self, tmp_path: Path, guardrail: str = "") -> None:
        self._guardrail = guardrail
        (found,) = tmp_path.rglob("cloud.json")
        facts = json.loads(found.read_text())
        self.state_dir = found.parent
        names = {"aws_access_key_id": "access_key", "aws_secret_access_key": "secret_key", "region_name": "region"}
        keys = {name: facts[fact] for name, fact in names.items()}
        self.cloudwatch = boto3.client("cloudwatch", endpoint_url=facts["endpoint"], **keys)

    def guardrail(self) -> dict[str, Any]:
        alarms = self.cloudwatch.describe_alarms()["MetricAlarms"]
        return next(alarm for alarm in alarms if alarm["AlarmName"].endswith(f"-{self._guardrail}"))

    def tighten(self) -> None:
        """Lower the guardrail's threshold so that any traffic is above it, for one period."""
        alarm = self.guardrail()
        same = ("AlarmName", "Namespace", "MetricName", "Dimensions", "ExtendedStatistic", "Statistic", "Period")
        self.cloudwatch.put_metric_alarm(
            **{name: alarm[name] for name in same if alarm.get(name)}, Threshold=0.001, EvaluationPeriods=1,
            DatapointsToAlarm=1, ComparisonOperator="GreaterThanThreshold", TreatMissingData="notBreaching",
        )  # fmt: skip

    def faults(self) -> int:
        """Count the changes in FIS's journal that are not undone yet."""
        lines = [json.loads(line) for line in (self.state_dir / JOURNAL).read_text().splitlines() if line.endswith("}")]
        return sum("remember" in line for line in lines) - sum("forget" in line for line in lines)

    def undone_after_s(self) -> float:
        """Return the seconds from the last poll with a quiet guardrail to the first poll without a fault."""
        looks_at = [time.time()]

        def in_alarm() -> bool:
            looks_at.append(time.time())
            return self.guardrail()["StateValue"] == "ALARM"

        wait_until(in_alarm, "the guardrail is in alarm", ALARM_S_MAX)
        wait_for_value(self.faults, 0, "faults", 2 * UNDONE_S_MAX)
        return time.time() - looks_at[-2]


@contextmanager
def running(start_run: Any, argv: tuple[str, ...], line: str) -> Iterator[Any]:
    """Start a run and wait until its log has `line`. Its processes are ended after the test."""
    run = start_run(command=argv)
    run.wait_for_line(line, timeout_s=120)
    yield run
    assert run.survivors() == []


def check_aborted(run: Any, guardrail: str) -> None:
    """Check the run's verdict, its reason, and that all its evidence exists."""
    assert run.end() == ABORTED, run.log.read_text()
    record = run.verdict()
    assert record["verdict"] == "ABORTED"
    assert f"{guardrail} stopped experiment" in record["reasons"][0]
    assert {action["status"] for action in record["fault"]["actions"]} <= {"stopped", "cancelled", "completed"}
    assert all(action["proof"] for action in record["fault"]["actions"])
    assert [name for name in KEPT if not (run.run_dir / name).is_file()] == []


def one_in_ci(names: Iterable[str], first: str) -> list[Any]:
    """Mark all for the matrix, except the first, for which CI has time."""
    return [pytest.param(name, marks=pytest.mark.slow if name == first else pytest.mark.matrix) for name in names]


@pytest.mark.parametrize("scenario", one_in_ci(scenarios.names(), first="matcher-freeze"))
def test_a_guardrail_in_alarm_aborts_any_scenario_and_undoes_its_faults(scenario, start_run, tmp_path):
    """The guardrail is tightened while the experiment runs, so that it is in alarm regardless of the fault."""
    with running(start_run, command(scenario, tmp_path, *LONG_FAULT), "experiment running") as run:
        cloud = Cloud(tmp_path, guardrail_of(scenario))
        cloud.tighten()
        assert cloud.undone_after_s() <= UNDONE_S_MAX
        check_aborted(run, guardrail_of(scenario))


@pytest.mark.parametrize("scenario", one_in_ci(BREAKING, first="matcher-freeze"))
def test_a_fault_that_somebody_disarms_makes_the_run_invalid(scenario, start_run, tmp_path):
    """FIS reports completed although nothing was broken, and the run must notice."""
    with running(start_run, command(scenario, tmp_path), "steady state") as run:
        disarmed = [action for action in scenarios.get(scenario).actions if action not in HARMLESS]
        (Cloud(tmp_path).state_dir / DISARM).write_text("\n".join(disarmed))
        assert run.end() == INVALID, run.log.read_text()
        record = run.verdict()
        checks = {check["name"]: check["status"] for check in record["checks"]}
        assert checks["fault-observed"] == "invalid"
        assert {action["status"] for action in record["fault"]["actions"]} == {"completed"}
        assert any("was never observed" in reason for reason in record["reasons"])
