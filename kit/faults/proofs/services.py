"""Provers of faults at AWS services themselves: functions, zonal shifts, automations."""

from __future__ import annotations

from collections.abc import Callable

from kit.aws.client_errors import cloud_errors
from kit.faults.proofs import paperbroker_metrics
from kit.faults.proofs.dynamodb import MINUTE_S
from kit.faults.proofs.evidence_sources import WITNESSES
from kit.faults.proofs.proof_context import Action, Pair, Point, Proof, Scene, every, healed_words, unproven
from kit.faults.proofs.windows import Windows, windows_of, within

LAMBDA = "AWS/Lambda"
INVOCATIONS_MIN = 5
# Minutes that the fault only touches dilute it by half, and half of what is promised is enough.
MINUTES_PART_MIN = 0.25
DELAY_MS = 1_000
ALL_PCT = 100
# A zone that traffic left may still get this part of what it had; one that has it back, at least that.
SHIFTED_PART_MAX = 0.25
BACK_PART_MIN = 0.5
REQUESTS_MIN = 20
# Below this share of the traffic before, its loss shows nothing.
ZONE_SHARE_MIN = 0.15


def prove_automation(scene: Scene, action: Action) -> Proof:
    """By the witness that the scenario names for this action (`evidence`): a document may do anything."""
    name = scene.evidence.get(action["name"])
    if name is None:
        return unproven("its document may do anything: the scenario names no evidence")
    if name not in WITNESSES:
        return unproven(f"the scenario names the evidence {name!r}; known: {', '.join(WITNESSES)}")
    return WITNESSES[name](scene, action)


def prove_functions_fail(scene: Scene, action: Action) -> Proof:
    """AWS/Lambda counted errors of the functions in the share that was asked for, few before and after."""
    return _per_function(scene, action, _failing)


def prove_functions_late(scene: Scene, action: Action) -> Proof:
    """AWS/Lambda's average duration of the functions rose by part of the delay, and is back."""
    return _per_function(scene, action, _late)


def prove_shifted(scene: Scene, action: Action) -> Proof:
    """The API's requests in the zone, as its tasks count them, went to the other zones, and came back."""
    windows = windows_of(scene, action)
    if scene.meters is None or windows is None:
        return unproven(paperbroker_metrics.NO_METERS if scene.meters is None else paperbroker_metrics.NOT_OVER)
    zone = _zone_name(scene, str((action.get("parameters") or {}).get("availabilityZoneIdentifier", "")))
    here = paperbroker_metrics.read(
        scene, Pair(component="api", zone=zone), paperbroker_metrics.REQUESTS, "Sum", windows
    )
    everywhere = paperbroker_metrics.read(
        scene, Pair(component="api", zone=""), paperbroker_metrics.REQUESTS, "Sum", windows
    )
    spans = {
        "before": (windows.before_start, windows.injected_at),
        "in force": (windows.force_start + paperbroker_metrics.PUBLISH_S, windows.force_end),
        "after": (windows.after_start + paperbroker_metrics.PUBLISH_S, float("inf")),
    }
    totals = {name: _total(everywhere, *span) for name, span in spans.items()}
    few = [f"{n:g} requests {name}" for name, n in totals.items() if n < REQUESTS_MIN]
    if few:
        return unproven(f"api: {', '.join(few)} < {REQUESTS_MIN}")
    was, is_, back = (_total(here, *span) / totals[name] for name, span in spans.items())
    told = f"api requests in {zone}: {was:.0%} → {is_:.0%} → {back:.0%} of all"
    if was < ZONE_SHARE_MIN or is_ > SHIFTED_PART_MAX * was:
        return unproven(f"{told}; {ZONE_SHARE_MIN:.0%} before and a quarter of it in force were needed")
    healed_at = (
        next((t for t, n in here if t >= windows.after_start and n), None) if back >= BACK_PART_MIN * was else None
    )
    return Proof(
        observed_at=windows.force_start + paperbroker_metrics.PUBLISH_S,
        healed_at=healed_at,
        detail=told + healed_words(healed_at, "back"),
    )


def _zone_name(scene: Scene, wanted: str) -> str:
    """A zone's id as its name."""
    with cloud_errors(f"zone {wanted}"):
        zones = scene.session.client("ec2").describe_availability_zones()["AvailabilityZones"]
    return next((zone["ZoneName"] for zone in zones if wanted in (zone["ZoneName"], zone.get("ZoneId"))), wanted)


def _per_function(scene: Scene, action: Action, prove: Callable[[Scene, Windows, Action, str], Proof]) -> Proof:
    windows = windows_of(scene, action)
    if scene.meters is None or windows is None:
        return unproven(paperbroker_metrics.NO_METERS if scene.meters is None else paperbroker_metrics.NOT_OVER)
    names = [target["arn"].partition(":function:")[2].partition(":")[0] for target in scene.chosen(action)]
    if not names:
        return unproven("no function was chosen")
    return every(prove(scene, windows, action, name) for name in names)


def _failing(scene: Scene, windows: Windows, action: Action, name: str) -> Proof:
    calls, errors = (_read(scene, windows, name, metric, "Sum") for metric in ("Invocations", "Errors"))
    expected = _percent(action)

    def share(start: float, end: float) -> tuple[float, float]:
        n = _total(calls, start, end)
        return n, (_total(errors, start, end) / n if n else 0.0)

    _, was = share(windows.before_start, windows.injected_at)
    n, is_ = share(*_touched(windows))
    told = f"Lambda {name}: {is_:.0%} of {n:g} invocations failed, {was:.0%} before"
    if n < INVOCATIONS_MIN or is_ < MINUTES_PART_MIN * expected or was > MINUTES_PART_MIN * is_:
        return unproven(f"{told}; {INVOCATIONS_MIN} invocations and {MINUTES_PART_MIN * expected:.0%} were needed")
    failed = dict(errors)
    healed_at = next(
        (t for t, n in calls if t > windows.after_start + MINUTE_S and failed.get(t, 0.0) <= was * n), None
    )
    return Proof(
        observed_at=windows.force_end, healed_at=healed_at, detail=told + healed_words(healed_at, "fine again")
    )


def _late(scene: Scene, windows: Windows, action: Action, name: str) -> Proof:
    points = _read(scene, windows, name, "Duration", "Average")
    delay_ms = float((action.get("parameters") or {}).get("startupDelayMilliseconds") or DELAY_MS)
    before = [ms for t, ms in points if t <= windows.injected_at]
    force = [ms for _, ms in within(points, *_touched(windows))]
    if not before or not force:
        return unproven(f"Lambda {name}: no durations ({len(before)} minutes before, {len(force)} in force)")
    over_ms = max(before) + MINUTES_PART_MIN * _percent(action) * delay_ms
    told = f"Lambda {name}: average duration {max(before):.0f} → {max(force):.0f} ms"
    if max(force) < over_ms:
        return unproven(f"{told}; {over_ms:.0f} ms were needed")
    healed_at = next((t for t, ms in points if t > windows.after_start + MINUTE_S and ms < over_ms), None)
    return Proof(observed_at=windows.force_end, healed_at=healed_at, detail=told + healed_words(healed_at, "back"))


def _touched(windows: Windows) -> tuple[float, float]:
    """The ends of the minutes that touch the action."""
    return windows.force_start, windows.force_end + MINUTE_S


def _percent(action: Action) -> float:
    return float((action.get("parameters") or {}).get("invocationPercentage") or ALL_PCT) / ALL_PCT


def _read(scene: Scene, windows: Windows, function: str, metric: str, statistic: str) -> list[Point]:
    """By the minute, stamped with its end."""
    assert scene.meters is not None
    return scene.meters.points(
        namespace=LAMBDA,
        metric=metric,
        dimensions={"FunctionName": function},
        statistic=statistic,
        start=windows.before_start,
        end=float("inf"),
        fine=False,
    )


def _total(points: list[Point], start: float, end: float) -> float:
    return sum(n for _, n in within(points, start, end))
