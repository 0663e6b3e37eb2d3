"""Check effects by PaperBroker's own metrics of a component in a zone: slow calls, failed calls, silence.

The thresholds of rates and counts are in `rates`. A task that cannot reach CloudWatch publishes nothing, and its counts
are lost. Its silence is then the only evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kit.faults.proofs.proof_context import (
    COMPONENTS,
    Action,
    Location,
    Point,
    Proof,
    ProofContext,
    healed_words,
    unproven,
)
from kit.faults.proofs.rates import Observation, State, Tally, any_of, combine, judge_count, judge_share
from kit.faults.proofs.windows import LINGER_S, PUBLISH_S, SETTLE_S, SKEW_S, Windows, windows_of, within

NAMESPACE = "PaperBroker"
STORE_MS, QUEUE_MS = "StoreMs", "QueueMs"
STORE_ERRORS, QUEUE_ERRORS = "StoreErrors", "QueueErrors"
STORE_THROTTLED, SHED, HEARTBEAT, REQUESTS = "StoreThrottled", "Shed", "Heartbeat", "Requests"
CALLS = {STORE_MS: "store", QUEUE_MS: "queue"}
FAILURES = {STORE_ERRORS: (STORE_MS, "failed store calls"), QUEUE_ERRORS: (QUEUE_MS, "failed queue calls")}
ERRORS_OF = {STORE_MS: STORE_ERRORS, QUEUE_MS: QUEUE_ERRORS}
# A call is slow if it exceeds the 90th percentile from before by this part of the injected delay.
SLOW_PART = 0.5
# For a delay of unknown length: a call is slow at twice the 90th percentile, but at least this much above it. The share
# of calls that must then be slow follows.
UNKNOWN_ADDED_MS_MIN = 50.0
UNKNOWN_EXPECTED = 0.5
# Of the heartbeats that silenced tasks would have sent, this part must be missing, and at least two must be due.
SILENT_PART_MIN = 0.6
BEATS_DUE_MIN = 2.0
BEATS_BEFORE_MIN = 3
# Tasks that published nothing for longer were silent before the fault: one publish may be late, two in a row are not.
QUIET_S_MAX = 2.5 * PUBLISH_S
# Heartbeats of neighbours show that CloudWatch works; after the fault the targets must publish this part again.
SPEAKING_PART_MIN = 0.5
# Every component, all its zones together.
EVERYWHERE = tuple(Location(component=component, zone="") for component in COMPONENTS)
NO_METERS = "nothing read PaperBroker's metrics"
NOT_OVER = "the action has not ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slowness:
    """The expected effect of an action: a share `expected` of the calls takes `added_ms` longer (None: unknown)."""

    metric: str
    added_ms: float | None = None
    expected: float = UNKNOWN_EXPECTED


def slow_over_ms(usual_ms: float, added_ms: float | None) -> float:
    """Return the latency above which a call is slow, when the 90th percentile is `usual_ms`."""
    return usual_ms + (max(UNKNOWN_ADDED_MS_MIN, usual_ms) if added_ms is None else SLOW_PART * added_ms)


def read(context: ProofContext, location: Location, metric: str, statistic: str, windows: Windows) -> list[Point]:
    """Read one series, from before the fault until now."""
    assert context.meters is not None
    zone = {"Az": location.zone} if location.zone else {}
    return context.meters.points(
        namespace=NAMESPACE,
        metric=metric,
        dimensions={"Env": context.deployment.outputs["MetricsEnv"], "Component": location.component, **zone},
        statistic=statistic,
        start=windows.before_start,
        end=float("inf"),
    )


def prove_slow(context: ProofContext, action: Action, slowness: Slowness, *, until: float | None = None) -> Proof:
    """Check that calls of the targeted components and zones were slow while the action was in force, and fast after it.

    `until`: when the targets stop publishing, if that is before the end of the action.
    """
    locations = context.locations(action)
    what = f"{CALLS[slowness.metric]} calls"
    return _prove(
        context,
        action,
        locations,
        combine,
        what,
        lambda location: _slow(context, action, location, slowness, locations, until),
    )


def prove_slow_somewhere(context: ProofContext, action: Action, slowness: Slowness) -> Proof:
    """Check as `prove_slow` does, for an action without targets: the calls of any component."""
    what = f"{CALLS[slowness.metric]} calls"
    return _prove(
        context, action, EVERYWHERE, any_of, what, lambda location: _slow(context, action, location, slowness, ())
    )


def prove_failed(context: ProofContext, action: Action, metric: str) -> Proof:
    """Check that calls of the targeted components and zones failed while the action was in force, and not after it."""
    return prove_failed_in(context, action, metric, context.locations(action))


def prove_failed_in(context: ProofContext, action: Action, metric: str, locations: Sequence[Location]) -> Proof:
    """Check as `prove_failed` does, at the given locations."""
    what = FAILURES[metric][1]
    return _prove(
        context,
        action,
        locations,
        combine,
        what,
        lambda location: _failed(context, action, location, metric, locations),
    )


def prove_counted(context: ProofContext, action: Action, metric: str, words: str) -> Proof:
    """Check that some component counted `metric` repeatedly while the action was in force, and not after it."""

    def look(location: Location) -> Observation:
        windows = _windows(context, action, location, LINGER_S)
        return judge_count(_counts(context, windows, location, metric), windows, place=str(location), words=words)

    return _prove(context, action, EVERYWHERE, any_of, words, look)


def prove_silent(context: ProofContext, action: Action, *, until: float | None = None) -> Proof:
    """Check that the targeted tasks published nothing to CloudWatch while their neighbours did, and again afterwards.

    `until`: when the silence ends, if not with the action.
    """
    return prove_silent_in(context, action, context.locations(action), until=until)


def prove_silent_in(
    context: ProofContext, action: Action, locations: Sequence[Location], *, until: float | None = None
) -> Proof:
    """Check as `prove_silent` does, at the given locations."""
    return _prove(
        context,
        action,
        locations,
        combine,
        "heartbeats",
        lambda location: _silent(context, action, location, locations, until),
    )


def _prove(
    context: ProofContext,
    action: Action,
    locations: Sequence[Location],
    join: Callable[[Sequence[Observation], str], Proof],
    what: str,
    look: Callable[[Location], Observation],
) -> Proof:
    """Judge every location, if there are metrics and the action has ended."""
    if context.meters is None:
        return unproven(NO_METERS)
    if windows_of(context, action) is None:
        return unproven(NOT_OVER)
    return join([look(location) for location in locations], what)


def _windows(
    context: ProofContext, action: Action, location: Location, linger_s: float, until: float | None = None
) -> Windows:
    windows = windows_of(context, action, location, linger_s=linger_s, until=until)
    assert windows is not None, "_prove judges no action that has not ended"
    return windows


def _slow(
    context: ProofContext,
    action: Action,
    location: Location,
    slowness: Slowness,
    targets: Sequence[Location],
    until: float | None = None,
) -> Observation:
    windows, metric = _windows(context, action, location, SETTLE_S, until), slowness.metric
    counts = dict(read(context, location, metric, "SampleCount", windows))
    usual = [(ms, counts.get(t, 0.0)) for t, ms in read(context, location, metric, "p90", windows) if windows.before(t)]
    if not usual:
        return Observation(state=State.UNKNOWN, words=f"{location}: no {CALLS[metric]} call before the fault")
    over_ms = slow_over_ms(_median(usual), slowness.added_ms)
    medians = [(t, ms, counts.get(t, 0.0)) for t, ms in read(context, location, metric, "p50", windows)]
    was_ms = _median([(ms, n) for t, ms, n in medians if windows.before(t)])
    is_ms = _median([(ms, n) for t, ms, n in medians if windows.covered(t)])
    return judge_share(
        _slow_tallies(context, windows, location, metric, over_ms),
        windows,
        expected=slowness.expected,
        place=f"{location}, median {was_ms:.0f} → {is_ms:.0f} ms",
        words=f"took over {over_ms:.0f} ms",
        neighbours=[
            tally
            for other in context.neighbours(location, targets)
            for tally in _slow_tallies(context, windows, other, metric, over_ms)
        ],
    )


def _slow_tallies(
    context: ProofContext, windows: Windows, location: Location, metric: str, over_ms: float
) -> list[Tally]:
    share = dict(read(context, location, metric, f"PR({over_ms:.1f}:)", windows))
    counts = read(context, location, metric, "SampleCount", windows)
    return [Tally(t=t, n=n, x=n * share.get(t, 0.0) / 100) for t, n in counts]


def _failed(
    context: ProofContext, action: Action, location: Location, metric: str, targets: Sequence[Location]
) -> Observation:
    windows = _windows(context, action, location, LINGER_S)
    timed, words = FAILURES[metric]
    tallies = _counts(context, windows, location, metric)

    def answered() -> float:
        """Count successful calls of publishes whose whole time lies within the action."""
        start = windows.force_start + SETTLE_S + PUBLISH_S
        calls = sum(
            n for _, n in within(read(context, location, timed, "SampleCount", windows), start, windows.force_end)
        )
        return max(0.0, calls - sum(tally.x for tally in tallies if start <= tally.t <= windows.force_end))

    beside = [
        tally for other in context.neighbours(location, targets) for tally in _counts(context, windows, other, metric)
    ]
    return judge_count(tallies, windows, place=str(location), words=words, answered=answered, neighbours=beside)


def _counts(context: ProofContext, windows: Windows, location: Location, metric: str) -> list[Tally]:
    """Return one tally per publish; a publish without the metric counted nothing."""
    counted = dict(read(context, location, metric, "Sum", windows))
    beats = dict(read(context, location, HEARTBEAT, "Sum", windows))
    return [Tally(t=t, n=beats.get(t) or 1.0, x=counted.get(t, 0.0)) for t in sorted(counted.keys() | beats.keys())]


def _silent(
    context: ProofContext, action: Action, location: Location, targets: Sequence[Location], until: float | None
) -> Observation:
    windows = _windows(context, action, location, SETTLE_S, until)
    beats = read(context, location, HEARTBEAT, "Sum", windows)
    before = [(t, n) for t, n in beats if windows.before(t, 0.0)]
    rate = _rate(before)
    if _total(before) < BEATS_BEFORE_MIN or rate is None:
        return Observation(state=State.UNKNOWN, words=f"{location}: {_total(before):g} heartbeats before the fault")
    if (since_s := windows.injected_at - max(t for t, _ in beats if t <= windows.injected_at)) > QUIET_S_MAX:
        return Observation(state=State.REFUTED, words=f"{location}: silent already {since_s:.0f} s before the fault")
    hit = min(1.0, location.tasks / max(1.0, rate * PUBLISH_S)) if location.tasks else 1.0
    force_s = windows.force_s - SKEW_S
    due = rate * hit * force_s
    if due < BEATS_DUE_MIN:
        return Observation(
            state=State.UNKNOWN, words=f"{location}: {max(0.0, due):.1f} heartbeats due < {BEATS_DUE_MIN:g}"
        )
    # The time of a point is cut to whole seconds: a point in the last second may belong to the time after.
    came = sum(
        n for t, n in within(beats, windows.force_start + SKEW_S, windows.force_end) if t + 1 <= windows.force_end
    )
    missing = rate * force_s - came
    detail = f"{location}: {came:g} heartbeats in {force_s:.0f} s instead of {rate * force_s:.1f}"
    if missing < SILENT_PART_MIN * due:
        return Observation(state=State.REFUTED, words=f"{detail}; {SILENT_PART_MIN:.0%} of {due:.1f} had to be missing")
    for other in context.neighbours(location, targets):
        if not _publishes(read(context, other, HEARTBEAT, "Sum", windows), windows):
            return Observation(
                state=State.REFUTED, words=f"{detail}; but {other}, which is not a target, was silent as well"
            )
    healed_at = _publishes_again(beats, windows, rate)
    return Observation(
        state=State.SHOWN,
        words=detail + healed_words(healed_at, "publishing again"),
        observed_at=windows.force_start + SKEW_S,
        healed_at=healed_at,
    )


def _publishes(beats: Sequence[Point], windows: Windows) -> bool:
    """Return whether a neighbour kept publishing; one that never published counts as publishing."""
    before = [(t, n) for t, n in beats if windows.before(t, 0.0)]
    rate = _rate(before)
    if _total(before) < BEATS_BEFORE_MIN or rate is None:
        return True
    came = sum(n for _, n in within(beats, windows.force_start, windows.force_end))
    return came >= SPEAKING_PART_MIN * rate * windows.force_s - 1


def _rate(beats: Sequence[Point]) -> float | None:
    """Return heartbeats per second between the first and the last; None if all have one timestamp.

    The first is not counted, because it begins the interval: three heartbeats have two intervals.
    """
    ordered = sorted(beats)
    if not ordered or ordered[-1][0] <= ordered[0][0]:
        return None
    return _total(ordered[1:]) / (ordered[-1][0] - ordered[0][0])


def _total(beats: Sequence[Point]) -> float:
    return sum(n for _, n in beats)


def _publishes_again(beats: Sequence[Point], windows: Windows, rate: float) -> float | None:
    """Return the first heartbeat after the end from which on heartbeats come as often as before."""
    after = [(max(t, windows.force_end), n) for t, n in beats if t + 1 > windows.force_end]
    for at, (t, _) in enumerate(after):
        rest = sum(n for _, n in after[at:])
        if rest < BEATS_DUE_MIN:
            return None
        if rest >= SPEAKING_PART_MIN * rate * (after[-1][0] - t):
            return t
    return None


def _median(weighted: Sequence[tuple[float, float]]) -> float:
    """Return the median of (value, weight)."""
    left = sum(weight for _, weight in weighted) / 2
    for value, weight in sorted(weighted):
        left -= weight
        if left <= 0:
            return value
    return float("nan")
