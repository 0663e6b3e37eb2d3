"""`gameday pipeline` refuses what cannot work before anything starts, and tells what its conductor does."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kit.cli.main import main
from kit.errors import UsageError
from kit.gameday import commands
from kit.model import USAGE_EXIT_CODE
from kit.pipeline import conductor_stack, execution
from kit.pipeline.conductor_stack import Conductor
from kit.pipeline.execution import Step, Summary

CONDUCTOR = Conductor(
    state_machine="arn:machine", topic="arn:topic", bucket="artifacts", cluster="c", log_group="/l", functions_key="k",
    image="i",
)  # fmt: skip
AT = dt.datetime(2026, 12, 1, 1, 2, 3, tzinfo=dt.UTC)
RUNNING = Summary(arn="arn:1", name="az-loss-1", status="RUNNING", started_at=AT)


class Standing:
    """A local AWS that stays between runs."""

    def session(self) -> None:
        return None


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a local AWS stand on which the conductor is up, with these executions."""

    def stand(*executions: Summary) -> None:
        monkeypatch.setattr(commands, "standing_cloud", lambda: Standing())
        monkeypatch.setattr(conductor_stack, "find", lambda _: CONDUCTOR)
        monkeypatch.setattr(execution, "latest", lambda *_: list(executions))
        taken = [Step(state="Run", at=1.0, is_over=False), Step(state="Watch", at=1.0, is_over=False)]
        monkeypatch.setattr(execution, "steps", lambda *_: taken)

    return stand


@pytest.mark.parametrize("action", ["up", "status", "down"])
def test_a_conductor_needs_an_aws_that_stays(action: str, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    monkeypatch.setattr(commands, "standing_cloud", lambda: None)
    assert main(["pipeline", action]) == USAGE_EXIT_CODE
    assert "`gameday cloud up` starts one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nothing"], "nothing"),
        (["az-loss", "--change", "nothing"], "nothing"),
        (["az-loss", "--run-id", "pipeline"], "is the name of the conductor"),
        (["az-loss", "-p", "load_tasks=65"], "load_tasks"),
    ],
)
def test_a_run_that_cannot_work_is_refused(arguments: list[str], named: str, tmp_path: Path, capsys: Any):
    assert main(["pipeline", "run", *arguments, "--reports", str(tmp_path)]) == USAGE_EXIT_CODE
    assert named in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_status_tells_the_states_of_a_run(standing: Callable[..., None], capsys: Any):
    standing(RUNNING, Summary(arn="arn:2", name="az-loss-2", status="FAILED", started_at=AT))
    assert main(["pipeline", "status"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "up: arn:machine, artifacts in s3://artifacts",
        "2026-12-01 01:02:03  RUNNING    az-loss-1",
        "  in Run, Watch",
        "2026-12-01 01:02:03  FAILED     az-loss-2",
    ]


def test_a_conductor_that_conducts_is_not_deleted(standing: Callable[..., None], capsys: Any):
    standing(RUNNING)
    assert main(["pipeline", "down"]) == USAGE_EXIT_CODE
    assert "`gameday stop az-loss-1` stops it" in capsys.readouterr().err
    with pytest.raises(UsageError, match="the conductor runs az-loss-1"):
        conductor_stack.down(Standing())  # type: ignore[arg-type]
