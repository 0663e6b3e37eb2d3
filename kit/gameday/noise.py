"""The noise rule: a broken objective proves nothing about the build when other processes took the CPU.

A failed SLO check becomes INVALID if, during its phase, other processes left the run less CPU than it needs. Three
kinds of failures stay failures, because a slow machine does not cause them:

- integrity checks: a busy machine answers late, but it does not lose or double orders;
- objectives that count what the build did, such as its calls to the store;
- objectives that explicit denials alone break (`kit.slo.denials`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from kit.model import CheckKind, Finding, Phase, Status
from kit.slo.objectives import Metric

# A run at the scenarios' rates keeps about one core busy (`gameday suite` prints how many).
CORES_LEFT_MIN = 0.9
COUNTED = frozenset({Metric.THROTTLED_CALLS_PER_ATTEMPT.check})


def apply_noise_rule(
    findings: Sequence[Finding],
    phases: Sequence[Phase],
    cores_left: Callable[[float, float], float | None],
    *,
    denied: Collection[tuple[str, str]] = (),
) -> list[Finding]:
    """Return the findings, with those invalidated that CPU contention may explain.

    `cores_left(start, end)`: the cores that other processes left to the run, None if nobody measured it; without a
    measurement nothing is invalidated. `denied`: check and phase of objectives that denials alone break.
    """
    windows = {phase.name: (phase.start, phase.end) for phase in phases}
    if "recovery" in windows:
        # Recovery is measured until the end of the load.
        windows["recovery"] = (windows["recovery"][0], phases[-1].end)
    judged = []
    for finding in findings:
        left = cores_left(*windows[finding.phase]) if _affected(finding, denied) and finding.phase in windows else None
        if left is not None and left < CORES_LEFT_MIN:
            why = f"CPU contention: other processes left the run {left:.2f} cores < {CORES_LEFT_MIN}"
            finding = replace(finding, status=Status.INVALID, detail=f"{finding.detail}; invalidated by {why}")
        judged.append(finding)
    return judged


def _affected(finding: Finding, denied: Collection[tuple[str, str]]) -> bool:
    broken_slo = finding.kind is CheckKind.SLO and finding.status is Status.FAIL
    return broken_slo and finding.name not in COUNTED and (finding.name, finding.phase) not in denied
