"""What PaperBroker's own metrics tell of a component in a zone: slow calls, failed calls, silence.

Owns the metrics' names and dimensions; the rules are in tallies.py. A task that cannot reach CloudWatch publishes
nothing, and what it would have told is lost: silence is then the only witness.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kit.faults.proofs.proof_context import COMPONENTS, Action, Pair, Point, Proof, Scene, healed_words, unproven
from kit.faults.proofs.rates import Seen, State, Tally, any_of, combine, judge_count, judge_share
from kit.faults.proofs.windows import LINGER_S, PUBLISH_S, SETTLE_S, SKEW_S, Windows, windows_of, within

NAMESPACE = "PaperBroker"
STORE_MS, QUEUE_MS = "StoreMs", "QueueMs"
STORE_ERRORS, QUEUE_ERRORS = "StoreErrors", "QueueErrors"
STORE_THROTTLED, SHED, HEARTBEAT, REQUESTS = "StoreThrottled", "Shed", "Heartbeat", "Requests"
CALLS = {STORE_MS: "store", QUEUE_MS: "queue"}
FAILURES = {STORE_ERRORS: (STORE_MS, "failed store calls"), QUEUE_ERRORS: (QUEUE_MS, "failed queue calls")}
ERRORS_OF = {STORE_MS: STORE_ERRORS, QUEUE_MS: QUEUE_ERRORS}
# A call is slow if it takes longer than nine of ten took before, by this part of the delay that was injected.
SLOW_PART = 0.5
# Where nothing says how long the delay is: twice as long as nine of ten, and by this much more; in this share of calls.
UNKNOWN_ADDED_MS_MIN = 50.0
UNKNOWN_EXPECTED = 0.5
# Of the heartbeats that silenced tasks would have sent, at least this part must be missing; and two at least are due.
SILENT_PART_MIN = 0.6
BEATS_DUE_MIN = 2.0
BEATS_BEFORE_MIN = 3
# Who has not spoken for longer fell silent before the fault: a publish may come late, two in a row do not.
QUIET_S_MAX = 2.5 * PUBLISH_S
# A neighbour that speaks shows that CloudWatch listens; after the heal the targets must speak as much.
SPEAKING_PART_MIN = 0.5
# Every component, all its zones together.
EVERYWHERE = tuple(Pair(component=component, zone="") for component in COMPONENTS)
NO_METERS = "nothing read PaperBroker's metrics"
NOT_OVER = "the action has not ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slowness:
    """What an action promises: calls of this metric later by `added_ms` (None = unknown), in a share of them."""

    metric: str
    added_ms: float | None = None
    expected: float = UNKNOWN_EXPECTED


def slow_over_ms(usual_ms: float, added_ms: float | None) -> float:
    """Above this a call is slow, where nine of ten took less than `usual_ms`."""
    return usual_ms + (max(UNKNOWN_ADDED_MS_MIN, usual_ms) if added_ms is None else SLOW_PART * added_ms)


def read(scene: Scene, pair: Pair, metric: str, statistic: str, windows: Windows) -> list[Point]:
    """One series, from before the fault to now."""
    assert scene.meters is not None
    zone = {"Az": pair.zone} if pair.zone else {}
    return scene.meters.points(
        namespace=NAMESPACE,
        metric=metric,
        dimensions={"Env": scene.deployment.outputs["MetricsEnv"], "Component": pair.component, **zone},
        statistic=statistic,
        start=windows.before_start,
        end=float("inf"),
    )


def prove_slow(scene: Scene, action: Action, slowness: Slowness, *, until: float | None = None) -> Proof:
    """Calls of the targeted components and zones became slow while the action was in force, and are quick again.

    `until`: up to when the targets can tell, if not to the end of the action.
    """
    pairs = scene.pairs(action)
    what = f"{CALLS[slowness.metric]} calls"
    return _prove(scene, action, pairs, combine, what, lambda pair: _slow(scene, action, pair, slowness, pairs, until))


def prove_slow_somewhere(scene: Scene, action: Action, slowness: Slowness) -> Proof:
    """As `prove_slow`, for an action that does not name its targets: some component's calls."""
    what = f"{CALLS[slowness.metric]} calls"
    return _prove(scene, action, EVERYWHERE, any_of, what, lambda pair: _slow(scene, action, pair, slowness, ()))


def prove_failed(scene: Scene, action: Action, metric: str) -> Proof:
    """Calls of the targeted components and zones failed while the action was in force, and no more after."""
    return prove_failed_in(scene, action, metric, scene.pairs(action))


def prove_failed_in(scene: Scene, action: Action, metric: str, pairs: Sequence[Pair]) -> Proof:
    """As `prove_failed`, at the places that are given."""
    what = FAILURES[metric][1]
    return _prove(scene, action, pairs, combine, what, lambda pair: _failed(scene, action, pair, metric, pairs))


def prove_counted(scene: Scene, action: Action, metric: str, words: str) -> Proof:
    """Something was counted again and again by some component while the action was in force, and no more after."""

    def look(pair: Pair) -> Seen:
        windows = _windows(scene, action, pair, LINGER_S)
        return judge_count(_counts(scene, windows, pair, metric), windows, place=str(pair), words=words)

    return _prove(scene, action, EVERYWHERE, any_of, words, look)


def prove_silent(scene: Scene, action: Action, *, until: float | None = None) -> Proof:
    """The targeted tasks fell silent in CloudWatch while their neighbours spoke, and spoke again after.

    `until`: when the silence ends, if not with the action.
    """
    return prove_silent_in(scene, action, scene.pairs(action), until=until)


def prove_silent_in(scene: Scene, action: Action, pairs: Sequence[Pair], *, until: float | None = None) -> Proof:
    """As `prove_silent`, at the places that are given."""
    return _prove(scene, action, pairs, combine, "heartbeats", lambda pair: _silent(scene, action, pair, pairs, until))


def _prove(
    scene: Scene,
    action: Action,
    pairs: Sequence[Pair],
    join: Callable[[Sequence[Seen], str], Proof],
    what: str,
    look: Callable[[Pair], Seen],
) -> Proof:
    """Look at every place, where there is anything to look at and with."""
    if scene.meters is None:
        return unproven(NO_METERS)
    if windows_of(scene, action) is None:
        return unproven(NOT_OVER)
    return join([look(pair) for pair in pairs], what)


def _windows(scene: Scene, action: Action, pair: Pair, linger_s: float, until: float | None = None) -> Windows:
    windows = windows_of(scene, action, pair, linger_s=linger_s, until=until)
    assert windows is not None, "_prove asks no place of an action that has not ended"
    return windows


def _slow(
    scene: Scene, action: Action, pair: Pair, slowness: Slowness, targets: Sequence[Pair], until: float | None = None
) -> Seen:
    windows, metric = _windows(scene, action, pair, SETTLE_S, until), slowness.metric
    counts = dict(read(scene, pair, metric, "SampleCount", windows))
    usual = [(ms, counts.get(t, 0.0)) for t, ms in read(scene, pair, metric, "p90", windows) if windows.before(t)]
    if not usual:
        return Seen(state=State.UNKNOWN, words=f"{pair}: no {CALLS[metric]} call before the fault")
    over_ms = slow_over_ms(_middle(usual), slowness.added_ms)
    medians = [(t, ms, counts.get(t, 0.0)) for t, ms in read(scene, pair, metric, "p50", windows)]
    was_ms = _middle([(ms, n) for t, ms, n in medians if windows.before(t)])
    is_ms = _middle([(ms, n) for t, ms, n in medians if windows.covered(t)])
    return judge_share(
        _slow_tallies(scene, windows, pair, metric, over_ms),
        windows,
        expected=slowness.expected,
        place=f"{pair}, median {was_ms:.0f} → {is_ms:.0f} ms",
        words=f"took over {over_ms:.0f} ms",
        neighbours=[
            tally
            for other in scene.neighbours(pair, targets)
            for tally in _slow_tallies(scene, windows, other, metric, over_ms)
        ],
    )


def _slow_tallies(scene: Scene, windows: Windows, pair: Pair, metric: str, over_ms: float) -> list[Tally]:
    share = dict(read(scene, pair, metric, f"PR({over_ms:.1f}:)", windows))
    counts = read(scene, pair, metric, "SampleCount", windows)
    return [Tally(t=t, n=n, x=n * share.get(t, 0.0) / 100) for t, n in counts]


def _failed(scene: Scene, action: Action, pair: Pair, metric: str, targets: Sequence[Pair]) -> Seen:
    windows = _windows(scene, action, pair, LINGER_S)
    timed, words = FAILURES[metric]
    tallies = _counts(scene, windows, pair, metric)

    def answered() -> float:
        """Calls that came back well although the action had been in force for all of the time that is told."""
        start = windows.force_start + SETTLE_S + PUBLISH_S
        calls = sum(n for _, n in within(read(scene, pair, timed, "SampleCount", windows), start, windows.force_end))
        return max(0.0, calls - sum(tally.x for tally in tallies if start <= tally.t <= windows.force_end))

    beside = [tally for other in scene.neighbours(pair, targets) for tally in _counts(scene, windows, other, metric)]
    return judge_count(tallies, windows, place=str(pair), words=words, answered=answered, neighbours=beside)


def _counts(scene: Scene, windows: Windows, pair: Pair, metric: str) -> list[Tally]:
    """One tally per publish; a publish that does not name the metric counted none of it."""
    counted = dict(read(scene, pair, metric, "Sum", windows))
    beats = dict(read(scene, pair, HEARTBEAT, "Sum", windows))
    return [Tally(t=t, n=beats.get(t) or 1.0, x=counted.get(t, 0.0)) for t in sorted(counted.keys() | beats.keys())]


def _silent(scene: Scene, action: Action, pair: Pair, targets: Sequence[Pair], until: float | None) -> Seen:
    windows = _windows(scene, action, pair, SETTLE_S, until)
    beats = read(scene, pair, HEARTBEAT, "Sum", windows)
    before = [(t, n) for t, n in beats if windows.before(t, 0.0)]
    rate = _rate(before)
    if _told(before) < BEATS_BEFORE_MIN or rate is None:
        return Seen(state=State.UNKNOWN, words=f"{pair}: {_told(before):g} heartbeats before the fault")
    if (since_s := windows.injected_at - max(t for t, _ in beats if t <= windows.injected_at)) > QUIET_S_MAX:
        return Seen(state=State.REFUTED, words=f"{pair}: silent since {since_s:.0f} s before the fault")
    hit = min(1.0, pair.tasks / max(1.0, rate * PUBLISH_S)) if pair.tasks else 1.0
    force_s = windows.force_s - SKEW_S
    due = rate * hit * force_s
    if due < BEATS_DUE_MIN:
        return Seen(state=State.UNKNOWN, words=f"{pair}: {max(0.0, due):.1f} heartbeats due < {BEATS_DUE_MIN:g}")
    # A point carries the whole second of its publishing: one at the very end may be the first after it.
    came = sum(
        n for t, n in within(beats, windows.force_start + SKEW_S, windows.force_end) if t + 1 <= windows.force_end
    )
    missing = rate * force_s - came
    told = f"{pair}: {came:g} heartbeats in {force_s:.0f} s instead of {rate * force_s:.1f}"
    if missing < SILENT_PART_MIN * due:
        return Seen(state=State.REFUTED, words=f"{told}; {SILENT_PART_MIN:.0%} of {due:.1f} had to be missing")
    for other in scene.neighbours(pair, targets):
        if not _speaks(read(scene, other, HEARTBEAT, "Sum", windows), windows):
            return Seen(state=State.REFUTED, words=f"{told}; but {other}, which was left alone, was silent as well")
    healed_at = _speaks_again(beats, windows, rate)
    return Seen(
        state=State.SHOWN,
        words=told + healed_words(healed_at, "speaking again"),
        observed_at=windows.force_start + SKEW_S,
        healed_at=healed_at,
    )


def _speaks(beats: Sequence[Point], windows: Windows) -> bool:
    """Whether a neighbour that spoke before did so in force too; one that never spoke says nothing."""
    before = [(t, n) for t, n in beats if windows.before(t, 0.0)]
    rate = _rate(before)
    if _told(before) < BEATS_BEFORE_MIN or rate is None:
        return True
    came = sum(n for _, n in within(beats, windows.force_start, windows.force_end))
    return came >= SPEAKING_PART_MIN * rate * windows.force_s - 1


def _rate(beats: Sequence[Point]) -> float | None:
    """Heartbeats a second, from the first to the last of them; None if they came at one moment.

    The first begins the time that is counted, and is not counted itself: three beats make two pauses.
    """
    ordered = sorted(beats)
    if not ordered or ordered[-1][0] <= ordered[0][0]:
        return None
    return _told(ordered[1:]) / (ordered[-1][0] - ordered[0][0])


def _told(beats: Sequence[Point]) -> float:
    return sum(n for _, n in beats)


def _speaks_again(beats: Sequence[Point], windows: Windows, rate: float) -> float | None:
    """The first heartbeat after the end from which on they come as often as before."""
    after = [(max(t, windows.force_end), n) for t, n in beats if t + 1 > windows.force_end]
    for at, (t, _) in enumerate(after):
        rest = sum(n for _, n in after[at:])
        if rest < BEATS_DUE_MIN:
            return None
        if rest >= SPEAKING_PART_MIN * rate * (after[-1][0] - t):
            return t
    return None


def _middle(weighted: Sequence[tuple[float, float]]) -> float:
    """The median of (value, weight)."""
    left = sum(weight for _, weight in weighted) / 2
    for value, weight in sorted(weighted):
        left -= weight
        if left <= 0:
            return value
    return float("nan")
