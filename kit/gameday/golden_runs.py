"""Record golden profiles of finished runs, and compare runs with them. The statistics are in `kit.slo.golden`.

A run is comparable only with runs of the same load on the same class of machine, so its sample holds both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kit import scenarios, slo
from kit.errors import EvidenceMissing, UsageError
from kit.files import make_folder, read_object, write_json
from kit.gameday.evidence import RunEvidence
from kit.model import BOOK, CANCEL, GET_ORDER, TRADES, Finding, Verdict
from kit.notebook import run_verdict, scraps
from kit.slo import golden
from kit.slo.histogram import Histogram
from kit.verdict import gate

SAMPLE_SCRAP = "sample"
# Runs are comparable if these parameters are equal; the build may differ.
LOAD_FIELDS = (
    "scenario", "rate_per_s", "steady_s", "fault_duration_s", "recovery_s", "past_orders", "target", "region",
)  # fmt: skip


def sample(evidence: RunEvidence) -> golden.RunSample:
    """Make what this run would add to a profile."""
    phases = {}
    for phase in evidence.phases:
        during = slo.within(evidence.history.attempts, "intended_ns", phase)
        phases[phase.name] = golden.PhaseSample(
            latency=Histogram.of(slo.latency_ms(slo.first_orders(during)).tolist()),
            attempts=len(during),
            errors=int(slo.is_error(during).sum()),
            operations={
                operation: Histogram.of(slo.latency_ms(slo.first_attempts(during, (operation,))).tolist())
                for operation in (CANCEL, GET_ORDER, BOOK, TRADES)
            },
        )
    observed = evidence.observed
    load = {name: observed.facts.parameters.get(name) for name in LOAD_FIELDS}
    return golden.RunSample(run_id=observed.facts.run_id, load=load, machine=observed.machine.kind, phases=phases)


def record_golden(scenario: str, runs: Sequence[Path], reports: Path) -> Path:
    """Write the profile of a scenario's PASS runs, and return its path.

    Raises UsageError for a run that is not PASS, whose sends were late, of another scenario or unlike the others, or
    too few of them; EvidenceMissing for a run that left no sample.
    """
    samples = tuple(_good(run) for run in runs)
    for one in samples:
        if one.load.get("scenario") != scenario:
            raise UsageError(f"run {one.run_id} is of scenario {one.load.get('scenario')!r}, not {scenario!r}")
    made = golden.Golden(runs=samples)
    path = _path_of(scenario, reports)
    make_folder(path.parent)
    write_json(path, made.to_plain())
    return path


def compare_with_golden(scenario: str, runs: Sequence[Path], reports: Path) -> list[Finding]:
    """Compare run folders with the scenario's profile. Raises what `golden.compare` and `record_golden` raise."""
    path = _path_of(scenario, reports)
    if not path.exists():
        raise UsageError(f"golden profile {path} does not exist; `gameday golden record` makes one")
    try:
        profile = golden.Golden.from_plain(read_object(path))
    except EvidenceMissing as error:
        raise EvidenceMissing(f"golden profile {path}: {error}") from error
    return golden.compare(profile, [_sample_of(run) for run in runs])


def _path_of(scenario: str, reports: Path) -> Path:
    scenarios.get(scenario)
    return reports / "golden" / f"{scenario}.json"


def _good(run: Path) -> golden.RunSample:
    record = run_verdict.judge_run(run)
    if record["verdict"] != Verdict.PASS:
        why = f"{record['verdict']} ({record['reasons'][0]})"
        raise UsageError(f"run {run} is {why}: a golden profile is made of PASS runs only")
    return _sample_of(run)


def _sample_of(run: Path) -> golden.RunSample:
    found = _scraps(run)
    if SAMPLE_SCRAP not in found:
        raise EvidenceMissing(f"run {run} has no sample for golden profiles")
    record = found.get(scraps.VERDICT_SCRAP, {})
    gate.validate(record)
    lag_ms = record["load"]["lag_ms_p99"] if record["load"] else None
    if lag_ms is None or not lag_ms <= slo.LAG_MS_P99_MAX:
        late = "at an unknown lag" if lag_ms is None else f"{lag_ms:g} ms after their time at p99"
        raise UsageError(f"run {run}: its sends left {late}; golden profiles allow {slo.LAG_MS_P99_MAX:g} ms")
    return golden.RunSample.from_plain(found[SAMPLE_SCRAP])


def _scraps(run: Path) -> dict[str, Any]:
    path = run / "executed.ipynb"
    if not path.exists():
        raise UsageError(f"{run} is not the folder of a finished run: it has no executed.ipynb")
    return scraps.read(path)
