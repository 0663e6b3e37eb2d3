"""Judge a finished run by its folder alone: the one path from evidence to findings and a verdict.

It needs no cloud and no network, so that a folder copied from another machine is judged just the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kit import slo
from kit.gameday.evidence import RunEvidence, read_evidence
from kit.gameday.findings import run_findings
from kit.gameday.noise import apply_noise_rule
from kit.model import Finding, Verdict
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
    findings = apply_noise_rule(run_findings(evidence), phases, observed.machine.cores_left, denied=denied)
    verdict, reasons = gate.judge(findings, observed.fault, fault_expected=not scenario.breaks_nothing)
    return Judgement(evidence=evidence, findings=tuple(findings), verdict=verdict, reasons=reasons)
