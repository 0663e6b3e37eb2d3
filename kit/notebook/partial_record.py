"""Tell what is known of a run that left no verdict: how it ended, what its load did, what FIS last said.

What is not known is said to be unknown. It is never reported as nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kit.errors import EvidenceMissing, UnreadableFile
from kit.files import read_object, write_json
from kit.load.files import PROGRESS_FILE, SUMMARY_FILE, stats_of
from kit.model import FaultWindow, LoadStats
from kit.notebook.run_phases import PhaseStart, RunPhase, read_phases
from kit.verdict import gate

HISTORY = "history"
EXPERIMENT_FILE = "experiment.json"
# Phases before the load, and before the fault.
BEFORE_LOAD = frozenset({RunPhase.DEPLOY})
BEFORE_FAULT = frozenset({RunPhase.DEPLOY, RunPhase.STEADY_STATE})


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFacts:
    """What the folder of an unjudged run tells. `unknown`: a sentence for the fault or the load if it is not known."""

    started_at: float | None
    fault: FaultWindow | None
    load: LoadStats | None
    unknown: Mapping[str, str]
    sentences: tuple[str, ...]


def write_experiment(run_dir: Path, fault: FaultWindow) -> None:
    """Keep what FIS said last of the running experiment. Raises EvidenceMissing if it cannot be written."""
    write_json(run_dir / EXPERIMENT_FILE, asdict(fault))


def invalid_record(
    run_dir: Path, reasons: list[str], *, parameters: Mapping[str, Any] | None = None, reproduce: str = ""
) -> dict[str, Any]:
    """Make the INVALID record of a run without a verdict, from whatever its folder holds."""
    facts = known_facts(run_dir)
    given = parameters or {}
    scenario = given.get("scenario")

    def made(known: KnownFacts) -> dict[str, Any]:
        return gate.invalid_record(
            run_id=run_dir.resolve().name or "unknown",
            scenario=scenario if isinstance(scenario, str) and scenario else "unknown",
            parameters=given,
            reasons=[*reasons, *known.sentences],
            reproduce=reproduce,
            started_at=known.started_at,
            fault=known.fault,
            load=known.load,
            unknown=known.unknown,
        )

    try:
        return made(facts)
    except (EvidenceMissing, TypeError) as error:
        unknown = {**facts.unknown, "fault": f"{EXPERIMENT_FILE} cannot be used: {error}"}
        return made(replace(facts, fault=None, unknown=unknown))


def known_facts(run_dir: Path) -> KnownFacts:
    """Read what an unjudged run left in its folder. Nothing raises here: what cannot be read is unknown."""
    unknown: dict[str, str] = {}
    sentences: list[str] = []
    try:
        phases, phases_problem = read_phases(run_dir), ""
    except EvidenceMissing as error:
        phases, phases_problem = (), str(error)
    if phases:
        sentences.append(f"its last recorded phase is {_last(phases).value}")
    load = _load(run_dir, phases, phases_problem, unknown, sentences)
    fault = _fault(run_dir, phases, phases_problem, unknown, sentences)
    return KnownFacts(
        started_at=phases[0].t if phases else None,
        fault=fault,
        load=load,
        unknown=unknown,
        sentences=tuple(sentences),
    )


def _last(phases: tuple[PhaseStart, ...]) -> RunPhase:
    """Return the last phase before the run was closed, which it is however it ends."""
    return next((one.phase for one in reversed(phases) if one.phase is not RunPhase.CLOSED), RunPhase.CLOSED)


def _load(
    run_dir: Path, phases: tuple[PhaseStart, ...], problem: str, unknown: dict[str, str], sentences: list[str]
) -> LoadStats | None:
    folder = run_dir / HISTORY
    for name in (SUMMARY_FILE, PROGRESS_FILE):
        if not (folder / name).exists():
            continue
        try:
            stats = stats_of(read_object(folder / name))
        except (EvidenceMissing, UnreadableFile) as error:
            problem = f"{HISTORY}/{name}: {error}"
            continue
        least = "at least " if name == PROGRESS_FILE else ""
        sentences.append(
            f"{HISTORY}/{name}: the load had sent {least}{stats.sent} attempts ({stats.ok} ok, {stats.fail} refused, "
            f"{stats.info} unknown)"
        )
        return stats
    if problem or not phases or not {one.phase for one in phases} - {RunPhase.CLOSED} <= BEFORE_LOAD:
        unknown["load"] = problem or "the run left no record of its load"
    return None


def _fault(
    run_dir: Path, phases: tuple[PhaseStart, ...], problem: str, unknown: dict[str, str], sentences: list[str]
) -> FaultWindow | None:
    if (run_dir / EXPERIMENT_FILE).exists():
        try:
            fault = FaultWindow(**read_object(run_dir / EXPERIMENT_FILE))
        except (EvidenceMissing, TypeError) as error:
            unknown["fault"] = f"{EXPERIMENT_FILE} cannot be used: {error}"
            return None
        which = f"experiment {fault.experiment_id} ({fault.template})"
        sentences.append(f"{EXPERIMENT_FILE}: FIS last said that {which} was {fault.status}")
        return fault
    if problem or not phases or not {one.phase for one in phases} - {RunPhase.CLOSED} <= BEFORE_FAULT:
        unknown["fault"] = problem or "the run left no record of an experiment"
    return None
