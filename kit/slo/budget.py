"""Report how fast failures use up the error budget of an availability objective.

With the objective S (0.999) over a window W (30 days) and the share e of attempts that failed in a phase of d seconds:

    burn rate = e ÷ (1 - S)            1 = exactly as fast as the window allows
    spent     = burn rate · d ÷ W      the part of the window's budget that the phase cost, at an even load

(Beyer et al., The Site Reliability Workbook, chapter 5, "Alerting on SLOs", burn rate.) A failure is what `error-rate`
counts: an attempt without an answer, or with a 5xx. A fault is expected to burn budget, so the finding never fails;
without attempts it is INVALID.
"""

from __future__ import annotations

from collections.abc import Sequence

from kit.model import CheckKind, Finding, Phase, Status
from kit.slo.objectives import Availability
from kit.slo.samples import Table, defect, is_error, within

NAME = "error-budget-burn"
# At this burn rate, sustained for an hour, the workbook pages a person: 2 % of a month's budget are gone.
PAGING_BURN_RATE = 14.4
DAY_S = 86_400


def burn_rate(error_rate: float, objective: Availability) -> float:
    """Return how many times faster than allowed the budget burns; 0 without failures."""
    return error_rate / (1 - objective.target)


def spent(error_rate: float, duration_s: float, objective: Availability) -> float:
    """Return the share of the window's whole budget that `duration_s` seconds at this error rate use."""
    return burn_rate(error_rate, objective) * duration_s / (objective.window_days * DAY_S)


def error_budget(attempts: Table, phases: Sequence[Phase], objective: Availability) -> list[Finding]:
    """Make a finding of kind slo for each phase in which something was sent; `measured` is its burn rate.

    One INVALID finding if nothing was sent at all, or the history cannot be used.
    """
    why = defect("attempts", attempts)
    if why:
        return [_finding("", Status.INVALID, why)]
    sent = [(phase, rows) for phase in phases if len(rows := within(attempts, "intended_ns", phase))]
    if not sent:
        return [_finding("", Status.INVALID, "no samples: no attempts in any phase")]
    return [_phase(phase, int(is_error(rows).sum()), len(rows), objective) for phase, rows in sent]


def _phase(phase: Phase, failed: int, sent: int, objective: Availability) -> Finding:
    rate, cost = burn_rate(failed / sent, objective), spent(failed / sent, phase.end - phase.start, objective)
    promise = f"{100 * objective.target:g} % over {objective.window_days:g} days"
    words = f"{rate:.4g} times as fast as {promise} allow; the phase cost {100 * cost:.3g} % of that budget"
    paged = ", a rate at which a person is paged" if rate >= PAGING_BURN_RATE else ""
    return _finding(
        phase.name, Status.PASS, f"{words} ({failed:,} of {sent:,} attempts failed{paged})", measured=round(rate, 4)
    )


def _finding(phase: str, status: Status, detail: str, measured: float | None = None) -> Finding:
    return Finding(
        name=NAME, kind=CheckKind.SLO, status=status, detail=detail, measured=measured, unit="times", phase=phase
    )
