"""What DynamoDB's own metrics tell: throttled requests, replication that stands still.

DynamoDB publishes by the minute and only what happened, so that a minute without a point says nothing by itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from kit.aws.client_errors import cloud_errors
from kit.faults.proofs import paperbroker_metrics
from kit.faults.proofs.proof_context import Action, Point, Proof, Scene, unproven
from kit.faults.proofs.rates import COUNT_MIN
from kit.faults.proofs.windows import Windows, windows_of

NAMESPACE = "AWS/DynamoDB"
MINUTE_S = 60.0
TABLE_OUTPUTS = ("OrdersTable", "OutboxTable", "LedgerTable", "MarketsTable", "PositionsTable", "AppliedTable")
THROTTLE_EVENTS = ("ReadThrottleEvents", "WriteThrottleEvents")
REPLICATION_LATENCY = "ReplicationLatency"
# What waited in a pause arrives late: the oldest by nearly all of it.
PAUSED_PART_MIN = 0.5
# And by far more than it ever did before.
PAUSED_FACTOR_MIN = 5.0
MS_PER_S = 1_000


def prove_throttled(scene: Scene, action: Action) -> Proof:
    """PaperBroker counted throttled DynamoDB calls while the action was in force, and none after.

    DynamoDB's own throttle events are told beside it. They prove it alone where PaperBroker could not count, but their
    silence afterwards is no heal: PaperBroker's is.
    """
    counted = paperbroker_metrics.prove_counted(
        scene, action, paperbroker_metrics.STORE_THROTTLED, "throttled store calls"
    )
    windows = windows_of(scene, action)
    if scene.meters is None or windows is None:
        return counted
    events, first_at, earlier = _throttle_events(scene, windows)
    told = f"{counted.detail}; DynamoDB: {events:g} throttle events, {earlier:g} in the minutes before"
    if counted.observed_at is not None or events < COUNT_MIN or earlier:
        return Proof(observed_at=counted.observed_at, healed_at=counted.healed_at, detail=told)
    return Proof(observed_at=first_at, healed_at=None, detail=told)


def _throttle_events(scene: Scene, windows: Windows) -> tuple[float, float | None, float]:
    """Events in the minutes that touch the action, when the first of these minutes ended, events in those before."""
    force: list[Point] = []
    earlier = 0.0
    for output in TABLE_OUTPUTS:
        table = scene.deployment.outputs.get(output)
        for metric in THROTTLE_EVENTS if table else ():
            for t, n in _read(scene, windows, metric, {"TableName": str(table)}, "Sum"):
                if t <= windows.injected_at:
                    earlier += n
                elif windows.force_start < t <= windows.force_end + MINUTE_S and n:
                    force.append((t, n))
    first_at = min((t for t, _ in force), default=None)
    return sum(n for _, n in force), None if first_at is None else min(first_at, windows.force_end), earlier


def prove_replication_paused(scene: Scene, action: Action) -> Proof:
    """DynamoDB's replication latency rose to half of the pause at least, far above its usual, and is back."""
    windows = windows_of(scene, action)
    if scene.meters is None or windows is None:
        return unproven(paperbroker_metrics.NO_METERS if scene.meters is None else paperbroker_metrics.NOT_OVER)
    proofs = [
        _paused(scene, windows, target["id"].rsplit("/", 1)[-1], region)
        for target in scene.chosen(action)
        for region in _replica_regions(scene, target["id"].rsplit("/", 1)[-1])
    ]
    if not proofs:
        return unproven("the global tables have no replica in another Region")
    worst = next((proof for proof in proofs if proof.observed_at is None), None)
    return worst or max(proofs, key=lambda proof: proof.healed_at or float("inf"))


def _replica_regions(scene: Scene, table: str) -> list[str]:
    dynamodb = scene.session.client("dynamodb")
    with cloud_errors(f"table {table}"):
        described = dynamodb.describe_table(TableName=table)["Table"]
    here = dynamodb.meta.region_name
    return [each["RegionName"] for each in described.get("Replicas", []) if each["RegionName"] != here]


def _paused(scene: Scene, windows: Windows, table: str, region: str) -> Proof:
    where = f"{table} → {region}"
    points = _read(scene, windows, REPLICATION_LATENCY, {"TableName": table, "ReceivingRegion": region}, "Maximum")
    before = [ms for t, ms in points if t <= windows.injected_at]
    late = [(t, ms) for t, ms in points if t > windows.force_start]
    if not before or not late:
        return unproven(f"{where}: DynamoDB publishes no replication latency ({len(before)} + {len(late)} minutes)")
    at, worst_ms = max(late, key=lambda point: point[1])
    need_ms = max(PAUSED_PART_MIN * windows.force_s * MS_PER_S, PAUSED_FACTOR_MIN * max(before))
    told = f"{where}: replication took {worst_ms:.0f} ms, {max(before):.0f} ms before"
    if worst_ms < need_ms:
        return unproven(f"{told}; {need_ms:.0f} ms were needed")
    healed_at = min((t for t, ms in late if t > max(at, windows.after_start) and ms < need_ms), default=None)
    return Proof(observed_at=min(at, windows.force_end), healed_at=healed_at, detail=told)


def _read(scene: Scene, windows: Windows, metric: str, dimensions: Mapping[str, str], statistic: str) -> list[Point]:
    """By the minute, stamped with its end."""
    assert scene.meters is not None
    return scene.meters.points(
        namespace=NAMESPACE,
        metric=metric,
        dimensions=dimensions,
        statistic=statistic,
        start=windows.before_start,
        end=float("inf"),
        fine=False,
    )
