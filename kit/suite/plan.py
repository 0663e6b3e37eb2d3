"""Plan a suite: check every parameter of every run before the first one starts."""

from __future__ import annotations

import datetime as dt
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit import gameday, scenarios
from kit.errors import UsageError
from kit.notebook import runner
from kit.parameter_specs import SUITE_ID
from kit.suite import catalogue

# How long a run may take beyond its phases, for deployment, drain, checks, report and tear-down.
OVERHEAD_S_MAX: Mapping[str, int] = {"local": 240, "aws": 3_600}
JOBS_AUTO = "auto"
RUN_ID_CHARS_MAX = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One run of one scenario.

    `limit_s`: how long it may take. `label`: its name if several runs have the same scenario.
    """

    scenario: str
    parameters: Mapping[str, Any]
    run_id: str
    measured_s: int
    limit_s: float
    label: str = ""

    @property
    def name(self) -> str:
        """Its name, unique among all members; its repeat has the same name."""
        return self.label or self.scenario

    def arguments(self, run_id: str, folder: Path) -> list[str]:
        """Return the arguments of `gameday run`."""
        return [self.scenario, "--run-id", run_id, "--reports", str(folder), *parameter_options(self.parameters)]

    def command(self) -> str:
        """Return the command with which a person repeats this run."""
        return shlex.join(["gameday", "run", self.scenario, *parameter_options(self.parameters)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A suite with its runs, longest first.

    `jobs`: how many runs in parallel, None = as many as the CPU allows. `kind`: what messages call it.
    """

    suite: str
    suite_id: str
    reports: Path
    members: tuple[Member, ...]
    parameters: Mapping[str, Any]
    jobs: int | None
    reproduce: str
    kind: str = "suite"

    @property
    def folder(self) -> Path:
        return self.reports / self.suite_id


def make_plan(
    suite_name: str,
    *,
    reports: Path,
    parameters: Mapping[str, Any] | None = None,
    only: Sequence[str] = (),
    jobs: str = JOBS_AUTO,
    suite_id: str = "",
) -> Plan:
    """Check everything and choose the suite's folder. `parameters`: for every run, as text.

    Raises UsageError; nothing is written.
    """
    suite = catalogue.get(suite_name)
    names, jobs_max, asked = _select(suite, only), parse_jobs(jobs), dict(parameters or {})
    suite_id = suite_id or f"{suite_name}-{dt.datetime.now(dt.UTC):%m%d-%H%M%S}-{secrets.token_hex(2)}"
    SUITE_ID.check(suite_id)
    folder = reports.resolve() / suite_id
    if folder.exists():
        raise UsageError(f"suite_id={suite_id!r}: {folder} exists; choose another or leave it empty")
    checked = [plan_member(name, {**suite.parameters(scenarios.get(name)), **asked}, folder) for name in names]
    checked[0][1].preflight()
    members = [member for member, _ in checked]
    return Plan(
        suite=suite_name,
        suite_id=suite_id,
        reports=folder.parent,
        members=tuple(sorted(members, key=lambda member: -member.measured_s)),
        parameters=asked,
        jobs=jobs_max,
        reproduce=_reproduce(suite_name, asked, only, jobs),
    )


def plan_member(
    scenario: str, values: Mapping[str, Any], folder: Path, *, label: str = ""
) -> tuple[Member, gameday.Parameters]:
    """Plan one run of a scenario into `folder`, with parameters as its notebook takes them. Raises UsageError."""
    given = runner.strict_parameters(gameday.NOTEBOOK, values)
    parameters = gameday.Parameters(scenario=scenario, reports=folder, **given)
    measured_s = parameters.steady_s + parameters.fault_duration_s + parameters.recovery_s
    member = Member(
        scenario=scenario,
        parameters=given,
        run_id=parameters.run_id,
        measured_s=measured_s,
        limit_s=measured_s + OVERHEAD_S_MAX[parameters.target],
        label=label,
    )
    return member, parameters


def parse_jobs(text: str) -> int | None:
    """Parse `--jobs`: how many runs in parallel, None for as many as the CPU allows. Raises UsageError."""
    if text == JOBS_AUTO:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"parameter jobs={text!r} is neither {JOBS_AUTO} nor a whole number of 1 or more")
    return int(text)


def parameter_options(parameters: Mapping[str, Any]) -> list[str]:
    """Write parameters as options of the command line."""
    return [word for name, value in parameters.items() for word in ("-p", f"{name}={value}")]


def repeat_run_id(run_id: str) -> str:
    """Name a run's repeat. Order ids begin with the last word of the run id, so they differ as well."""
    return f"{run_id[: RUN_ID_CHARS_MAX - 1]}r"


def _select(suite: catalogue.Suite, only: Sequence[str]) -> tuple[str, ...]:
    members = suite.members()
    for name in only:
        if name not in members:
            raise UsageError(f"scenario {name!r} is not in suite {suite.name}; it has: {', '.join(members)}")
    return tuple(name for name in members if not only or name in only)


def _reproduce(suite: str, parameters: Mapping[str, Any], only: Sequence[str], jobs: str) -> str:
    words = ["gameday", "suite", suite, *(["--only", ",".join(only)] if only else [])]
    words += [] if jobs == JOBS_AUTO else ["--jobs", jobs]
    return shlex.join(words + parameter_options(parameters))
