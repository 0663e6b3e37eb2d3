"""Read all evidence of a finished run from its folder: what clients saw, the ledger, what the platform showed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kit import collect, scenarios
from kit.errors import EvidenceMissing, UsageError
from kit.files.regular_file import read_text
from kit.files.seal import check_evidence
from kit.gameday.phases import phase_windows
from kit.load import History, read_history
from kit.model import NS_PER_S, WARM_UP_S, Phase
from kit.scenarios import Scenario

HISTORY, LEDGER, TEMPLATE = "history", "ledger", "stack.yaml"
TEMPLATE_BYTES_MAX = 1_000_000
# For messages about a folder that is not complete.
EXPECTED = f"{collect.OBSERVATIONS_FILE}, {HISTORY}/summary.json, {LEDGER}/*.parquet, platform/*.parquet, {TEMPLATE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvidence:
    """What a run is judged by.

    `events` are the ledger's; `template` is the text of the deployed stack template; `cleanup` is None if the run never
    cleaned up.
    """

    run_dir: Path
    scenario: Scenario
    observed: collect.Observations
    history: History
    events: pd.DataFrame
    template: str
    cleanup: collect.Cleanup | None

    @property
    def load_events(self) -> pd.DataFrame:
        """The ledger's events since the load began, without the past."""
        return self.events[self.events["ts_ns"] >= self.observed.load_started_at * NS_PER_S]

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phase windows by which clients' measurements are judged."""
        seen = self.observed
        return phase_windows(seen.load_started_at + WARM_UP_S, seen.fault, seen.load_ended_at, self.scenario)


def read_evidence(run_dir: Path) -> RunEvidence:
    """Read a run's folder, wherever it lies.

    Raises UsageError if it is not the folder of a run, EvidenceMissing that names what a run's folder lacks.
    """
    if not run_dir.is_dir():
        raise UsageError(f"{run_dir} is not a folder; expected the folder of a finished run, with {EXPECTED}")
    if not any((run_dir / name).exists() for name in (collect.OBSERVATIONS_FILE, HISTORY, LEDGER, "run.json")):
        raise UsageError(f"{run_dir} is not the folder of a run; expected {EXPECTED}")
    try:
        check_evidence(run_dir)
        observed = collect.read_observations(run_dir)
        return RunEvidence(
            run_dir=run_dir,
            scenario=_scenario(observed.facts.scenario),
            observed=observed,
            history=read_history(run_dir / HISTORY),
            events=collect.read_events(run_dir),
            template=read_text(run_dir / TEMPLATE, TEMPLATE_BYTES_MAX),
            cleanup=collect.read_cleanup(run_dir),
        )
    except EvidenceMissing as error:
        raise EvidenceMissing(f"{run_dir} cannot be judged: {error}; a run's folder holds {EXPECTED}") from error


def _scenario(name: str) -> Scenario:
    try:
        return scenarios.get(name)
    except UsageError as error:
        raise EvidenceMissing(f"this version of the kit does not know its scenario ({error})") from error
