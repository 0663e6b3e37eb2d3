"""Decide whether a run is repeated because CPU contention (a noisy neighbour) invalidated its measurement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kit.model import CheckKind, Status, Verdict
from kit.process.cpu_contention import CpuContention
from kit.slo.objectives import Metric

LAG_CHECK = "generator-lag"
# An INVALID run may be repeated because of checks of these kinds: CPU contention alone can make them invalid.
SENSITIVE_KINDS = frozenset({CheckKind.GENERATOR, CheckKind.HYPOTHESIS, CheckKind.GOLDEN})
# Checks of these kinds have a measured value and are INVALID only by the noise rule.
NOISY_KINDS = frozenset({CheckKind.SLO, CheckKind.INTEGRITY})
# Objectives on durations: without CPU to spare every answer is late. Shares of failed or lost orders are not among
# them, and CPU contention never doubles an order.
DURATION_CHECKS = frozenset(metric.check for metric in Metric if metric.unit in {"ms", "s"})


def repeat_reason(record: Mapping[str, Any], contention: CpuContention | None) -> str:
    """Return why CPU contention, and not the system, may have caused this verdict; empty if the verdict stands."""
    verdict = Verdict(record["verdict"])
    invalid = [check for check in record["checks"] if check["status"] == Status.INVALID]
    failed = [check for check in record["checks"] if check["status"] == Status.FAIL]
    if verdict is Verdict.INVALID and LAG_CHECK in {check["name"] for check in invalid}:
        return "its load generator was late"
    if verdict is Verdict.INVALID and any(_fell_under_noise_rule(check) for check in invalid):
        return "it was slow or lost metrics while other processes used the CPU"
    if contention is None or not contention.high:
        return ""
    if verdict is Verdict.INVALID and SENSITIVE_KINDS & {check["kind"] for check in invalid}:
        return "it could not be measured under CPU contention"
    if verdict is Verdict.FAIL and failed and all(_is_duration(check) for check in failed):
        return "only durations failed, measured under CPU contention"
    return ""


def _is_duration(check: Mapping[str, Any]) -> bool:
    return check["kind"] == CheckKind.SLO and check["name"] in DURATION_CHECKS


def _fell_under_noise_rule(check: Mapping[str, Any]) -> bool:
    """Return whether a check was measured but is INVALID, because other processes left the run too little CPU."""
    return check["kind"] in NOISY_KINDS and check["measured"] is not None
