"""The stages of a run, and the findings that are made of other things than orders and latencies."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest

from kit import gameday, scenarios
from kit.collect import Cleanup
from kit.collect.task_samples import TASK_COLUMNS
from kit.errors import EvidenceMissing, VerdictNotPass
from kit.gameday import findings, load_source
from kit.gameday.parameters import Parameters
from kit.gameday.phases import phase_windows
from kit.gameday.run import GameDay
from kit.model import Deployment, FaultWindow, Status, TaskStop
from kit.notebook import views
from kit.notebook.run_phases import read_phases

AZ_LOSS = scenarios.get("az-loss")
FAULT = FaultWindow(
    experiment_id="EXP1", template="EXT1", status="completed", injected_at=120.0, ended_at=140.0, observed_at=121.0,
    healed_at=145.0, actions=({"name": "CutZone", "proof": "no healthy target"},),
)  # fmt: skip


def progress(second: int, *, ok: int, info: int = 0, p95_ms: float | None = 20.0) -> dict:
    return {"t": float(second), "sent": ok + info, "ok": ok, "fail": 0, "info": info, "p95_ms_last": p95_ms}


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        ([], "no progress"),
        ([progress(0, ok=5), progress(1, ok=5)], "no order was acknowledged"),
        ([progress(0, ok=0), progress(1, ok=50, info=50)], "ended unknown or 5xx"),
        ([progress(0, ok=0, p95_ms=900), progress(1, ok=50, p95_ms=900)], "p95 900 ms > 250 ms"),
    ],
)
def test_load_that_is_not_steady_is_reported(seen, why):
    assert why in "; ".join(findings.steady_state_problems(seen, AZ_LOSS))


def test_steady_load_has_no_problem():
    assert findings.steady_state_problems([progress(0, ok=0), progress(1, ok=50), progress(2, ok=99)], AZ_LOSS) == []


def windows(fault: FaultWindow | None, end: float, start: float = 100.0) -> list[tuple[str, float, float]]:
    return [(phase.name, phase.start, phase.end) for phase in phase_windows(start, fault, end, AZ_LOSS)]


def test_phases_follow_the_experiment_and_the_recovery_time():
    assert windows(FAULT, 180.0) == [
        ("before", 100.0, 120.0), ("during", 120.0, 140.0), ("recovery", 140.0, 155.0), ("after", 155.0, 180.0),
    ]  # fmt: skip


def test_a_short_load_still_has_a_phase_after():
    assert windows(FAULT, 150.0)[2:] == [("recovery", 140.0, 146.0), ("after", 146.0, 150.0)]


def test_without_a_fault_there_is_only_before_and_without_load_nothing():
    assert [name for name, _, _ in windows(None, 160.0)] == ["before"]
    assert windows(FAULT, 0.0, start=0.0) == []


def stop(exit_code: int | None) -> TaskStop:
    return TaskStop(
        arn="arn:aws:ecs:us-east-1:000000000000:task/c/0123456789", service="matcher", zone="us-east-1b",
        code="EssentialContainerExited", reason="Essential container in task exited", exit_code=exit_code,
        stopped_at=130.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("stops", "status"),
    [((), Status.PASS), ((stop(137),), Status.INVALID), ((stop(1),), Status.FAIL), ((stop(137), stop(1)), Status.FAIL)],
    ids=["none", "killed-from-outside", "crashed", "both"],
)
def test_a_crash_fails_and_a_kill_from_outside_is_invalid(stops, status):
    finding = findings.stops_finding(stops)
    assert finding.status is status
    assert finding.measured == len(stops)


def tasks(*unhealthy: int) -> pd.DataFrame:
    rows = [(100.0 + second, "us-east-1a", "matcher", 2, count) for second, count in enumerate(unhealthy)]
    return pd.DataFrame(rows, columns=pd.Index(TASK_COLUMNS))


def acted(*action_ids: str) -> FaultWindow:
    actions = tuple({"name": "A", "action_id": action_id} for action_id in action_ids)
    return replace(FAULT, actions=actions)


@pytest.mark.parametrize(
    ("samples", "fault", "status"),
    [
        (tasks(0, 0), None, Status.PASS),
        (tasks(0, 1, 0), None, Status.FAIL),
        (tasks(0, 1), acted("aws:network:disrupt-connectivity"), Status.FAIL),
        (tasks(0, 1), acted("aws:ecs:task-network-latency"), Status.FAIL),
        (tasks(0, 1), acted("aws:ecs:task-kill-process", "aws:fis:wait"), Status.PASS),
        (tasks(), None, Status.INVALID),
    ],
    ids=["alive", "hangs", "store-cut", "slow-network", "frozen", "not-sampled"],
)
def test_a_task_may_fail_its_own_health_check_only_if_its_process_was_touched(samples, fault, status):
    assert findings.alive_finding(samples, fault).status is status


@pytest.mark.parametrize(("fault", "status"), [(None, Status.INVALID), (FAULT, Status.PASS)])
def test_a_fault_must_have_been_seen_and_seen_gone(fault, status):
    found = findings.fault_findings(AZ_LOSS, fault)
    assert [(one.name, one.status) for one in found] == [("fault-observed", status), ("fault-healed", status)]


@pytest.mark.parametrize(
    ("cleanup", "status"),
    [
        (Cleanup(leftovers=(), ended_at=1.0), Status.PASS),
        (Cleanup(leftovers=("stack gameday-x",), ended_at=1.0), Status.FAIL),
        (None, Status.INVALID),
    ],
)
def test_what_is_left_behind_fails(cleanup, status):
    assert findings.cleanup_finding(cleanup).status is status


def test_a_report_repeats_only_the_differences_that_touch_its_scenario():
    rows = {row["what"] for row in gameday.fidelity_rows("az-loss")}
    assert "ECS task" in rows and "Cut subnet" in rows
    assert "SQS" not in rows


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"load_tasks": 3, "target": "aws"}, "the load will come from 3 Fargate tasks"),
        ({}, "the load will come from this machine"),
        ({"target": "aws"}, "this machine, whose network and CPU are measured too: consider load_tasks=3"),
    ],
)
def test_a_run_says_where_its_load_comes_from(changes, said):
    assert load_source.described(Parameters(scenario="az-loss", **changes)).endswith(said)


def test_the_stack_of_another_run_that_has_the_name_of_this_ones_load_stack_is_kept(tmp_path, monkeypatch):
    """Run `x` needs `gameday-x-load`, which is the stack of run `x-load`. Its creation was refused."""
    monkeypatch.setenv("GAMEDAY_REPORTS", str(tmp_path))
    monkeypatch.setenv("GAMEDAY_HEADLESS", "1")
    day = GameDay.begin("az-loss", run_id="x", load_tasks=3)
    day._session = object()  # type: ignore[assignment]
    day.deployment = Deployment(stack_name="gameday-x", run_id="x", api_url="http://127.0.0.1:9", outputs={})
    day._closed = True  # there is nothing to close at the end of this process

    def stacks() -> list[str]:
        return [name for name, _ in day._endings() if name.startswith("stack")]

    assert stacks() == ["stack gameday-x"]
    day._load_stack = {"LoadClusterName": "c"}
    assert stacks() == ["stack gameday-x", "stack gameday-x-load"]


def test_stages_out_of_order_say_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("GAMEDAY_REPORTS", str(tmp_path))
    monkeypatch.setenv("GAMEDAY_HEADLESS", "1")
    day = GameDay.begin("az-loss", rate_per_s=10, seed=1, steady_s=5, fault_duration_s=5, recovery_s=5, run_id="early")
    with pytest.raises(EvidenceMissing, match=r"call deploy\(\) first"):
        day.steady_state()
    with pytest.raises(EvidenceMissing, match=r"call reconcile\(\) first"):
        day.show_latency()
    day.close()
    day.close()
    assert [one.phase for one in read_phases(day.run_dir)] == ["closed"]
    assert json.loads((day.run_dir / "cleanup.json").read_text())["leftovers"] == []


@pytest.mark.filterwarnings("ignore:No kernel detected")
def test_reasons_of_a_verdict_are_left_to_the_command_to_print(tmp_path, monkeypatch, capsys):
    """The notebook shows them to whoever sits before it; what it prints is the terminal's too."""
    shown: list[str] = []
    monkeypatch.setattr(views, "_show", lambda markup, **_: shown.append(markup))
    monkeypatch.setenv("GAMEDAY_REPORTS", str(tmp_path))
    monkeypatch.setenv("GAMEDAY_HEADLESS", "1")
    day = GameDay.begin("az-loss", rate_per_s=10, seed=1, steady_s=5, fault_duration_s=5, recovery_s=5, run_id="early")
    with pytest.raises(VerdictNotPass, match="nothing was checked"):
        day.verdict()
    day.close()
    # Without a kernel scraps are printed.
    said = [line for line in capsys.readouterr().out.splitlines() if "application/scrapbook" not in line]
    assert said == ["INVALID"]
    assert len(shown) == 1 and "<li>nothing was checked: no findings at all</li>" in shown[0]


@pytest.mark.parametrize(
    ("action_id", "status", "expected"),
    [
        ("aws:fis:wait", "completed", Status.PASS),
        ("aws:fis:wait", "stopped", Status.INVALID),
        ("aws:ecs:stop-task", "completed", Status.INVALID),
    ],
)
def test_a_day_without_a_fault_needs_an_experiment_that_did_nothing_to_its_end(action_id, status, expected):
    actions = ({"name": "Nothing", "action_id": action_id},)
    fault = FaultWindow(experiment_id="EXP1", template="EXT1", status=status, injected_at=120.0, actions=actions)
    (found,) = findings.fault_findings(scenarios.get("steady-state"), fault)
    assert (found.name, found.status) == ("nothing-broken", expected)


def test_only_a_day_without_a_fault_may_show_none():
    assert [name for name in scenarios.names() if scenarios.get(name).breaks_nothing] == ["soak", "steady-state"]
