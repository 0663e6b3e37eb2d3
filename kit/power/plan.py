"""Plan a power measurement: check the header of every bad change and the parameters of every run.

A change runs in the scenario that its header names, with that scenario's brief parameters. A change that only shows
under load (`visible-since: load`) needs many orders, and runs for the scenario's full length.
"""

from __future__ import annotations

import datetime as dt
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from kit import build, integrity, scenarios, suite
from kit.errors import UsageError
from kit.gameday.findings import OTHER_CHECKS
from kit.gameday.parameters import CHANGES, SOURCE, Parameters
from kit.parameter_specs import SEED_MAX
from kit.slo.objectives import Metric

# Each scenario of the suite once; a published figure needs more.
GOOD_RUNS = 6
GOOD_RUNS_MAX = 1_000
# A run id has at most 40 characters, of which the last four are random.
STEM_CHARS_MAX = 34
# Parameters that differ between the runs, so that the caller cannot set them.
OWN_PARAMETERS = ("change", "run_id")


class Kind(StrEnum):
    """Whether the gate must reject a case (a bad change) or pass it (a good run)."""

    CHANGE = "change"
    GOOD = "good"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A bad change or one good run.

    `full_length`: runs for the scenario's full length. `digest`: of the change's file. `imported`: a good run that was
    made elsewhere and is only counted.
    """

    name: str
    kind: Kind
    scenario: str
    parameters: Mapping[str, Any]
    measured_s: int = 0
    limit_s: float = 0.0
    full_length: bool = False
    change: str = ""
    title: str = ""
    breaks: str = ""
    visible_since: str = ""
    caught_by: tuple[str, ...] = ()
    fix: str = ""
    digest: str = ""
    imported: bool = False

    def member(self) -> suite.Member:
        """Make a run of the case under a new run id."""
        return suite.Member(
            scenario=self.scenario,
            parameters=self.parameters,
            run_id=f"{self.name[:STEM_CHARS_MAX]}-{secrets.token_hex(2)}",
            measured_s=self.measured_s,
            limit_s=self.limit_s,
            label=self.name,
        )

    def plain(self) -> dict[str, Any]:
        """Return the JSON form; `from_plain` reads it back."""
        return asdict(self)

    @classmethod
    def from_plain(cls, value: Mapping[str, Any]) -> Self:
        return cls(**{**value, "kind": Kind(value["kind"]), "caught_by": tuple(value["caught_by"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A checked measurement.

    `source_tree`: digest of the unchanged source. `any_build`: good runs of other builds count too.
    """

    power_id: str
    reports: Path
    cases: tuple[Case, ...]
    parameters: Mapping[str, str]
    jobs: int | None
    source_tree: str
    any_build: bool
    reproduce: str

    @property
    def folder(self) -> Path:
        return self.reports / self.power_id


def make(
    *,
    reports: Path,
    only: Sequence[str] = (),
    good: int = GOOD_RUNS,
    good_only: bool = False,
    parameters: Mapping[str, Any] | None = None,
    jobs: str = suite.JOBS_AUTO,
    imported: Sequence[Case] = (),
    any_build: bool = False,
    changes_dir: Path = CHANGES,
) -> Plan:
    """Check everything and make the folder. `parameters`: for every run, as text. `imported`: good runs that exist.

    Raises UsageError; nothing is written.
    """
    asked, jobs_max = dict(parameters or {}), suite.parse_jobs(jobs)
    _check_options(only, good, good_only, asked, imported)
    power_id = f"power-{dt.datetime.now(dt.UTC):%m%d-%H%M%S}-{secrets.token_hex(2)}"
    folder = reports.resolve() / power_id
    names = () if good_only else _select(only, changes_dir)
    checked = [_change(name, asked, folder, changes_dir) for name in names]
    checked += [_good(number, asked, folder) for number in range(1, good + 1)]
    if checked:
        checked[0][1].preflight()
    folder.mkdir(parents=True, exist_ok=True)
    return Plan(
        power_id=power_id,
        reports=folder.parent,
        cases=(*(case for case, _ in checked), *imported),
        parameters={name: str(value) for name, value in asked.items()},
        jobs=jobs_max,
        source_tree=build.digest_of(SOURCE),
        any_build=any_build,
        reproduce=_reproduce(only, good + len(imported), good_only, asked),
    )


def _check_options(
    only: Sequence[str], good: int, good_only: bool, asked: Mapping[str, Any], imported: Sequence[Case]
) -> None:
    for name in OWN_PARAMETERS:
        if name in asked:
            raise UsageError(f"parameter {name}={asked[name]!r}: every run of a power measurement has its own")
    if good_only and only:
        raise UsageError(f"--good-only runs no bad change, but --only names {', '.join(only)}")
    if not 0 <= good <= GOOD_RUNS_MAX:
        raise UsageError(f"parameter good={good} is outside 0..{GOOD_RUNS_MAX}")
    if good_only and not good and not imported:
        raise UsageError("--good-only with --good 0 and no --from: there is nothing to count")


def _select(only: Sequence[str], changes_dir: Path) -> tuple[str, ...]:
    known = build.known_changes(changes_dir)
    for name in only:
        if name not in known:
            raise UsageError(f"change {name!r} is unknown; known: {', '.join(known) or 'none'}")
    return tuple(name for name in known if not only or name in only)


def _change(name: str, asked: Mapping[str, Any], folder: Path, changes_dir: Path) -> tuple[Case, Parameters]:
    header = build.read_change_header(name, changes_dir)
    scenario = _scenario(header)
    build.validate_change(SOURCE, name, changes_dir)
    full = header.visible_since == "load"
    values = {**({} if full else scenario.brief), **asked, "change": name}
    member, parameters = suite.plan_member(scenario.name, values, folder, label=name)
    case = Case(
        name=name,
        kind=Kind.CHANGE,
        scenario=scenario.name,
        parameters=member.parameters,
        measured_s=member.measured_s,
        limit_s=member.limit_s,
        full_length=full,
        change=name,
        title=header.title,
        breaks=header.breaks,
        visible_since=header.visible_since,
        caught_by=header.caught_by,
        fix=header.fix,
        digest=header.digest,
    )
    return case, parameters


def _scenario(header: build.ChangeHeader) -> scenarios.Scenario:
    """Return the scenario that a header names. Raises UsageError if it does not run every check of `caught-by`."""
    file = f"{header.name}.diff"
    if header.scenario not in scenarios.names():
        raise UsageError(f"{file}: scenario={header.scenario!r} is unknown; known: {', '.join(scenarios.names())}")
    scenario = scenarios.get(header.scenario)
    promised = {Metric(objective.metric).check for objective in scenario.objectives}
    checks = sorted({check.name for check in integrity.CHECKS} | promised | set(OTHER_CHECKS))
    for check in header.caught_by:
        if check not in checks:
            raise UsageError(
                f"{file}: caught-by={check!r} is not a check of {scenario.name}; it has: {', '.join(checks)}"
            )
    return scenario


def _good(number: int, asked: Mapping[str, Any], folder: Path) -> tuple[Case, Parameters]:
    """Plan one good run. The scenarios of the pr suite take turns; no two runs have the same seed."""
    members = suite.PR.members()
    name = members[(number - 1) % len(members)]
    values = {**suite.PR.parameters(scenarios.get(name)), **asked}
    seed = (suite.plan_member(name, values, folder)[1].seed + number) % SEED_MAX
    label = f"good-{number}-{name}"
    member, parameters = suite.plan_member(name, {**values, "seed": seed}, folder, label=label)
    case = Case(
        name=label,
        kind=Kind.GOOD,
        scenario=name,
        parameters=member.parameters,
        measured_s=member.measured_s,
        limit_s=member.limit_s,
    )
    return case, parameters


def _reproduce(only: Sequence[str], good: int, good_only: bool, parameters: Mapping[str, Any]) -> str:
    """Write the command that measures all of it, including as many good runs as were imported."""
    words = ["gameday", "power", *(["--only", ",".join(only)] if only else []), "--good", str(good)]
    words += ["--good-only"] if good_only else []
    return shlex.join(words + suite.parameter_options(parameters))
