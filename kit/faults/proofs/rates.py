"""Decide whether a rate or a count rose during the fault and returned to its baseline.

A tally says that of `n` events reported at `t`, `x` were affected. Against noise, a rate is compared with the time
before and with neighbours that are not targets, and few events prove nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kit.faults.proofs.proof_context import Proof, all_or_none, healed_words, unproven
from kit.faults.proofs.windows import PUBLISH_S, Windows

# Of the share of calls that the action should affect, at least this part must be affected.
EXPECTED_PART_MIN = 0.5
# Before the action, the rate may be at most this part of the rate during the action.
QUIET_PART_MAX = 0.25
# The same in the last LATEST_S seconds before the action.
LATEST_PART_MAX = 0.5
LATEST_S = 10.0
# Afterwards the rate is back if it is QUIET_PART_MAX of the rate during the action, or this factor of the one before.
BACK_FACTOR_MAX = 1.5
# Neighbours that are not targets may have at most this part of the rate.
NEIGHBOUR_PART_MAX = 0.5
# Fewer events before the fault give no baseline.
BEFORE_N_MIN = 20
# If fewer events than this should have been affected, the effect may be missing by chance, so that too few affected
# events refute nothing. It is still shown by SHOWN_X_MIN affected events, if there were FORCE_N_MIN events in all.
EXPECTED_X_MIN = 20
SHOWN_X_MIN = 10
FORCE_N_MIN = 20
# The return to the baseline must show in this many events.
AFTER_N_MIN = 5
# Limits for counts. Single events and single bursts also happen without a fault, so COUNT_MIN events in this share of
# the publishes are needed, and this factor more than before.
COUNT_MIN = 3
COUNT_HITS_SHARE_MIN = 0.4
COUNT_FACTOR_MIN = 10.0
# Publishes that are needed before and after the action.
BEFORE_PUBLISHES_MIN = 2
AFTER_PUBLISHES_MIN = 2
# This many successful calls disprove a cut.
ANSWERED_MIN = 5
PERCENT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """`x` of `n` at `t` (epoch s)."""

    t: float
    n: float
    x: float


class State(StrEnum):
    """The result at one location."""

    SHOWN = "shown"
    REFUTED = "refuted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The result at one location: whether the effect was there, since when, and when it was gone."""

    state: State
    words: str
    observed_at: float | None = None
    healed_at: float | None = None


def combine(seen: Sequence[Observation], what: str) -> Proof:
    """Combine observations: proven if some location shows the effect and none refutes it."""
    refuted = [each for each in seen if each.state is State.REFUTED]
    shown = [each for each in seen if each.state is State.SHOWN]
    if refuted or not shown:
        said = "; ".join(each.words for each in refuted or seen)
        return unproven(f"{what}: {said}" if said else f"{what}: no component and zone is known to be a target")
    return Proof(
        observed_at=min(each.observed_at for each in shown if each.observed_at is not None),
        healed_at=all_or_none([each.healed_at for each in shown], max),
        detail=f"{what}: " + "; ".join(each.words for each in shown),
    )


def any_of(seen: Sequence[Observation], what: str) -> Proof:
    """Combine the observations that show the effect, for an action that does not name where it acts."""
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
) -> Observation:
    """Judge whether the rate of affected events rises to a part of `expected`, from nearly none, and goes back.

    `words` describe an affected event, `place` where it is; `neighbours` are not targets. A tally that reports on more
    than the action's own time counts for the part within it.
    """
    listed = sorted(tallies, key=lambda tally: tally.t)
    before = [tally for tally in listed if windows.before(tally.t, spread_s)]
    force = [tally for tally in listed if windows.covered(tally.t, spread_s)]
    hit = sum(tally.n * windows.covered(tally.t, spread_s) for tally in force)
    if (n := _n(before)) < BEFORE_N_MIN:
        return Observation(state=State.UNKNOWN, words=f"{place}: {n:g} calls < {BEFORE_N_MIN} before the fault")
    affected, need = sum(tally.x for tally in force), EXPECTED_PART_MIN * expected
    if hit * expected < EXPECTED_X_MIN and (hit < FORCE_N_MIN or affected < max(SHOWN_X_MIN, need * hit)):
        few = f"{hit:.0f} calls < {EXPECTED_X_MIN / expected:.0f} in its time, {affected:.0f} of them {words}"
        return Observation(state=State.UNKNOWN, words=f"{place}: {few}")
    share = affected / hit
    detail = f"{place}: {_percent(min(1.0, share))} of {hit:.0f} calls {words}, {_percent(_share(before))} before"
    if share < need:
        return Observation(state=State.REFUTED, words=f"{detail}; {_percent(need)} were needed")
    latest = [tally for tally in before if tally.t > windows.injected_at - LATEST_S]
    if _share(before) > QUIET_PART_MAX * share or _share(latest) > LATEST_PART_MAX * share:
        return Observation(state=State.REFUTED, words=f"{detail}: it began before the fault")
    beside = [tally for tally in neighbours if windows.covered(tally.t, spread_s)]
    if _n(beside) >= BEFORE_N_MIN and _share(beside) > NEIGHBOUR_PART_MAX * share:
        return Observation(
            state=State.REFUTED, words=f"{detail}; but {_percent(_share(beside))} where the action did not act"
        )
    quiet = max(QUIET_PART_MAX * share, BACK_FACTOR_MAX * _share(before))
    healed_at = first_back([tally for tally in listed if windows.after(tally.t)], quiet, AFTER_N_MIN)
    return Observation(
        state=State.SHOWN,
        words=detail + healed_words(healed_at, "back"),
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
) -> Observation:
    """Judge whether something new happens repeatedly while the action is in force, and ends.

    `n` of a tally counts publishes. `answered()` counts the successful calls; it is called only if too few failed.
    """
    listed = sorted(tallies, key=lambda tally: tally.t)
    before = [tally for tally in listed if windows.before(tally.t)]
    force = [tally for tally in listed if windows.covered(tally.t, late_s=PUBLISH_S)]
    if len(before) < BEFORE_PUBLISHES_MIN:
        return Observation(state=State.UNKNOWN, words=f"{place}: {len(before)} publishes before the fault")
    if not force:
        return Observation(state=State.UNKNOWN, words=f"{place}: no publish in its time")
    total, hits = sum(tally.x for tally in force), [tally for tally in force if tally.x > 0]
    detail = f"{place}: {total:g} {words}, {sum(tally.x for tally in before):g} before"
    if total < COUNT_MIN or len(hits) < COUNT_HITS_SHARE_MIN * len(force):
        succeeded = answered()
        state = State.REFUTED if succeeded >= ANSWERED_MIN else State.UNKNOWN
        return Observation(state=state, words=detail + (f", and {succeeded:g} calls succeeded" if succeeded else ""))
    if _share(force) < COUNT_FACTOR_MIN * _share(before):
        return Observation(state=State.REFUTED, words=f"{detail}: it began before the fault")
    beside = [tally for tally in neighbours if windows.covered(tally.t, late_s=PUBLISH_S)]
    if _share(beside) > NEIGHBOUR_PART_MAX * _share(force):
        much = sum(tally.x for tally in beside)
        return Observation(state=State.REFUTED, words=f"{detail}; but {much:g} where the action did not act")
    quiet = _share(force) / COUNT_FACTOR_MIN
    healed_at = first_back([tally for tally in listed if windows.after(tally.t)], quiet, AFTER_PUBLISHES_MIN)
    return Observation(
        state=State.SHOWN,
        words=detail + healed_words(healed_at, "quiet again"),
        observed_at=hits[0].t,
        healed_at=healed_at,
    )


def first_back(tallies: Sequence[Tally], quiet: float, n_min: float) -> float | None:
    """Return the first quiet tally from which on all together are quiet; None if fewer than `n_min` events follow."""
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
