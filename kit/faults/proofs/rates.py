"""Of how many, how many: the rules by which a share or a count over three windows shows an effect.

Pure. A tally says that of `n` things that were told at `t`, `x` were odd. The rules stand against noise: a share is
held against what it was before and against neighbours that were left alone, and few things prove nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kit.faults.proofs.proof_context import Proof, all_or_none, healed_words, unproven
from kit.faults.proofs.windows import PUBLISH_S, Windows

# An effect must show in at least this part of what the action promises to hit.
EXPECTED_PART_MIN = 0.5
# Before the action at most this part of the share that it raised; right before it, at most that part.
QUIET_PART_MAX = 0.25
LATEST_PART_MAX = 0.5
LATEST_S = 10.0
# It is back when the share is at most the former part of what it rose to, or this much more than it was before.
BACK_FACTOR_MAX = 1.5
# Neighbours that were left alone may show at most this part of it.
NEIGHBOUR_PART_MAX = 0.5
# Things seen before the fault.
BEFORE_N_MIN = 20
# What should have been odd, had the action worked: below this chance alone could hide it, so that too little of it
# refutes nothing. So many that were odd, of so many things, show it all the same.
EXPECTED_X_MIN = 20
SHOWN_X_MIN = 10
FORCE_N_MIN = 20
AFTER_N_MIN = 5
# A count: single events and single bursts happen by themselves.
COUNT_MIN = 3
COUNT_HITS_SHARE_MIN = 0.4
COUNT_FACTOR_MIN = 10.0
BEFORE_TOLD_MIN = 2
AFTER_TOLD_MIN = 2
# So many calls that went well disprove a cut.
ANSWERED_MIN = 5
PERCENT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """`x` of `n` at `t` (epoch s)."""

    t: float
    n: float
    x: float


class State(StrEnum):
    """What one look at one place says."""

    SHOWN = "shown"
    REFUTED = "refuted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One place: whether the effect was there, from when, and when it was gone."""

    state: State
    words: str
    observed_at: float | None = None
    healed_at: float | None = None


def combine(seen: Sequence[Seen], what: str) -> Proof:
    """Proven if it showed somewhere and no place that could have shown it did not."""
    refuted = [each for each in seen if each.state is State.REFUTED]
    shown = [each for each in seen if each.state is State.SHOWN]
    if refuted or not shown:
        said = "; ".join(each.words for each in refuted or seen)
        return unproven(f"{what}: {said}" if said else f"{what}: no component and zone to look at")
    return Proof(
        observed_at=min(each.observed_at for each in shown if each.observed_at is not None),
        healed_at=all_or_none([each.healed_at for each in shown], max),
        detail=f"{what}: " + "; ".join(each.words for each in shown),
    )


def any_of(seen: Sequence[Seen], what: str) -> Proof:
    """Proven by the places where it showed: for an action that does not say where it acts."""
    return combine([each for each in seen if each.state is State.SHOWN] or seen, what)


def judge_share(
    tallies: Iterable[Tally],
    windows: Windows,
    *,
    expected: float,
    place: str,
    words: str,
    neighbours: Iterable[Tally] = (),
    spread_s: float = PUBLISH_S,
) -> Seen:
    """Whether the share of odd things rises to a part of `expected`, from next to none, and goes back.

    `words` describe what is odd, `place` where; neighbours are what was left alone. A tally that tells of more than
    the action's own time counts for that part of it.
    """
    listed = sorted(tallies, key=lambda tally: tally.t)
    before = [tally for tally in listed if windows.before(tally.t, spread_s)]
    force = [tally for tally in listed if windows.covered(tally.t, spread_s)]
    hit = sum(tally.n * windows.covered(tally.t, spread_s) for tally in force)
    if (n := _n(before)) < BEFORE_N_MIN:
        return Seen(state=State.UNKNOWN, words=f"{place}: {n:g} calls < {BEFORE_N_MIN} before the fault")
    odd, need = sum(tally.x for tally in force), EXPECTED_PART_MIN * expected
    if hit * expected < EXPECTED_X_MIN and (hit < FORCE_N_MIN or odd < max(SHOWN_X_MIN, need * hit)):
        few = f"{hit:.0f} calls < {EXPECTED_X_MIN / expected:.0f} in its time, {odd:.0f} of them {words}"
        return Seen(state=State.UNKNOWN, words=f"{place}: {few}")
    share = odd / hit
    told = f"{place}: {_percent(min(1.0, share))} of {hit:.0f} calls {words}, {_percent(_share(before))} before"
    if share < need:
        return Seen(state=State.REFUTED, words=f"{told}; {_percent(need)} were needed")
    latest = [tally for tally in before if tally.t > windows.injected_at - LATEST_S]
    if _share(before) > QUIET_PART_MAX * share or _share(latest) > LATEST_PART_MAX * share:
        return Seen(state=State.REFUTED, words=f"{told}: it had begun before the fault")
    beside = [tally for tally in neighbours if windows.covered(tally.t, spread_s)]
    if _n(beside) >= BEFORE_N_MIN and _share(beside) > NEIGHBOUR_PART_MAX * share:
        return Seen(state=State.REFUTED, words=f"{told}; but {_percent(_share(beside))} where nothing was done")
    quiet = max(QUIET_PART_MAX * share, BACK_FACTOR_MAX * _share(before))
    healed_at = first_back([tally for tally in listed if windows.after(tally.t)], quiet, AFTER_N_MIN)
    return Seen(
        state=State.SHOWN,
        words=told + healed_words(healed_at, "back"),
        observed_at=next(tally.t for tally in force if tally.x > 0),
        healed_at=healed_at,
    )


def judge_count(
    tallies: Iterable[Tally],
    windows: Windows,
    *,
    place: str,
    words: str,
    answered: Callable[[], float] = lambda: 0.0,
    neighbours: Iterable[Tally] = (),
) -> Seen:
    """Whether something that is not there before happens again and again in force, and ends.

    A tally's `n` counts publishes. `answered()`: how many calls went well in force; asked only if too few failed.
    """
    listed = sorted(tallies, key=lambda tally: tally.t)
    before = [tally for tally in listed if windows.before(tally.t)]
    force = [tally for tally in listed if windows.covered(tally.t, late_s=PUBLISH_S)]
    if len(before) < BEFORE_TOLD_MIN:
        return Seen(state=State.UNKNOWN, words=f"{place}: told {len(before)} times before the fault")
    if not force:
        return Seen(state=State.UNKNOWN, words=f"{place}: told nothing in its time")
    total, hits = sum(tally.x for tally in force), [tally for tally in force if tally.x > 0]
    told = f"{place}: {total:g} {words}, {sum(tally.x for tally in before):g} before"
    if total < COUNT_MIN or len(hits) < COUNT_HITS_SHARE_MIN * len(force):
        went_well = answered()
        state = State.REFUTED if went_well >= ANSWERED_MIN else State.UNKNOWN
        return Seen(state=state, words=told + (f", and {went_well:g} calls went well" if went_well else ""))
    if _share(force) < COUNT_FACTOR_MIN * _share(before):
        return Seen(state=State.REFUTED, words=f"{told}: it had begun before the fault")
    beside = [tally for tally in neighbours if windows.covered(tally.t, late_s=PUBLISH_S)]
    if _share(beside) > NEIGHBOUR_PART_MAX * _share(force):
        much = sum(tally.x for tally in beside)
        return Seen(state=State.REFUTED, words=f"{told}; but {much:g} where nothing was done")
    quiet = _share(force) / COUNT_FACTOR_MIN
    healed_at = first_back([tally for tally in listed if windows.after(tally.t)], quiet, AFTER_TOLD_MIN)
    return Seen(
        state=State.SHOWN,
        words=told + healed_words(healed_at, "quiet again"),
        observed_at=hits[0].t,
        healed_at=healed_at,
    )


def first_back(tallies: Sequence[Tally], quiet: float, n_min: float) -> float | None:
    """The first tally that is quiet itself and from which on all together are; None if fewer than `n_min` follow."""
    for at, tally in enumerate(tallies):
        rest = tallies[at:]
        if _n(rest) < n_min:
            return None
        if tally.n and tally.x <= quiet * tally.n and _share(rest) <= quiet:
            return tally.t
    return None


def _n(tallies: Sequence[Tally]) -> float:
    return sum(tally.n for tally in tallies)


def _share(tallies: Sequence[Tally]) -> float:
    n = _n(tallies)
    return sum(tally.x for tally in tallies) / n if n else 0.0


def _percent(share: float) -> str:
    return f"{PERCENT * share:.1f} %"
