"""The noise rule: a broken objective proves nothing about the build when other processes took the CPU.

A failed SLO check becomes INVALID if, during its phase, other processes left the run less CPU than it needs: on
average, or in the very seconds that broke the objective, which holds without them. Other runs of a suite are other
processes too; the suite repeats an INVALID run alone. Three kinds of failures stay failures, because a slow machine
does not cause them:

- integrity checks: a busy machine answers late, but it does not lose or double orders. It may lose published metrics,
  and tell subscribers of events late;
- objectives that count what the build did, such as its calls to the store;
- objectives that explicit denials alone break (`kit.slo.denials`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from kit.model import NS_PER_S, CheckKind, Finding, Phase, Status
from kit.slo.objectives import Metric
from kit.slo.samples import Table

# A run at the scenarios' rates keeps about one core busy (`gameday suite` prints how many).
CORES_LEFT_MIN = 0.9
# What was sent so long before a contended second was still in work during it; what follows waits for the backlog.
CONTENTION_LEAD_S = 0.5
CONTENTION_TAIL_S = 1.0
# Objectives on what clients feel; those before the fault are the hypothesis.
FELT = frozenset({CheckKind.SLO, CheckKind.HYPOTHESIS})
# What a publish that timed out may explain: nothing published for a while, or counts that are missing. An API task
# publishes all metrics in one call, so that its other counts are short only if those of its requests are. A task that
# could not read its zone at its start publishes without one.
SILENCE = frozenset(
    {
        "metrics-never-silent",
        "metrics-have-zones",
        "commands-counted",
        "fills-counted",
        "requests-counted",
        "lag-as-ledger-shows",
    }
)
# A task publishes every 5 s: one lost publish of one of two tasks is 6 % of the counts of a brief run of 45 s. It is
# lost if two calls in a row get no answer for 2 s each: a pause that the average of a run does not show.
LOST_SHARE_MAX = 0.1
PAUSE_S_MIN = 2.0
# A connected subscriber may wait 10 s for an event; only as much contention makes it wait for longer.
LATE = frozenset({"stream-on-time"})
LATE_S_MIN = 10.0
# Where the CPU is short, clients wait for what no task can measure: requests that no task has read yet. But not in
# three quarters of the periods of a run: on a machine that left a run less than half a core, six of sixteen were wrong.
UNREAD = frozenset({"latency-as-clients-saw"})
UNREAD_SHARE_MAX = 0.75
# So they do for what the load balancer has not read yet, and a minute is few periods.
UNREAD_BY_BALANCER = frozenset({"response-time-as-clients-saw"})
SHORT_WITH_REQUESTS = frozenset(
    {
        "errors-counted",
        "latencies-counted",
        "accepted-orders-counted",
        "errors-as-balancer-counted",
        "throttles-counted",
    }
)
COUNTED = frozenset({Metric.THROTTLED_CALLS_PER_ATTEMPT.check})


def apply_noise_rule(
    findings: Sequence[Finding],
    phases: Sequence[Phase],
    cores_left: Callable[[float, float], float | None],
    *,
    denied: Collection[tuple[str, str]] = (),
    held_outside: Callable[[], Collection[tuple[str, str]]] = frozenset,
    published: Mapping[str, float] = MappingProxyType({}),
    contended_s: float = 0.0,
) -> list[Finding]:
    """Return the findings, with those invalidated that CPU contention may explain.

    `cores_left(start, end)`: the cores that other processes left to the run, None if nobody measured it; without a
    measurement nothing is invalidated. `denied`: check and phase of objectives that denials alone break.
    `held_outside()`: check and phase of objectives that did not fail outside the contended seconds; asked only for
    failures. `published`: the total that a check found in the metrics, or the number of values that it compared, by its
    name. `contended_s`: the seconds of the
    run in which other processes left it too little CPU.
    """
    windows = {phase.name: (phase.start, phase.end) for phase in phases}
    if "recovery" in windows:
        # Recovery is measured until the end of the load.
        windows["recovery"] = (windows["recovery"][0], phases[-1].end)
    whole = (phases[0].start, phases[-1].end) if phases else (0.0, 0.0)
    affected = [one for one in findings if _affected(one, denied) and one.phase in windows]
    held = held_outside() if affected else ()
    failed = {one.name for one in findings if one.status is Status.FAIL}
    starved = (
        SILENCE
        | UNREAD
        | UNREAD_BY_BALANCER
        | LATE
        | (SHORT_WITH_REQUESTS if "requests-counted" in failed else frozenset())
    )

    def judged(finding: Finding) -> Finding:
        is_starved = finding.name in starved and finding.status is Status.FAIL and _is_little(finding, published)
        if finding not in affected and not is_starved:
            return finding
        left = cores_left(*(whole if is_starved else windows[finding.phase]))
        if left is not None and left < CORES_LEFT_MIN:
            return _invalid(finding, f"other processes left the run {left:.2f} cores < {CORES_LEFT_MIN}")
        pause_s_min = LATE_S_MIN if finding.name in LATE else PAUSE_S_MIN
        if is_starved and finding.name not in UNREAD and contended_s >= pause_s_min:
            return _invalid(finding, f"other processes left less than {CORES_LEFT_MIN} cores for {contended_s:.0f} s")
        if (finding.name, finding.phase) in held:
            return _invalid(finding, f"it fails only with seconds in which they left less than {CORES_LEFT_MIN} cores")
        return finding

    return [judged(finding) for finding in findings]


def outside(attempts: Table, contended: Sequence[tuple[float, float]]) -> Table:
    """Return the attempts that were not in work during the contended times (epoch s)."""
    keep = np.ones(len(attempts), dtype=bool)
    at = attempts["intended_ns"].to_numpy() / NS_PER_S
    for start, end in contended:
        keep &= (at < start - CONTENTION_LEAD_S) | (at >= end + CONTENTION_TAIL_S)
    return attempts[keep]


def _is_little(finding: Finding, published: Mapping[str, float]) -> bool:
    """Return whether so little is wrong in a metric that a lost publish or unread requests can be why."""
    total = published.get(finding.name)
    if total and finding.name in UNREAD:
        return (finding.measured or 0) <= UNREAD_SHARE_MAX * total
    return total is None or (finding.measured or 0) <= LOST_SHARE_MAX * (total + (finding.measured or 0))


def _invalid(finding: Finding, why: str) -> Finding:
    detail = f"{finding.detail}; invalidated by CPU contention: {why}"
    return replace(finding, status=Status.INVALID, detail=detail)


def _affected(finding: Finding, denied: Collection[tuple[str, str]]) -> bool:
    broken = finding.kind in FELT and finding.status is Status.FAIL
    return broken and finding.name not in COUNTED and (finding.name, finding.phase) not in denied
