"""Power measurements of fake runs (`tests/suite/fake_run.py`), with small bad changes and a small source tree."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kit import build, power
from kit.model import Finding
from kit.power import record as power_record
from kit.power.outcome import Run
from kit.power.plan import Case, Kind, Plan
from kit.power.record import Facts
from kit.power.session import Session
from kit.suite.concurrency import ConcurrencySlots
from tests.suite.suite_rig import COMMAND, DOUBLED, GOOD, LIMIT_S, PHASES, Rig, a_record

HEADER = """# title: tidy up
# breaks: an order is applied once
# how: it is applied twice
# visible-since: {visible_since}
# scenario: {scenario}
# caught-by: {caught_by}
# tests: none
# fix: apply it once
"""


def write_change(folder: Path, name: str, *, body: str = "", **fields: str) -> Path:
    """Write the file of a bad change; `fields`: header fields that differ from the usual ones."""
    usual = {"visible_since": "unit", "scenario": "steady-state", "caught_by": "no-double-fill"}
    path = folder / f"{name}.diff"
    path.write_text(HEADER.format(**{**usual, **fields}) + body)
    return path


def a_case(name: str, kind: Kind = Kind.CHANGE, **more: Any) -> Case:
    """A bad change of that name, or a good run of a scenario of that name."""
    change = name if kind is Kind.CHANGE else ""
    usual: dict[str, Any] = {
        "name": name, "kind": kind, "change": change, "limit_s": LIMIT_S,
        "scenario": "steady-state" if change else name, "parameters": {"change": name} if change else {},
        "caught_by": ("no-double-fill",) if change else (),
    }  # fmt: skip
    return Case(**{**usual, **more})


class PowerRig(Rig):
    """A measurement of fake runs: its cases, the scripts of their runs, and the source tree that is measured."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.source, self.changes = folder / "src", folder / "changes"
        self.source.mkdir()
        self.changes.mkdir()
        (self.source / "main.py").write_text("good = True\n")
        (self.source / "deploy").mkdir()
        (self.source / "deploy" / "stack.yaml").write_text("Resources: {}\n")
        self.cases: list[Case] = []

    def change(self, name: str, findings: Sequence[Finding] | None = DOUBLED, **more: Any) -> None:
        """Add a bad change whose run ends with those findings."""
        if self._script(name, "steady-state", findings, **more):
            write_change(self.changes, name)
            self.cases.append(a_case(name, digest=build.read_change_header(name, self.changes).digest))

    def good(self, name: str, findings: Sequence[Finding] | None = GOOD, **more: Any) -> None:
        """Add a good run that ends with those findings."""
        if self._script(name, name, findings, **more):
            self.cases.append(a_case(name, Kind.GOOD))

    def measure(self, session: Session | None = None, **plan: Any) -> tuple[dict[str, Any], list[str]]:
        """Run the measurement; return its record and the printed lines."""
        session = session or Session(plan=self.power_plan(**plan))
        session.plan.folder.mkdir(parents=True, exist_ok=True)
        said: list[str] = []
        made = power.Measurement(session, say=said.append, command=COMMAND, source=self.source).run()
        return made, [*said, *power.table(made, session.plan.folder)]

    def resume(self) -> Session:
        return power.reopen("latest", reports=self.reports, source=self.source, changes_dir=self.changes)

    def power_plan(self, **more: Any) -> Plan:
        made = Plan(
            power_id="power-1", reports=self.reports, cases=tuple(self.cases), parameters={}, jobs=1,
            source_tree=build.digest_of(self.source), any_build=False, reproduce="gameday power",
        )  # fmt: skip
        return dataclasses.replace(made, **more)

    def leave(self, runs: Sequence[Run] = (), **facts: Any) -> Path:
        """Write power.json as an earlier session left it."""
        plan = self.power_plan()
        plan.folder.mkdir(parents=True, exist_ok=True)
        power_record.write(power_record.make(plan, runs, some_facts(**facts)), plan.folder)
        return plan.folder

    def _script(
        self, name: str, scenario: str, findings: Sequence[Finding] | None, *, attempt: int = 1, aborted: bool = False,
        steps: Any = PHASES, exit_code: int | None = None, **more: Any,
    ) -> bool:  # fmt: skip
        record = None if findings is None else a_record(scenario, findings, aborted=aborted)
        self.script(name, record, attempt=attempt, steps=steps, exit_code=exit_code, **more)
        return attempt == 1 and name not in {case.name for case in self.cases}


def some_facts(**more: Any) -> Facts:
    usual = {
        "state": "done", "stopped_by": "", "started_at": "2026-01-01T10:00:00.000Z", "ended_at": None, "resumed": 0,
        "jobs": ConcurrencySlots(requested=1, members=1).plain(), "machine": {"cpus": 2},
    }  # fmt: skip
    return Facts(**{**usual, **more})
