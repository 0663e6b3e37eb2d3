"""Suites of cheap runs: a tiny program stands where `gameday run` would, and does what its scenario is told to."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_output

from kit.model import CheckKind, Finding, Phase, Status, Verdict
from kit.notebook import runner
from kit.suite.concurrency import Places
from kit.suite.plan import Member, Plan
from kit.verdict import gate

LIMIT_S = 30.0

# Called like `gameday run`. Its behaviour stands in $FAKE_RUNS/<name>.<attempt>.json, the name being that of the change
# that it is to carry, or its scenario's, and a repeat being attempt 2:
# `steps` = [seconds, or the scenario whose start is waited for, and the line to print], then `verdict` is written (if
# any), then `exit` (a negative one: that signal).
PROGRAM = """
import json, os, signal, subprocess, sys, time
here, words = os.environ["FAKE_RUNS"], sys.argv[2:]
given = dict(word.split("=", 1) for at, word in enumerate(words) if words[at - 1] == "-p")
scenario = given.get("change", sys.argv[1])
run_id, reports = words[words.index("--run-id") + 1], words[words.index("--reports") + 1]
told = json.load(open(f"{here}/{scenario}.{2 if run_id.endswith('r') else 1}.json"))
def note(what):
    with open(f"{here}/journal", "a") as file: file.write(f"{time.time()} {scenario} {what} {os.getpid()}\\n")
def stopped(*_):
    note("stopped"); sys.exit(3)
signal.signal(signal.SIGTERM, signal.SIG_IGN if told.get("stubborn") else stopped)
note("start")
if told.get("burn"):
    subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"], start_new_session=True)
def pause(until):
    if not isinstance(until, str): return time.sleep(until)
    end = time.time() + 20
    while f" {until} start " not in open(f"{here}/journal").read():
        if time.time() > end: sys.exit(5)
        time.sleep(0.02)
for until, line in told["steps"]:
    pause(until); print(line, flush=True); note(line.replace(" ", "-"))
if told["verdict"]:
    os.mkdir(f"{reports}/{run_id}")
    record = {"run_id": run_id, **told["verdict"]}
    record["change"] = told.get("carries", given.get("change", ""))
    json.dump(record, open(f"{reports}/{run_id}/verdict.json", "w"))
    open(f"{reports}/{run_id}/report.html", "w").write("a report")
note("end")
if told["exit"] < 0: os.kill(os.getpid(), -told["exit"])
sys.exit(told["exit"])
"""
PHASES = ((0.0, "steady state: sent 1"), (0.0, "experiment running: sent 2"), (0.0, "recovery: sent 3"))


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
    """A verdict record as those findings make it."""
    statuses = {one.status for one in findings}
    verdict = (
        Verdict.FAIL if Status.FAIL in statuses else Verdict.INVALID if Status.INVALID in statuses else Verdict.PASS
    )
    reasons = [f"{one.name}: {one.detail}" for one in findings if one.status is not Status.PASS]
    if aborted:
        verdict, reasons = Verdict.ABORTED, ["a guardrail stopped it"]
    made = {
        "run_id": run_id, "scenario": scenario, "build": "sha256:1", "target": "local", "region": "us-east-1",
        "seed": 7, "started_at": 1.0, "ended_at": 2.0, "verdict": verdict, "reasons": reasons, "findings": findings,
        "phases": [phase] if phase else [], "reproduce": f"gameday run {scenario}",
    }  # fmt: skip
    return gate.record(**{**made, **more})


def a_finished_run(folder: Path, findings: Sequence[Finding] = GOOD, **more: Any) -> None:
    """A run folder with the evidence that the gate reads anew: an executed notebook and `run.json`."""
    folder.mkdir(parents=True)
    record = a_record(**{"scenario": "az-loss", "findings": findings, "run_id": folder.name, **more})
    payload = {"name": "verdict", "data": record, "encoder": "json", "version": 1}
    scrap = new_output(
        "display_data", {"application/scrapbook.scrap.json+json": payload},
        metadata={"scrapbook": {"name": "verdict", "data": True, "display": False}},
    )  # fmt: skip
    cell = new_code_cell("1", outputs=[scrap], execution_count=1)
    cell.metadata["papermill"] = {"status": "completed", "duration": 0.1, "exception": False}
    made = new_notebook(cells=[cell])
    made.metadata["papermill"] = {"end_time": "2026-01-01T00:00:00", "exception": None}
    nbformat.write(made, folder / runner.EXECUTED)
    state = {"notebook": "az_loss.ipynb", "parameters": {}, "reproduce": "", "exit_code": 0}
    (folder / runner.RUN_FILE).write_text(json.dumps(state))


def a_suite(folder: Path, runs: list[dict], **more) -> Path:
    base = {
        "scenario": "az-loss", "attempt": 1, "counts": True, "spoiled": "", "verdict": "PASS", "why": "",
        "reasons": [],
        "cause": "", "exit_code": 0, "started_at": None, "ended_at": None, "duration_s": 1, "cpu_s": 1,
        "pressure": None, "states": [], "report": "", "log": "", "given": {}, "reproduce": "",
    }  # fmt: skip
    made = {
        "schema": "gameday.suite/1", "suite": "pr", "suite_id": "s", "state": "done", "stopped_by": "",
        "verdict": "PASS", "reasons": [], "started_at": None, "ended_at": None, "given": {}, "scenarios": ["az-loss"],
        "jobs": Places(asked=1, members=1).plain(), "runs": [{**base, **run} for run in runs], "reproduce": "", **more,
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "suite.json").write_text(json.dumps(made))
    return folder


class Rig:
    """A folder with a plan, what each run is to do, and what they did."""

    def __init__(self, folder: Path) -> None:
        self.runs = folder / "fake"
        self.runs.mkdir()
        self.reports = folder / "reports"
        program = self.runs / "run.py"
        program.write_text(PROGRAM)
        self.command = (sys.executable, "-S", str(program))
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
        """One run: it prints `steps`, leaves the findings' verdict (None: none) and ends as that verdict does."""
        record = None if findings is None else a_record(scenario, findings)
        self.tell(scenario, record, attempt=attempt, steps=steps, exit_code=exit_code, **more)
        if attempt == 1:
            self._members.append(
                Member(scenario=scenario, given={}, run_id=f"{scenario}-0a", measured_s=1, limit_s=limit_s)
            )

    def tell(
        self, name: str, record: dict[str, Any] | None, *, attempt: int, steps: Any, exit_code: int | None, **more: Any
    ) -> None:
        """What the run of that name is to do."""
        code = Verdict(record["verdict"]).exit_code if record else 1
        verdict = {name: value for name, value in record.items() if name != "run_id"} if record else None
        told = {"steps": steps, "verdict": verdict, "exit": code if exit_code is None else exit_code}
        (self.runs / f"{name}.{attempt}.json").write_text(json.dumps({**told, **more}))

    def plan(self, *, jobs: int | None = 1, given: Mapping[str, Any] | None = None) -> Plan:
        return Plan(
            suite="pr", suite_id="pr-1", reports=self.reports, members=tuple(self._members), given=given or {},
            jobs=jobs, reproduce="gameday suite pr",
        )  # fmt: skip

    def journal(self) -> list[tuple[float, str, str, int]]:
        """(time, scenario, what, pid) of everything that the runs did."""
        path = self.runs / "journal"
        lines = path.read_text().splitlines() if path.exists() else []
        return sorted((float(at), scenario, what, int(pid)) for at, scenario, what, pid in map(str.split, lines))

    def pids(self) -> set[int]:
        return {pid for *_, pid in self.journal()}
