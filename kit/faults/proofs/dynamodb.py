"""Check effects by DynamoDB's own metrics: throttled requests, paused replication.

DynamoDB publishes by the minute, and only what happened: a minute without a point proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from kit.aws.client_errors import cloud_errors
from kit.faults.proofs import paperbroker_metrics
from kit.faults.proofs.proof_context import Action, Point, Proof, ProofContext, unproven
from kit.faults.proofs.rates import COUNT_MIN
from kit.faults.proofs.windows import Windows, windows_of

NAMESPACE = "AWS/DynamoDB"
MINUTE_S = 60.0
TABLE_OUTPUTS = ("OrdersTable", "OutboxTable", "LedgerTable", "MarketsTable", "PositionsTable", "AppliedTable")
THROTTLE_EVENTS = ("ReadThrottleEvents", "WriteThrottleEvents")
REPLICATION_LATENCY = "ReplicationLatency"
# Writes that waited for the end of a pause arrive late, the oldest by nearly its whole length.
PAUSED_PART_MIN = 0.5
# The latency must also exceed by this factor what it was before.
PAUSED_FACTOR_MIN = 5.0
MS_PER_S = 1_000


def prove_throttled(context: ProofContext, action: Action) -> Proof:
    """Check that PaperBroker counted throttled DynamoDB calls while the action was in force, and none after it.

    DynamoDB's own throttle events are reported too. They prove the effect alone where PaperBroker could not count, but
    only PaperBroker's count proves that it ended.
    """
    counted = paperbroker_metrics.prove_counted(
        context, action, paperbroker_metrics.STORE_THROTTLED, "throttled store calls"
    )
    windows = windows_of(context, action)
    if context.meters is None or windows is None:
        return counted
    events, first_at, earlier = _throttle_events(context, windows)
    detail = f"{counted.detail}; DynamoDB: {events:g} throttle events, {earlier:g} in the minutes before"
    if counted.observed_at is not None or events < COUNT_MIN or earlier:
        return Proof(observed_at=counted.observed_at, healed_at=counted.healed_at, detail=detail)
    return Proof(observed_at=first_at, healed_at=None, detail=detail)


def _throttle_events(context: ProofContext, windows: Windows) -> tuple[float, float | None, float]:
    """Return the events in the minutes of the action, when the first of these minutes ended, and the events before."""
    force: list[Point] = []
    earlier = 0.0
    for output in TABLE_OUTPUTS:
        table = context.deployment.outputs.get(output)
        for metric in THROTTLE_EVENTS if table else ():
            for t, n in _read(context, windows, metric, {"TableName": str(table)}, "Sum"):
                if t <= windows.injected_at:
                    earlier += n
                elif windows.force_start < t <= windows.force_end + MINUTE_S and n:
                    force.append((t, n))
    first_at = min((t for t, _ in force), default=None)
    return sum(n for _, n in force), None if first_at is None else min(first_at, windows.force_end), earlier


def prove_replication_paused(context: ProofContext, action: Action) -> Proof:
    """Check that DynamoDB's replication latency rose far above normal, to half of the pause at least, and fell."""
    windows = windows_of(context, action)
    if context.meters is None or windows is None:
        return unproven(paperbroker_metrics.NO_METERS if context.meters is None else paperbroker_metrics.NOT_OVER)
    proofs = [
        _paused(context, windows, target["id"].rsplit("/", 1)[-1], region)
        for target in context.chosen(action)
        for region in _replica_regions(context, target["id"].rsplit("/", 1)[-1])
    ]
    if not proofs:
        return unproven("the global tables have no replica in another Region")
    worst = next((proof for proof in proofs if proof.observed_at is None), None)
    return worst or max(proofs, key=lambda proof: proof.healed_at or float("inf"))


def _replica_regions(context: ProofContext, table: str) -> list[str]:
    dynamodb = context.session.client("dynamodb")
    with cloud_errors(f"table {table}"):
        described = dynamodb.describe_table(TableName=table)["Table"]
    here = dynamodb.meta.region_name
    return [each["RegionName"] for each in described.get("Replicas", []) if each["RegionName"] != here]


def _paused(context: ProofContext, windows: Windows, table: str, region: str) -> Proof:
    where = f"{table} → {region}"
    points = _read(context, windows, REPLICATION_LATENCY, {"TableName": table, "ReceivingRegion": region}, "Maximum")
    before = [ms for t, ms in points if t <= windows.injected_at]
    late = [(t, ms) for t, ms in points if t > windows.force_start]
    if not before or not late:
        return unproven(f"{where}: DynamoDB publishes no replication latency ({len(before)} + {len(late)} minutes)")
    at, worst_ms = max(late, key=lambda point: point[1])
    need_ms = max(PAUSED_PART_MIN * windows.force_s * MS_PER_S, PAUSED_FACTOR_MIN * max(before))
    detail = f"{where}: replication took {worst_ms:.0f} ms, {max(before):.0f} ms before"
    if worst_ms < need_ms:
        return unproven(f"{detail}; {need_ms:.0f} ms were needed")
    healed_at = min((t for t, ms in late if t > max(at, windows.after_start) and ms < need_ms), default=None)
    return Proof(observed_at=min(at, windows.force_end), healed_at=healed_at, detail=detail)


def _read(
    context: ProofContext, windows: Windows, metric: str, dimensions: Mapping[str, str], statistic: str
) -> list[Point]:
    """Read one series by the minute; the time of a point is the end of its minute."""
    assert context.meters is not None
    return context.meters.points(
        namespace=NAMESPACE,
        metric=metric,
        dimensions=dimensions,
        statistic=statistic,
        start=windows.before_start,
        end=float("inf"),
        fine=False,
    )
