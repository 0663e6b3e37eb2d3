"""Judge a finished run by its folder alone: the one path from evidence to findings and a verdict.

It needs no cloud and no network, so that a folder copied from another machine is judged just the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kit import slo
from kit.gameday.evidence import RunEvidence, read_evidence
from kit.gameday.findings import client_findings, run_findings
from kit.gameday.noise import CORES_LEFT_MIN, apply_noise_rule, outside
from kit.integrity.checks import telemetry, telemetry_latency
from kit.model import Finding, Status, Verdict
from kit.verdict import gate


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The findings of a run and the verdict that they give, with its reasons."""

    evidence: RunEvidence
    findings: tuple[Finding, ...]
    verdict: Verdict
    reasons: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """Make the verdict record; a folder always gives the same one."""
        evidence, observed = self.evidence, self.evidence.observed
        ended_at = evidence.cleanup.ended_at if evidence.cleanup else None
        return gate.record(
            replace(observed.facts, ended_at=ended_at),
            self.verdict,
            self.reasons,
            findings=self.findings,
            phases=evidence.phases,
            fault=observed.fault,
            load=evidence.history.stats,
        )


def judge_folder(run_dir: Path) -> Judgement:
    """Judge a run's folder without changing it. Raises what `read_evidence` raises."""
    evidence = read_evidence(run_dir)
    observed, phases, scenario = evidence.observed, evidence.phases, evidence.scenario
    denied = slo.broken_by_denials(evidence.history.attempts, phases, scenario.objectives)
    findings = apply_noise_rule(
        run_findings(evidence),
        phases,
        observed.machine.cores_left,
        denied=denied,
        held_outside=lambda: _held_outside_contention(evidence),
        published=_published(evidence),
        contended_s=sum(end - start for start, end in observed.machine.contended(CORES_LEFT_MIN)),
    )
    verdict, reasons = gate.judge(findings, observed.fault, fault_expected=not scenario.breaks_nothing)
    return Judgement(evidence=evidence, findings=tuple(findings), verdict=verdict, reasons=reasons)


def _published(evidence: RunEvidence) -> dict[str, float]:
    """Return the total of the metric that each check of counts compares, and the number of latencies, where read."""
    series = evidence.observed.series
    totals = {
        name: float(series[series_name]["value"].sum())
        for name, series_name in telemetry.SERIES_OF.items()
        if series_name in series
    }
    latencies = (
        telemetry_latency.periods_max(series["latency_count"]["value"].tolist()) if "latency_count" in series else 0
    )
    return totals | {telemetry_latency.CHECK: float(latencies)}


def _held_outside_contention(evidence: RunEvidence) -> frozenset[tuple[str, str]]:
    """Return check and phase of each objective that does not fail without the seconds of CPU contention."""
    contended, history = evidence.observed.machine.contended(CORES_LEFT_MIN), evidence.history
    if not contended:
        return frozenset()
    quiet = replace(evidence, history=replace(history, attempts=outside(history.attempts, contended)))
    return frozenset((one.name, one.phase) for one in client_findings(quiet) if one.status is not Status.FAIL)
