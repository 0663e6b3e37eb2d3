"""Shares with their exact intervals (Clopper & Pearson 1934), in numbers and in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """`count` of `of`. `low` and `high`: the 95 % interval of the share behind it, 0 to 1 where nothing was counted."""

    count: int
    of: int
    low: float
    high: float
    words: str

    @property
    def share(self) -> float | None:
        """None of nothing."""
        return self.count / self.of if self.of else None


def caught(count: int, of: int, *, by: str = "") -> Rate:
    """How many of the bad changes were caught, with a two-sided interval."""
    if not of:
        return Rate(count=0, of=0, low=0.0, high=1.0, words="no change was asked for")
    low, high = _interval(count, of, "two-sided")
    interval = f"{percent(count / of)}, 95 % interval {low * 100:.1f} to {percent(high)}"
    return Rate(count=count, of=of, low=low, high=high, words=f"caught {count} of {of}{by} ({interval})")


def false_alarms(count: int, of: int) -> Rate:
    """How many good runs were called bad. One-sided: the question is how many there may be at most."""
    if not of:
        return Rate(count=0, of=0, low=0.0, high=1.0, words="no good run gave evidence")
    _, high = _interval(count, of, "less")
    noun, runs = "false alarm" if count == 1 else "false alarms", "good run" if of == 1 else "good runs"
    share = f"{percent(count / of)}, " if count else ""
    words = f"{count} {noun} in {of} {runs} ({share}at most {percent(high)} with 95 % confidence)"
    return Rate(count=count, of=of, low=0.0, high=high, words=words)


def percent(share: float) -> str:
    """A share in words, to a tenth of a per cent."""
    return f"{share * 100:.1f} %"


def _interval(count: int, of: int, side: str) -> Sequence[float]:
    from scipy import stats

    # "less" leaves the lower end at 0 and gives the upper end all of the error.
    found = stats.binomtest(count, of, alternative=side).proportion_ci(CONFIDENCE, method="exact")
    return float(found.low), float(found.high)
