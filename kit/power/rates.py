"""Compute shares with their exact confidence intervals (Clopper & Pearson 1934), in numbers and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """`count` of `of`. `low` and `high`: the 95 % interval of the share, 0 to 1 if nothing was counted."""

    count: int
    of: int
    low: float
    high: float
    words: str

    @property
    def share(self) -> float | None:
        """`count` divided by `of`; None if `of` is 0."""
        return self.count / self.of if self.of else None


def mutation_score(count: int, of: int) -> Rate:
    """Compute the share of mutants that were caught by a check that their header names; two-sided interval."""
    return _caught(count, of, "mutation score")


def caught_by_any_check(count: int, of: int) -> Rate:
    """Compute the share of mutants that were caught by whichever check; two-sided interval."""
    return _caught(count, of, "caught by any check")


def _caught(count: int, of: int, name: str) -> Rate:
    if not of:
        return Rate(count=0, of=0, low=0.0, high=1.0, words=f"{name}: no mutants")
    low, high = _interval(count, of, "two-sided")
    noun = "mutant" if of == 1 else "mutants"
    interval = f"95 % interval {low * 100:.1f} to {percent(high)}"
    words = f"{name}: {count} of {of} {noun}, {percent(count / of)} ({interval})"
    return Rate(count=count, of=of, low=low, high=high, words=words)


def false_alarms(count: int, of: int) -> Rate:
    """Compute the share of good runs that the gate rejected. The interval is one-sided: only its upper end matters."""
    if not of:
        return Rate(count=0, of=0, low=0.0, high=1.0, words="no good run gave evidence")
    _, high = _interval(count, of, "less")
    noun, runs = "false alarm" if count == 1 else "false alarms", "good run" if of == 1 else "good runs"
    share = f"{percent(count / of)}, " if count else ""
    words = f"{count} {noun} in {of} {runs} ({share}at most {percent(high)} with 95 % confidence)"
    return Rate(count=count, of=of, low=0.0, high=high, words=words)


def percent(share: float) -> str:
    """Format a share as a percentage with one decimal."""
    return f"{share * 100:.1f} %"


def _interval(count: int, of: int, side: str) -> Sequence[float]:
    from scipy import stats

    # "less" leaves the lower end at 0 and puts the whole error probability at the upper end.
    found = stats.binomtest(count, of, alternative=side).proportion_ci(CONFIDENCE, method="exact")
    return float(found.low), float(found.high)
