"""Compare candidate runs with a golden profile of repeated good runs, to tell whether the build got slower.

The unit of the statistics is the run, never the request. Requests of one run depend on each other, so that a test over
requests finds a difference in every second pair of equal builds.

For each phase and percentile with n golden runs and m candidates, d = mean log candidate - mean log golden and its
prediction interval d ± t(n-1) · s · √(1/n + 1/m), s the golden runs' standard deviation (Hahn & Meeker, Statistical
Intervals, section 4.8). It got slower when the 95 % lower bound is above 1 (Holm's correction over all metrics) *and*
the ratio is above RATIO_MIN: a difference too small to matter is no regression however certain. Error rates: exact
binomial test against the upper bound (Clopper & Pearson) of the golden rate.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from kit.errors import EvidenceMissing, UsageError
from kit.model import CheckKind, Finding, Status
from kit.slo.histogram import Histogram

SCHEMA = "gameday.golden/1"
# How many golden runs a profile needs, and how many candidates a failure needs. Fewer candidates can only warn.
GOLDEN_RUNS_MIN = 8
CANDIDATES_MIN = 3
RATIO_MIN = 1.2
ALPHA = 0.05
SHARES = (50, 95, 99)
# Below this many requests a percentile of one run's phase says little.
REQUESTS_MIN = 100
# The same for one operation other than an order, of which there are fewer; those with less are not compared.
OPERATION_REQUESTS_MIN = 20
OPERATION_SHARES = (50, 95)
# Golden runs without any spread would make every difference certain; the width of a bucket is always possible.
LOG_SPREAD_MIN = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseSample:
    """One phase of one run: latency of first attempts, attempts and how many of them were errors.

    `latency` is that of orders, `operations` that of other operations by name; profiles of older runs have none.
    """

    latency: Histogram
    attempts: int
    errors: int
    operations: Mapping[str, Histogram] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSample:
    """What a golden profile keeps of one run. Runs are comparable if their `load` and `machine` are equal."""

    run_id: str
    load: Mapping[str, Any]
    machine: Mapping[str, Any]
    phases: Mapping[str, PhaseSample]

    def to_plain(self) -> dict[str, Any]:
        """Return the JSON form; `from_plain` reads it back."""
        phases = {
            name: {
                "latency": phase.latency.to_plain(),
                "attempts": phase.attempts,
                "errors": phase.errors,
                "operations": {operation: latency.to_plain() for operation, latency in phase.operations.items()},
            }
            for name, phase in self.phases.items()
        }
        return {"run_id": self.run_id, "load": dict(self.load), "machine": dict(self.machine), "phases": phases}

    @classmethod
    def from_plain(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_plain` made. Raises EvidenceMissing for anything else."""
        try:
            phases = {
                name: PhaseSample(
                    latency=Histogram.from_plain(phase["latency"]),
                    attempts=int(phase["attempts"]),
                    errors=int(phase["errors"]),
                    operations={
                        operation: Histogram.from_plain(latency)
                        for operation, latency in phase.get("operations", {}).items()
                    },
                )
                for name, phase in value["phases"].items()
            }
            return cls(run_id=value["run_id"], load=value["load"], machine=value["machine"], phases=phases)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise EvidenceMissing(f"a run's sample is broken: {error!r}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """At least GOLDEN_RUNS_MIN good runs under one load on one class of machine."""

    runs: tuple[RunSample, ...]

    def __post_init__(self) -> None:
        if len(self.runs) < GOLDEN_RUNS_MIN:
            raise UsageError(f"a golden profile needs {GOLDEN_RUNS_MIN} runs, {len(self.runs)} were given")
        for run in self.runs[1:]:
            _require_comparable(self.runs[0], run)

    def to_plain(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "runs": [run.to_plain() for run in self.runs]}

    @classmethod
    def from_plain(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_plain` made.

        Raises EvidenceMissing for another schema or broken runs, UsageError for too few runs or runs that are not
        comparable.
        """
        if not isinstance(value, Mapping) or value.get("schema") != SCHEMA:
            raise EvidenceMissing(f"not a {SCHEMA} record")
        return cls(runs=tuple(RunSample.from_plain(run) for run in value.get("runs", ())))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One metric. `ratio` and its 95 % interval are candidate over golden; `p` is one-sided, not yet corrected."""

    name: str
    phase: str
    golden: float
    candidate: float
    ratio: float
    low: float
    high: float
    p: float
    unit: str


def compare(golden: Golden, candidates: Sequence[RunSample]) -> list[Finding]:
    """Make one finding of kind golden for each metric and phase.

    Raises UsageError for candidates of another load or another class of machine. A phase that the golden runs have
    and a candidate lacks is INVALID.
    """
    if not candidates:
        raise UsageError("no candidate run was given")
    for run in candidates:
        _require_comparable(golden.runs[0], run)
    found: list[Finding] = []
    compared: list[Comparison] = []
    for phase in golden.runs[0].phases:
        lacking = _lacking(phase, [*golden.runs, *candidates])
        if lacking:
            found.append(_no_evidence(phase, lacking))
            continue
        compared += [_latency(golden.runs, candidates, phase, share) for share in SHARES]
        for operation in _comparable_operations(phase, [*golden.runs, *candidates]):
            compared += [_latency(golden.runs, candidates, phase, share, operation) for share in OPERATION_SHARES]
        compared.append(_errors(golden.runs, candidates, phase))
    significant = _holm([comparison.p for comparison in compared])
    return found + [
        _finding(comparison, certain, len(candidates))
        for comparison, certain in zip(compared, significant, strict=True)
    ]


def _require_comparable(golden: RunSample, other: RunSample) -> None:
    for what in ("load", "machine"):
        ours, theirs = getattr(golden, what), getattr(other, what)
        differing = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
        if differing:
            key = differing[0]
            raise UsageError(
                f"run {other.run_id} cannot be compared with {golden.run_id}: {what} {key}={theirs.get(key)!r}, "
                f"not {ours.get(key)!r}"
            )


def _lacking(phase: str, runs: Sequence[RunSample]) -> str:
    for run in runs:
        sample = run.phases.get(phase)
        if sample is None or sample.latency.total < REQUESTS_MIN:
            return f"run {run.run_id} has {sample.latency.total if sample else 0} requests < {REQUESTS_MIN}"
    return ""


def _comparable_operations(phase: str, runs: Sequence[RunSample]) -> list[str]:
    """Return the operations of which every run has enough requests in the phase."""
    counted = [{name: one.total for name, one in run.phases[phase].operations.items()} for run in runs]
    return [name for name in counted[0] if all(one.get(name, 0) >= OPERATION_REQUESTS_MIN for one in counted)]


def _latency(
    golden: Sequence[RunSample], candidates: Sequence[RunSample], phase: str, share: int, operation: str = ""
) -> Comparison:
    from scipy import stats

    def measured(run: RunSample) -> float:
        sample = run.phases[phase]
        return math.log((sample.operations[operation] if operation else sample.latency).percentile(share))

    ours, theirs = [measured(run) for run in golden], [measured(run) for run in candidates]
    n, m = len(ours), len(theirs)
    difference = statistics.fmean(theirs) - statistics.fmean(ours)
    error = max(statistics.stdev(ours), LOG_SPREAD_MIN) * math.sqrt(1 / n + 1 / m)
    half = float(stats.t.ppf(1 - ALPHA, n - 1)) * error
    return Comparison(
        name=f"{operation.replace('_', '-') or 'latency'}-ms-p{share}",
        phase=phase,
        golden=math.exp(statistics.fmean(ours)),
        candidate=math.exp(statistics.fmean(theirs)),
        ratio=math.exp(difference),
        low=math.exp(difference - half),
        high=math.exp(difference + half),
        p=float(stats.t.sf(difference / error, n - 1)),
        unit="ms",
    )


def _errors(golden: Sequence[RunSample], candidates: Sequence[RunSample], phase: str) -> Comparison:
    """Compare error rates.

    The rate of the worst golden run is accepted too: errors come in bursts, so that runs differ more than a binomial
    distribution says.
    """
    from scipy import stats

    ours = [run.phases[phase] for run in golden]
    theirs = [run.phases[phase] for run in candidates]
    errors, attempts = (
        sum(phase_sample.errors for phase_sample in theirs),
        sum(phase_sample.attempts for phase_sample in theirs),
    )
    pooled = stats.binomtest(
        sum(phase_sample.errors for phase_sample in ours), sum(phase_sample.attempts for phase_sample in ours)
    )
    limit = max(
        float(pooled.proportion_ci(1 - ALPHA).high),
        *(phase_sample.errors / phase_sample.attempts for phase_sample in ours),
    )
    test = stats.binomtest(errors, attempts, min(1.0, limit), alternative="greater")
    interval = stats.binomtest(errors, attempts).proportion_ci(1 - ALPHA)
    return Comparison(
        name="error-rate",
        phase=phase,
        golden=limit,
        candidate=errors / attempts,
        ratio=errors / attempts / limit,
        low=float(interval.low) / limit,
        high=float(interval.high) / limit,
        p=float(test.pvalue),
        unit="share",
    )


def _holm(ps: Sequence[float]) -> list[bool]:
    """Return which hypotheses Holm's step-down procedure rejects at ALPHA (Holm 1979)."""
    rejected = [False] * len(ps)
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda at: ps[at])):
        if ps[index] > ALPHA / (len(ps) - rank):
            break
        rejected[index] = True
    return rejected


def _finding(comparison: Comparison, certain: bool, candidates: int) -> Finding:
    worse = certain and comparison.ratio > RATIO_MIN
    failed = worse and candidates >= CANDIDATES_MIN
    return Finding(
        name=f"golden-{comparison.name}",
        kind=CheckKind.GOLDEN,
        status=Status.FAIL if failed else Status.PASS,
        detail=_answer(comparison, worse, candidates),
        measured=comparison.ratio,
        limit=RATIO_MIN,
        unit="ratio",
        phase=comparison.phase,
    )


def _answer(comparison: Comparison, worse: bool, candidates: int) -> str:
    """Say whether it got worse, with the interval."""
    shown = f"{comparison.candidate:.4g} {comparison.unit} against {comparison.golden:.4g} {comparison.unit}"
    interval = f"{comparison.ratio:.2f} times, 95 % interval {comparison.low:.2f} to {comparison.high:.2f}"
    word = "more errors" if comparison.name == "error-rate" else "slower"
    if not worse:
        return f"no evidence that it got {word}: {shown} ({interval})"
    if candidates < CANDIDATES_MIN:
        return f"warning, it may have got {word}: {shown} ({interval}); {candidates} of {CANDIDATES_MIN} runs needed"
    return f"it got {word}: {shown} ({interval})"


def _no_evidence(phase: str, why: str) -> Finding:
    return Finding(
        name="golden-evidence", kind=CheckKind.GOLDEN, status=Status.INVALID, detail=why, phase=phase,
    )  # fmt: skip
