"""Publish the metrics of the small exchange as its tasks, its load balancer and its tables would.

Tasks count in two zones and are read back in points of 10 s, what AWS publishes itself in points of a minute.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import pandas as pd

from kit.model import SERIES_COLUMNS
from tests.histories.tables import Row

POINT_S, PUBLISH_EVERY_S, EDGE_POINT_S = 10, 5, 60
ZONES = ("us-east-1a", "us-east-1b")
# A task measures less than its client waits.
TASK_SHARE, EDGE_SHARE = 0.6, 0.9
# A matcher's receives without a message, for each message.
EMPTY_SHARE = 0.5
# So many of the exchange's calls to its store were throttled, in each minute.
THROTTLED = 3


def published(
    attempts: Sequence[Row],
    events: Sequence[Row],
    orders: Sequence[Row],
    connections: Sequence[Row],
    *,
    since_ns: int = 0,
) -> pd.DataFrame:
    """The series of an honest exchange after `since_ns`.

    Of requests that no client saw answered, its tasks counted every second one.
    """
    # What the past acknowledged belongs to it, even if its answer came late.
    earlier = {_key(row) for row in attempts if row["invoked_ns"] <= since_ns and 200 <= _status(row) < 300}
    attempts = [row for row in attempts if row["invoked_ns"] > since_ns]
    events = [row for row in events if row["ts_ns"] > since_ns]
    orders = [row for row in orders if row["accepted_ns"] > since_ns and _key(row) not in earlier]
    points: dict[tuple[str, int], float] = defaultdict(float)
    times: dict[int, list[float]] = defaultdict(list)
    for row in attempts:
        status, done_ns = row["late_status"] or row["status"], max(row["completed_ns"], row["late_ns"])
        point, zone = _point(done_ns / 1e9), ZONES[row["op_id"] % 2]
        by_task = 200 <= status < 300 or row["reply"].startswith("{")
        if not by_task and row["op_id"] % 2:
            continue
        for name in ("requests", f"requests@{zone}"):
            points[name, point] += 1
        for name in ("http_5xx", f"http_5xx@{zone}"):
            points[name, point] += by_task and status >= 500
        if row["op"] in ("order", "cancel"):
            points["latency_count", point] += 1
            times[point].append(TASK_SHARE * (done_ns - row["invoked_ns"]) / 1e6)
    for row in orders:
        points["orders_accepted", _point(row["accepted_ns"] / 1e9)] += 1
    accepted_ns = {row["order_id"]: row["accepted_ns"] for row in orders}
    for row in events:
        order_id = row["taker_order_id"] if row["type"] == "fill" else row["order_id"]
        name = "time_to_first_fill_ms_max" if row["type"] == "fill" else "matcher_lag_ms_max"
        if order_id in accepted_ns:
            place = name, _point(row["ts_ns"] / 1e9)
            points[place] = max(points[place], (row["ts_ns"] - accepted_ns[order_id]) / 1e6)
        points["fills", _point(row["ts_ns"] / 1e9)] += row["type"] == "fill"
    commands = {row["event_id"]: row["ts_ns"] for row in reversed(events)}
    for ts_ns in commands.values():
        points["matcher_lag_count", _point(ts_ns / 1e9)] += 1
        points["queue_messages_received", _minute(ts_ns)] += 1
        points["queue_empty_receives", _minute(ts_ns)] += EMPTY_SHARE
    for point, measured in times.items():
        for share in (50, 95):
            points[f"latency_ms_p{share}", point] = sorted(measured)[math.ceil(len(measured) * share / 100) - 1]
    when = [_point(max(row["completed_ns"], row["late_ns"]) / 1e9) for row in attempts]
    for point in range(min(when, default=0), max(when, default=-POINT_S) + POINT_S, POINT_S):
        points |= {(f"heartbeats_{component}", point): 4.0 for component in ("api", "matcher", "relay")}
    points |= _edge(attempts, connections) | _tables(attempts)
    rows = [(name, float(point), float(value)) for (name, point), value in sorted(points.items())]
    return pd.DataFrame(rows, columns=pd.Index(SERIES_COLUMNS)).astype(SERIES_COLUMNS)


def _status(row: Row) -> int:
    return row["late_status"] or row["status"]


def _key(row: Row) -> tuple[str, str]:
    return row["client_id"], row["idempotency_key"]


def _edge(attempts: Sequence[Row], connections: Sequence[Row]) -> dict[tuple[str, int], float]:
    """Count as the load balancer does. What no task answered, it may have answered itself."""
    points: dict[tuple[str, int], float] = defaultdict(float)
    times: dict[int, list[float]] = defaultdict(list)
    for row in attempts:
        status, done_ns = row["late_status"] or row["status"], max(row["completed_ns"], row["late_ns"])
        minute, by_task = _minute(done_ns), 200 <= status < 300 or row["reply"].startswith("{")
        if by_task:
            points["edge_requests", minute] += 1
            points["target_5xx", minute] += status >= 500
            times[minute].append(EDGE_SHARE * (done_ns - row["invoked_ns"]) / 1e9)
        else:
            points["edge_5xx", minute] += status >= 500
    for row in connections:
        points["edge_requests", _minute(row["opened_ns"])] += row["opened_ns"] > 0
    for minute, measured in times.items():
        points["target_response_time_s_p95", minute] = sorted(measured)[math.ceil(len(measured) * 0.95) - 1]
    return points


def _tables(attempts: Sequence[Row]) -> dict[tuple[str, int], float]:
    """Throttle some calls of the API and one of a matcher in each minute."""
    points = {}
    for minute in {_minute(row["completed_ns"]) for row in attempts}:
        points["throttled_requests@orders", minute] = THROTTLED
        points |= {("store_throttled", minute): THROTTLED - 1.0, ("store_throttled_matcher", minute): 1.0}
    return points


def _minute(done_ns: int) -> int:
    return done_ns // 10**9 // EDGE_POINT_S * EDGE_POINT_S


def as_tables(series: pd.DataFrame) -> Mapping[str, pd.DataFrame]:
    """The series as `kit.collect` holds them: a table `t`, `value` by name."""
    return {str(name): part[["t", "value"]].reset_index(drop=True) for name, part in series.groupby("name")}


def _point(done_s: float) -> int:
    """The point that holds what a task publishes after that time."""
    at = (done_s // PUBLISH_EVERY_S + 1) * PUBLISH_EVERY_S
    return int(at // POINT_S * POINT_S)
