"""What a run is judged by, apart from the checks: steadiness before the fault, phases, the fault's own findings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kit import faults, gameday, scenarios
from kit.errors import EvidenceMissing
from kit.gameday import findings
from kit.gameday.run import GameDay, VerdictNotPass
from kit.model import CheckKind, FaultWindow, Finding, Status
from kit.notebook import views

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
def test_load_that_is_not_steady_is_told(seen, why):
    assert why in "; ".join(findings.unsteady(seen, AZ_LOSS))


def test_steady_load_has_no_problem():
    assert findings.unsteady([progress(0, ok=0), progress(1, ok=50), progress(2, ok=99)], AZ_LOSS) == []


def spans(fault: FaultWindow | None, end: float, start: float = 100.0) -> list[tuple[str, float, float]]:
    return [(phase.name, phase.start, phase.end) for phase in findings.phases(start, fault, end, AZ_LOSS)]


def test_phases_follow_the_experiment_and_the_recovery_time():
    assert spans(FAULT, 180.0) == [
        ("before", 100.0, 120.0), ("during", 120.0, 140.0), ("recovery", 140.0, 155.0), ("after", 155.0, 180.0),
    ]  # fmt: skip


def test_a_short_load_still_has_a_phase_after():
    assert spans(FAULT, 150.0)[2:] == [("recovery", 140.0, 146.0), ("after", 146.0, 150.0)]


def test_without_a_fault_there_is_only_before_and_without_load_nothing():
    assert [name for name, _, _ in spans(None, 160.0)] == ["before"]
    assert spans(FAULT, 0.0, start=0.0) == []


def stop(exit_code: int | None) -> faults.TaskStop:
    return faults.TaskStop(
        arn="arn:aws:ecs:us-east-1:000000000000:task/c/0123456789", service="matcher", zone="us-east-1b",
        code="EssentialContainerExited", reason="Essential container in task exited", exit_code=exit_code,
        stopped_at=130.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("stops", "status"),
    [((), Status.PASS), ((stop(137),), Status.INVALID), ((stop(1),), Status.FAIL), ((stop(137), stop(1)), Status.FAIL)],
    ids=["none", "killed-by-a-stranger", "crashed", "both"],
)
def test_a_crash_fails_and_a_strangers_kill_spoils(stops, status):
    finding = findings._stops(stops)
    assert finding.status is status
    assert finding.measured == len(stops)


@pytest.mark.parametrize(("fault", "status"), [(None, Status.INVALID), (FAULT, Status.PASS)])
def test_a_fault_must_have_been_seen_and_seen_gone(fault, status):
    assert findings._fault_seen(fault).status is status
    assert findings._fault_healed(fault).status is status


def test_nothing_collected_gives_no_findings_and_so_no_pass():
    assert (
        findings.findings(None, run_dir=Path(), scenario=AZ_LOSS, spans=(), fault=None, stats=None, leftovers=()) == []
    )


def test_what_is_left_behind_fails():
    assert findings._left_behind(["stack gameday-x"]).status is Status.FAIL
    assert findings._left_behind([]).status is Status.PASS


def test_a_report_repeats_only_the_differences_that_touch_its_scenario():
    rows = {row["what"] for row in gameday.fidelity_rows("az-loss")}
    assert "ECS task" in rows and "Cut subnet" in rows
    assert "SQS" not in rows


def test_stages_out_of_order_say_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("GAMEDAY_REPORTS", str(tmp_path))
    monkeypatch.setenv("GAMEDAY_HEADLESS", "1")
    day = GameDay.begin(
        "az-loss", rate_per_s=10, clients=5, seed=1, steady_s=5, fault_duration_s=5, recovery_s=5, run_id="early"
    )
    with pytest.raises(EvidenceMissing, match=r"call deploy\(\) first"):
        day.steady_state()
    with pytest.raises(EvidenceMissing, match=r"call reconcile\(\) first"):
        day.show_latency()
    day.close()
    day.close()


@pytest.mark.filterwarnings("ignore:No kernel detected")
def test_reasons_of_a_verdict_are_left_to_the_command_to_print(tmp_path, monkeypatch, capsys):
    """The notebook shows them to whoever sits before it; what it prints is the terminal's too."""
    shown: list[str] = []
    monkeypatch.setattr(views, "_show", lambda markup, **_: shown.append(markup))
    monkeypatch.setenv("GAMEDAY_REPORTS", str(tmp_path))
    monkeypatch.setenv("GAMEDAY_HEADLESS", "1")
    day = GameDay.begin(
        "az-loss", rate_per_s=10, clients=5, seed=1, steady_s=5, fault_duration_s=5, recovery_s=5, run_id="early"
    )
    with pytest.raises(VerdictNotPass, match="nothing was checked"):
        day.verdict()
    day.close()
    # Without a kernel scraps are printed.
    said = [line for line in capsys.readouterr().out.splitlines() if "application/scrapbook" not in line]
    assert said == ["INVALID"]
    assert len(shown) == 1 and "<li>nothing was checked: no findings at all</li>" in shown[0]


def finding(kind: CheckKind, status: Status = Status.FAIL, phase: str = "during") -> Finding:
    return Finding(name="x", kind=kind, status=status, detail="too slow", phase=phase)


@pytest.mark.parametrize(
    ("kind", "left", "status"),
    [
        (CheckKind.SLO, 0.5, Status.INVALID),
        (CheckKind.SLO, 1.0, Status.FAIL),
        (CheckKind.INTEGRITY, 0.0, Status.FAIL),
    ],
)
def test_slowness_is_no_failure_where_others_held_the_machine(kind, left, status):
    """Integrity is never excused, and one burning core of two leaves enough."""
    phases = findings.phases(100.0, FAULT, 180.0, AZ_LOSS)
    (judged,) = findings.without_excuse([finding(kind)], phases, lambda start, end: left)
    assert judged.status is status
    assert ("other processes left the run 0.50 cores" in judged.detail) == (status is Status.INVALID)


@pytest.mark.parametrize(("denied", "status"), [({("x", "during")}, Status.FAIL), ({("x", "after")}, Status.INVALID)])
def test_a_limit_that_denials_alone_break_is_not_excused(denied, status):
    phases = findings.phases(100.0, FAULT, 180.0, AZ_LOSS)
    (judged,) = findings.without_excuse([finding(CheckKind.SLO)], phases, lambda start, end: 0.0, denied=denied)
    assert judged.status is status


def test_what_is_counted_is_not_excused():
    """A busy machine answers late; it does not ask a throttled store more often."""
    phases = findings.phases(100.0, FAULT, 180.0, AZ_LOSS)
    counted = replace(finding(CheckKind.SLO), name="throttled-calls-per-attempt")
    (judged,) = findings.without_excuse([counted], phases, lambda start, end: 0.0)
    assert judged.status is Status.FAIL


def test_a_machine_that_nobody_watched_excuses_nothing():
    phases = findings.phases(100.0, FAULT, 180.0, AZ_LOSS)
    (judged,) = findings.without_excuse([finding(CheckKind.SLO)], phases, lambda start, end: None)
    assert judged.status is Status.FAIL


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
    (found,) = findings._fault_findings(scenarios.get("steady-state"), fault)
    assert (found.name, found.status) == ("nothing-broken", expected)


def test_only_a_day_without_a_fault_may_show_none():
    assert [name for name in scenarios.names() if scenarios.get(name).breaks_nothing] == ["steady-state"]
