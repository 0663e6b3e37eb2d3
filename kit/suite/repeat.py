"""When a run may be repeated: the machine spoiled what it measured. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kit.model import CheckKind, Status, Verdict
from kit.process.cpu_contention import CpuContention
from kit.slo.objectives import Metric

LAG_CHECK = "generator-lag"
# A run without evidence may be repeated when checks of these kinds say so: none of them blames the system.
BLAMELESS = frozenset({CheckKind.GENERATOR, CheckKind.HYPOTHESIS, CheckKind.GOLDEN})
# Objectives that are times: a machine without CPU to spare makes every answer late. Shares of failed or lost orders
# are not among them, and no doubled order was ever made by a slow machine.
TIMES = frozenset(metric.check for metric in Metric if metric.unit in {"ms", "s"})


def spoiled(record: Mapping[str, Any], pressure: CpuContention | None) -> str:
    """Why the machine, and not the system, may have made this verdict; empty if the verdict stands."""
    verdict = Verdict(record["verdict"])
    invalid = [check for check in record["checks"] if check["status"] == Status.INVALID]
    failed = [check for check in record["checks"] if check["status"] == Status.FAIL]
    if verdict is Verdict.INVALID and LAG_CHECK in {check["name"] for check in invalid}:
        return "its load generator was late"
    if verdict is Verdict.INVALID and any(_is_excused(check) for check in invalid):
        return "it was slow while others held the machine's processors"
    if pressure is None or not pressure.high:
        return ""
    if verdict is Verdict.INVALID and BLAMELESS & {check["kind"] for check in invalid}:
        return "it could not be measured while others took the machine"
    if verdict is Verdict.FAIL and failed and all(_is_time(check) for check in failed):
        return "it failed on times only, measured while others took the machine"
    return ""


def _is_time(check: Mapping[str, Any]) -> bool:
    return check["kind"] == CheckKind.SLO and check["name"] in TIMES


def _is_excused(check: Mapping[str, Any]) -> bool:
    """Measured, and over its limit, but the run itself saw that others left it too little of the machine."""
    return check["kind"] == CheckKind.SLO and check["measured"] is not None
