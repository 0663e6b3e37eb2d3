"""The gate on a finished measurement: the rule that judged it at its end is applied again to what it left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kit import power
from kit.cli import main
from kit.model import CheckKind, Status, Verdict
from kit.power.outcome import Run, failed_checks
from kit.power.plan import Kind
from tests.power.power_rig import PowerRig, a_case
from tests.suite.suite_rig import DOUBLED, GOOD, a_finished_run, a_record, finding

SLOW_RECOVERY = (finding("recovery-s", CheckKind.SLO, Status.FAIL),)

Measured = Callable[..., Path]


@pytest.fixture
def measured(tmp_path: Path) -> Measured:
    """The folder of a measurement: `runs` are name → (kind, findings), None for a run that left no evidence."""

    def make(runs: dict, *, pending: int = 0, **facts: str) -> Path:
        rig = PowerRig(tmp_path)
        kinds = {name: kind for name, (kind, _) in runs.items()}
        kinds |= {f"pending-{number}": Kind.CHANGE for number in range(pending)}
        rig.cases = [a_case(name, kind) for name, kind in kinds.items()]
        folder = rig.leave([_run(name, kind, findings) for name, (kind, findings) in runs.items()], **facts)
        for name, (kind, findings) in runs.items():
            if findings is not None:
                (folder / f"{name}-0a").mkdir()
                (folder / f"{name}-0a" / "verdict.json").write_text(json.dumps(_record(name, kind, findings)))
        return folder

    return make


def _record(name: str, kind: Kind, findings: tuple) -> dict:
    return a_record("steady-state", findings, run_id=f"{name}-0a", change=name if kind is Kind.CHANGE else "")


def _run(name: str, kind: Kind, findings: tuple | None) -> Run:
    made = _record(name, kind, findings or GOOD)
    return Run(
        case=name, run_id=f"{name}-0a", attempt=1, verdict=Verdict(made["verdict"]) if findings else Verdict.INVALID,
        failed_checks=failed_checks(made), main_reason="as planted", reasons=("as planted",), downgrade_reason="",
        repeat_reason="", build="sha256:1", seed=7, started_at=None, ended_at=None, duration_s=1.0, cpu_contention="",
        report="", log="", reproduce="",
    )  # fmt: skip


def changes(caught: int, findings: tuple | None = DOUBLED) -> dict:
    return {f"change-{number}": (Kind.CHANGE, findings) for number in range(caught)}


CALM = {"calm": (Kind.GOOD, GOOD)}
ALARM = {"loud": (Kind.GOOD, DOUBLED)}
MISSED = {"hides": (Kind.CHANGE, GOOD)}
BY_OTHER = {"slows": (Kind.CHANGE, SLOW_RECOVERY)}
NO_EVIDENCE = {"silent": (Kind.CHANGE, None)}


@pytest.mark.parametrize(
    ("runs", "code", "words"),
    [
        (changes(3) | CALM, 0, "mutation score: 3 of 3"),
        (changes(19) | MISSED, 0, "survivor: hides"),
        (changes(18) | MISSED, 1, "mutation score: 18 of 19"),
        (changes(2) | BY_OTHER, 1, "caught by another check: slows"),
        (changes(3) | CALM | ALARM, 1, "false alarm: loud"),
        (changes(3) | NO_EVIDENCE, 3, "no evidence: silent"),
        (changes(3) | NO_EVIDENCE | ALARM, 1, "no evidence: silent"),
    ],
)
def test_the_exit_code_follows_the_rule_and_the_output_has_the_reason(measured, capsys, runs, code, words):
    """A mutation score below 95 % or a false alarm is 1; a case without evidence is 3."""
    folder = measured(runs)
    assert main.main(["gate", str(folder)]) == code
    said = capsys.readouterr().out
    assert words in said and "power-1" in said
    assert said.split()[0] == json.loads((folder / "power.json").read_text())["verdict"]


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"state": "running"}, "it has not reported its end: it is still running, or it was killed"),
        ({"state": "stopped", "stopped_by": "SIGTERM"}, "it was stopped by SIGTERM"),
        ({"pending": 1}, "1 of 4 cases were not run"),
    ],
)
def test_a_measurement_that_is_not_finished_is_invalid(measured, facts, why):
    found = power.review(measured(changes(3), **facts))
    assert found.verdict is Verdict.INVALID and why in found.reasons


def test_the_verdict_in_the_file_is_not_used(measured):
    folder = measured(changes(3) | ALARM)
    made = json.loads((folder / "power.json").read_text())
    (folder / "power.json").write_text(json.dumps(made | {"verdict": "PASS", "reasons": [], "false_alarms": []}))
    assert power.review(folder).verdict is Verdict.FAIL


@pytest.mark.parametrize("left", ["{}", None])
def test_a_run_whose_folder_contradicts_the_record_is_no_evidence(measured, left):
    folder = measured(changes(3))
    path = folder / "change-1-0a" / "verdict.json"
    path.write_text(left) if left else path.unlink()
    found = power.review(folder)
    assert found.verdict is Verdict.INVALID
    assert len(found.reasons) == 1 and "change-1-0a does not agree with power.json" in found.reasons[0]


def test_a_record_that_cannot_be_read_is_invalid_and_does_not_hide_a_failed_run(measured, tmp_path, capsys):
    folder = measured(changes(1))
    (folder / "power.json").write_text("{")
    a_finished_run(tmp_path / "doubled", DOUBLED)
    assert main.main(["gate", str(folder)]) == Verdict.INVALID.exit_code
    assert "power.json cannot be read" in capsys.readouterr().out
    assert main.main(["gate", str(folder), str(tmp_path / "doubled")]) == Verdict.FAIL.exit_code
