"""Measurements of power over cheap runs: the programs of `suite_rig`, changes and a source tree of a few lines."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kit import build, power
from kit.model import Finding
from kit.power import record
from kit.power.outcome import Run
from kit.power.plan import Case, Kind, Plan
from kit.power.record import Facts
from kit.power.session import Session
from kit.suite.concurrency import Places
from tests.suite.suite_rig import DOUBLED, GOOD, LIMIT_S, PHASES, Rig, a_record

HEADER = """# title: tidy up
# breaks: an order is applied once
# how: it is applied twice
# visible-since: {visible_since}
# scenario: {scenario}
# caught-by: {caught_by}
# tests: none
# fix: apply it once
"""


def write_change(folder: Path, name: str, *, body: str = "", **said: str) -> Path:
    """The file of a change; `said`: header lines that are not as usual."""
    usual = {"visible_since": "unit", "scenario": "steady-state", "caught_by": "no-double-fill"}
    path = folder / f"{name}.diff"
    path.write_text(HEADER.format(**{**usual, **said}) + body)
    return path


def a_case(name: str, kind: Kind = Kind.CHANGE, **more: Any) -> Case:
    """A change of that name, or a good run of a scenario of that name."""
    change = name if kind is Kind.CHANGE else ""
    usual: dict[str, Any] = {
        "name": name, "kind": kind, "change": change, "limit_s": LIMIT_S,
        "scenario": "steady-state" if change else name, "given": {"change": name} if change else {},
        "caught_by": ("no-double-fill",) if change else (),
    }  # fmt: skip
    return Case(**{**usual, **more})


class PowerRig(Rig):
    """A folder with cases, what their runs are to do, and a tree that they are built from."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.source, self.changes = folder / "src", folder / "changes"
        self.source.mkdir()
        self.changes.mkdir()
        (self.source / "main.py").write_text("good = True\n")
        self.cases: list[Case] = []

    def change(self, name: str, findings: Sequence[Finding] | None = DOUBLED, **more: Any) -> None:
        """A bad change whose run ends with those findings."""
        if self._told(name, "steady-state", findings, **more):
            write_change(self.changes, name)
            self.cases.append(a_case(name, digest=build.read_header(name, self.changes).digest))

    def good(self, name: str, findings: Sequence[Finding] | None = GOOD, **more: Any) -> None:
        """A good run that ends with those findings."""
        if self._told(name, name, findings, **more):
            self.cases.append(a_case(name, Kind.GOOD))

    def measure(self, session: Session | None = None, **plan: Any) -> tuple[dict[str, Any], list[str]]:
        """The record and what was said."""
        session = session or Session(plan=self.power_plan(**plan))
        session.plan.folder.mkdir(parents=True, exist_ok=True)
        said: list[str] = []
        made = power.Measurement(session, say=said.append, command=self.command, source=self.source).run()
        return made, [*said, *power.table(made, session.plan.folder)]

    def resume(self) -> Session:
        return power.reopen("latest", reports=self.reports, source=self.source, changes_dir=self.changes)

    def power_plan(self, **more: Any) -> Plan:
        made = Plan(
            power_id="power-1", reports=self.reports, cases=tuple(self.cases), given={}, jobs=1,
            tree=build.digest_of(self.source), any_build=False, reproduce="gameday power",
        )  # fmt: skip
        return dataclasses.replace(made, **more)

    def leave(self, runs: Sequence[Run] = (), **facts: Any) -> Path:
        """A power.json as an earlier session left it."""
        plan = self.power_plan()
        plan.folder.mkdir(parents=True, exist_ok=True)
        record.write(record.make(plan, runs, some_facts(**facts)), plan.folder)
        return plan.folder

    def _told(
        self, name: str, scenario: str, findings: Sequence[Finding] | None, *, attempt: int = 1, aborted: bool = False,
        steps: Any = PHASES, exit_code: int | None = None, **more: Any,
    ) -> bool:  # fmt: skip
        made = None if findings is None else a_record(scenario, findings, aborted=aborted)
        self.tell(name, made, attempt=attempt, steps=steps, exit_code=exit_code, **more)
        return attempt == 1 and name not in {case.name for case in self.cases}


def some_facts(**more: Any) -> Facts:
    usual = {
        "state": "done", "stopped_by": "", "started_at": "2026-01-01T10:00:00.000Z", "ended_at": None, "resumed": 0,
        "jobs": Places(asked=1, members=1).plain(), "machine": {"cpus": 2},
    }  # fmt: skip
    return Facts(**{**usual, **more})
