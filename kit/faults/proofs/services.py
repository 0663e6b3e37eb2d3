"""Effect checks of faults in AWS services themselves: functions, zonal shifts, automations."""

from __future__ import annotations

from collections.abc import Callable

from kit.aws.client_errors import cloud_errors
from kit.faults.proofs import paperbroker_metrics
from kit.faults.proofs.dynamodb import MINUTE_S
from kit.faults.proofs.evidence_sources import EVIDENCE_SOURCES
from kit.faults.proofs.proof_context import Action, Location, Point, Proof, ProofContext, every, healed_words, unproven
from kit.faults.proofs.windows import Windows, windows_of, within

LAMBDA = "AWS/Lambda"
INVOCATIONS_MIN = 5
# Minutes that the fault only touches dilute its effect by half, and half of the promised effect is enough.
MINUTES_PART_MIN = 0.25
DELAY_MS = 1_000
ALL_PCT = 100
# A zone without traffic may keep this part of what it had; with the traffic back it must have the second part.
SHIFTED_PART_MAX = 0.25
BACK_PART_MIN = 0.5
REQUESTS_MIN = 20
# A zone with a smaller share of the traffic before proves nothing by losing it.
ZONE_SHARE_MIN = 0.15


def prove_automation(context: ProofContext, action: Action) -> Proof:
    """Check by the evidence source that the scenario names for this action, because a document may do anything."""
    name = context.evidence.get(action["name"])
    if name is None:
        return unproven("its document may do anything: the scenario names no evidence")
    if name not in EVIDENCE_SOURCES:
        return unproven(f"the scenario names the evidence {name!r}; known: {', '.join(EVIDENCE_SOURCES)}")
    return EVIDENCE_SOURCES[name](context, action)


def prove_functions_fail(context: ProofContext, action: Action) -> Proof:
    """Check that AWS/Lambda counted errors of the functions in the requested share, and few before and after."""
    return _per_function(context, action, _failing)


def prove_functions_late(context: ProofContext, action: Action) -> Proof:
    """Check that AWS/Lambda's average duration of the functions rose by part of the delay, and fell again."""
    return _per_function(context, action, _late)


def prove_shifted(context: ProofContext, action: Action) -> Proof:
    """Check that the zone's API requests, as its tasks count them, moved to the other zones and came back."""
    windows = windows_of(context, action)
    if context.meters is None or windows is None:
        return unproven(paperbroker_metrics.NO_METERS if context.meters is None else paperbroker_metrics.NOT_OVER)
    zone = _zone_name(context, str((action.get("parameters") or {}).get("availabilityZoneIdentifier", "")))
    here = paperbroker_metrics.read(
        context, Location(component="api", zone=zone), paperbroker_metrics.REQUESTS, "Sum", windows
    )
    everywhere = paperbroker_metrics.read(
        context, Location(component="api", zone=""), paperbroker_metrics.REQUESTS, "Sum", windows
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
    detail = f"api requests in {zone}: {was:.0%} → {is_:.0%} → {back:.0%} of all"
    if was < ZONE_SHARE_MIN or is_ > SHIFTED_PART_MAX * was:
        return unproven(f"{detail}; {ZONE_SHARE_MIN:.0%} before and a quarter of it in force were needed")
    healed_at = (
        next((t for t, n in here if t >= windows.after_start and n), None) if back >= BACK_PART_MIN * was else None
    )
    return Proof(
        observed_at=windows.force_start + paperbroker_metrics.PUBLISH_S,
        healed_at=healed_at,
        detail=detail + healed_words(healed_at, "back"),
    )


def _zone_name(context: ProofContext, wanted: str) -> str:
    """Return the name of a zone from its name or id."""
    with cloud_errors(f"zone {wanted}"):
        zones = context.session.client("ec2").describe_availability_zones()["AvailabilityZones"]
    return next((zone["ZoneName"] for zone in zones if wanted in (zone["ZoneName"], zone.get("ZoneId"))), wanted)


def _per_function(
    context: ProofContext, action: Action, prove: Callable[[ProofContext, Windows, Action, str], Proof]
) -> Proof:
    windows = windows_of(context, action)
    if context.meters is None or windows is None:
        return unproven(paperbroker_metrics.NO_METERS if context.meters is None else paperbroker_metrics.NOT_OVER)
    names = [target["arn"].partition(":function:")[2].partition(":")[0] for target in context.chosen(action)]
    if not names:
        return unproven("no function was chosen")
    return every(prove(context, windows, action, name) for name in names)


def _failing(context: ProofContext, windows: Windows, action: Action, name: str) -> Proof:
    calls, errors = (_read(context, windows, name, metric, "Sum") for metric in ("Invocations", "Errors"))
    expected = _percent(action)

    def share(start: float, end: float) -> tuple[float, float]:
        n = _total(calls, start, end)
        return n, (_total(errors, start, end) / n if n else 0.0)

    _, was = share(windows.before_start, windows.injected_at)
    n, is_ = share(*_touched(windows))
    detail = f"Lambda {name}: {is_:.0%} of {n:g} invocations failed, {was:.0%} before"
    if n < INVOCATIONS_MIN or is_ < MINUTES_PART_MIN * expected or was > MINUTES_PART_MIN * is_:
        return unproven(f"{detail}; {INVOCATIONS_MIN} invocations and {MINUTES_PART_MIN * expected:.0%} were needed")
    failed = dict(errors)
    healed_at = next(
        (t for t, n in calls if t > windows.after_start + MINUTE_S and failed.get(t, 0.0) <= was * n), None
    )
    return Proof(
        observed_at=windows.force_end, healed_at=healed_at, detail=detail + healed_words(healed_at, "fine again")
    )


def _late(context: ProofContext, windows: Windows, action: Action, name: str) -> Proof:
    points = _read(context, windows, name, "Duration", "Average")
    delay_ms = float((action.get("parameters") or {}).get("startupDelayMilliseconds") or DELAY_MS)
    before = [ms for t, ms in points if t <= windows.injected_at]
    force = [ms for _, ms in within(points, *_touched(windows))]
    if not before or not force:
        return unproven(f"Lambda {name}: no durations ({len(before)} minutes before, {len(force)} in force)")
    over_ms = max(before) + MINUTES_PART_MIN * _percent(action) * delay_ms
    detail = f"Lambda {name}: average duration {max(before):.0f} → {max(force):.0f} ms"
    if max(force) < over_ms:
        return unproven(f"{detail}; {over_ms:.0f} ms were needed")
    healed_at = next((t for t, ms in points if t > windows.after_start + MINUTE_S and ms < over_ms), None)
    return Proof(observed_at=windows.force_end, healed_at=healed_at, detail=detail + healed_words(healed_at, "back"))


def _touched(windows: Windows) -> tuple[float, float]:
    """Return the range of the minutes that touch the action, by their ends."""
    return windows.force_start, windows.force_end + MINUTE_S


def _percent(action: Action) -> float:
    return float((action.get("parameters") or {}).get("invocationPercentage") or ALL_PCT) / ALL_PCT


def _read(context: ProofContext, windows: Windows, function: str, metric: str, statistic: str) -> list[Point]:
    """Read one series by the minute; the time of a point is the end of its minute."""
    assert context.meters is not None
    return context.meters.points(
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
