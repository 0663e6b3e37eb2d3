"""Suites of cheap runs: `fake_run.py` stands in for `gameday run` and follows the script of its scenario."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat

from kit.model import CheckKind, Finding, Phase, Status, Verdict
from kit.notebook import runner
from kit.suite.concurrency import ConcurrencySlots
from kit.suite.plan import Member, Plan
from kit.verdict import gate
from tests.notebooks.executed import executed_notebook
from tests.notebooks.run_ending import end_run
from tests.verdict.records import run_facts

LIMIT_S = 30.0

COMMAND = (sys.executable, "-S", str(Path(__file__).with_name("fake_run.py")))
PHASES = ((0.0, "steady_state"), (0.0, "fault"), (0.0, "recovery"))
# A run that is still in steady state when a test ends.
STEADY_AND_LONG = ((0.0, "steady_state"), (300.0, "fault"))


def finding(name: str, kind: CheckKind, status: Status) -> Finding:
    return Finding(name=name, kind=kind, status=status, detail=f"{name} as planted")


GOOD = (finding("no-double-fill", CheckKind.INTEGRITY, Status.PASS),)
LATE = (finding("generator-lag", CheckKind.GENERATOR, Status.INVALID),)
DOUBLED = (finding("no-double-fill", CheckKind.INTEGRITY, Status.FAIL),)
SLOW = (finding("recovery-s", CheckKind.SLO, Status.FAIL),)


def a_record(
    scenario: str,
    findings: Sequence[Finding] = GOOD,
    *,
    phase: Phase | None = None,
    run_id: str = "r1",
    aborted: bool = False,
    **more: Any,
):
    """A verdict record with those findings."""
    statuses = {one.status for one in findings}
    verdict = (
        Verdict.FAIL if Status.FAIL in statuses else Verdict.INVALID if Status.INVALID in statuses else Verdict.PASS
    )
    reasons = [f"{one.name}: {one.detail}" for one in findings if one.status is not Status.PASS]
    if aborted:
        verdict, reasons = Verdict.ABORTED, ["a guardrail stopped it"]
    facts = run_facts(run_id=run_id, scenario=scenario, reproduce=f"gameday run {scenario}", **more)
    return gate.record(facts, verdict, reasons, findings=findings, phases=[phase] if phase else [])


def a_finished_run(folder: Path, findings: Sequence[Finding] = GOOD, **more: Any) -> None:
    """A run folder with the evidence that the gate judges: an executed notebook and `run.json`."""
    folder.mkdir(parents=True)
    record = a_record(**{"scenario": "az-loss", "findings": findings, "run_id": folder.name, **more})
    nbformat.write(executed_notebook(record), folder / runner.EXECUTED)
    end_run(folder, record)


def a_suite(folder: Path, runs: list[dict], **more) -> Path:
    base = {
        "scenario": "az-loss", "attempt": 1, "counts": True, "repeat_reason": "", "verdict": "PASS", "main_reason": "",
        "reasons": [], "downgrade_reason": "", "exit_code": 0, "started_at": None, "ended_at": None,
        "duration_s": 1, "cpu_s": 1,
        "cpu_contention": None, "phases": [], "report": "", "log": "", "parameters": {}, "reproduce": "",
    }  # fmt: skip
    made = {
        "schema": "gameday.suite/2", "suite": "pr", "suite_id": "s", "state": "done", "stopped_by": "",
        "verdict": "PASS", "reasons": [], "started_at": None, "ended_at": None, "parameters": {},
        "scenarios": ["az-loss"], "jobs": ConcurrencySlots(requested=1, members=1).plain(),
        "runs": [{**base, **run} for run in runs], "reproduce": "",
        **more,
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "suite.json").write_text(json.dumps(made))
    return folder


class Rig:
    """A suite of fake runs: its plan, the script of each run, and the journal of what they did."""

    def __init__(self, folder: Path) -> None:
        self.runs = folder / "fake"
        self.runs.mkdir()
        self.reports = folder / "reports"
        self._members: list[Member] = []

    def add(
        self,
        scenario: str,
        findings: Sequence[Finding] | None = GOOD,
        *,
        attempt: int = 1,
        steps: Sequence[tuple[float | str, str]] = PHASES,
        exit_code: int | None = None,
        limit_s: float = LIMIT_S,
        **more: Any,
    ) -> None:
        """Add a run that enters the phases of `steps`, writes the findings' verdict (None: none) and exits with it."""
        record = None if findings is None else a_record(scenario, findings)
        self.script(scenario, record, attempt=attempt, steps=steps, exit_code=exit_code, **more)
        if attempt == 1:
            self._members.append(
                Member(scenario=scenario, parameters={}, run_id=f"{scenario}-0a", measured_s=1, limit_s=limit_s)
            )

    def script(
        self, name: str, record: dict[str, Any] | None, *, attempt: int, steps: Any, exit_code: int | None, **more: Any
    ) -> None:
        """Write the script of the run of that name."""
        code = Verdict(record["verdict"]).exit_code if record else 1
        verdict = {name: value for name, value in record.items() if name != "run_id"} if record else None
        script = {"steps": steps, "verdict": verdict, "exit": code if exit_code is None else exit_code}
        (self.runs / f"{name}.{attempt}.json").write_text(json.dumps({**script, **more}))

    def plan(self, *, jobs: int | None = 1, parameters: Mapping[str, Any] | None = None) -> Plan:
        return Plan(
            suite="pr", suite_id="pr-1", reports=self.reports, members=tuple(self._members),
            parameters=parameters or {}, jobs=jobs, reproduce="gameday suite pr",
        )  # fmt: skip

    def journal(self) -> list[tuple[float, str, str, int]]:
        """(time, name, what, pid) of everything that the runs did, in order."""
        path = self.runs / "journal"
        lines = path.read_text().splitlines() if path.exists() else []
        return sorted((float(at), name, what, int(pid)) for at, name, what, pid in map(str.split, lines))

    def pids(self) -> set[int]:
        return {pid for *_, pid in self.journal()}
