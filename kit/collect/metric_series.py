"""Read the metrics that a game day keeps from CloudWatch, as tables `t` (epoch s), `value`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from kit.aws.client_errors import ClientSource, cloud_errors
from kit.collect.clock import utc
from kit.model import Deployment

# PaperBroker publishes at high resolution; AWS keeps the load balancer's metrics by the minute.
PERIOD_S = 10
EDGE_PERIOD_S = 60
QUERIES_MAX = 500

# name of the table → (namespace, metric, component, statistic)
BROKER_SERIES = {
    "latency_ms_p50": ("LatencyMs", "api", "p50"),
    "latency_ms_p95": ("LatencyMs", "api", "p95"),
    "latency_ms_p99": ("LatencyMs", "api", "p99"),
    "latency_count": ("LatencyMs", "api", "SampleCount"),
    "requests": ("Requests", "api", "Sum"),
    "http_5xx": ("Http5xx", "api", "Sum"),
    "orders_accepted": ("OrdersAccepted", "api", "Sum"),
    "store_throttled": ("StoreThrottled", "api", "Sum"),
    "store_throttled_matcher": ("StoreThrottled", "matcher", "Sum"),
    "store_throttled_relay": ("StoreThrottled", "relay", "Sum"),
    "fills": ("Fills", "matcher", "Sum"),
    "time_to_first_fill_ms_p95": ("TimeToFirstFillMs", "matcher", "p95"),
    "time_to_first_fill_ms_max": ("TimeToFirstFillMs", "matcher", "Maximum"),
    "matcher_lag_ms_max": ("MatcherLagMs", "matcher", "Maximum"),
    "matcher_lag_count": ("MatcherLagMs", "matcher", "SampleCount"),
    "heartbeats_api": ("Heartbeat", "api", "Sum"),
    "heartbeats_matcher": ("Heartbeat", "matcher", "Sum"),
    "heartbeats_relay": ("Heartbeat", "relay", "Sum"),
}
# The same of the tasks in one zone, named with the zone: requests@us-east-1a.
ZONE_SERIES = ("requests", "http_5xx")
# The requests that each table throttled, named with the table: throttled_requests@orders. AWS counts them by operation.
TABLES = ("Orders", "Outbox", "Ledger", "Markets", "Positions", "Applied")
OPERATIONS = ("GetItem", "Query", "Scan", "PutItem", "UpdateItem", "BatchWriteItem", "TransactWriteItems")
TABLE_SERIES = {f"throttled_requests@{table.lower()}": f"{table}Table" for table in TABLES}
# Writes that met a transaction on the same item of the table with a market's sequence.
CONFLICTS = "transaction_conflicts@markets"
# What the command queue did, by the minute on AWS.
QUEUE_SERIES = {
    "queue_messages_received": "NumberOfMessagesReceived",
    "queue_empty_receives": "NumberOfEmptyReceives",
}
EDGE_SERIES = {
    "edge_requests": ("RequestCount", "Sum", False),
    "edge_5xx": ("HTTPCode_ELB_5XX_Count", "Sum", False),
    "target_5xx": ("HTTPCode_Target_5XX_Count", "Sum", True),
    "target_connection_errors": ("TargetConnectionErrorCount", "Sum", True),
    "target_response_time_s_p95": ("TargetResponseTime", "p95", True),
    "healthy_hosts": ("HealthyHostCount", "Minimum", True),
    "unhealthy_hosts": ("UnHealthyHostCount", "Maximum", True),
}


def series(
    session: ClientSource,
    deployment: Deployment,
    start: float,
    end: float,
    *,
    zones: Iterable[str] = (),
    is_edge_settled: bool = True,
) -> dict[str, pd.DataFrame]:
    """Return every metric between two epoch seconds by name; a table is empty if nothing was published.

    What AWS publishes itself is left out unless `is_edge_settled`: what was counted last would be missing in it.
    """
    outputs = deployment.outputs
    queries = [(name, _broker_query(outputs, *parts)) for name, parts in BROKER_SERIES.items()]
    queries += [
        (f"{name}@{zone}", _broker_query(outputs, *BROKER_SERIES[name], zone=zone))
        for name in ZONE_SERIES
        for zone in sorted(zones)
    ]
    if is_edge_settled:
        queries += [(name, _edge_query(outputs, *parts)) for name, parts in EDGE_SERIES.items()]
        queries += [
            (name, _table_query(outputs[output], operation))
            for name, output in TABLE_SERIES.items()
            for operation in OPERATIONS
        ]
        queries.append((CONFLICTS, _conflict_query(outputs["MarketsTable"])))
        queries += [(name, _queue_query(outputs["QueueUrl"], metric)) for name, metric in QUEUE_SERIES.items()]
    asked = [{"Id": f"q{index}", "MetricStat": query} for index, (_, query) in enumerate(queries[:QUERIES_MAX])]
    points: dict[str, list[tuple[float, float]]] = {name: [] for name, _ in queries[:QUERIES_MAX]}
    with cloud_errors(f"metrics of {deployment.stack_name}"):
        pages = (
            session.client("cloudwatch")
            .get_paginator("get_metric_data")
            .paginate(
                MetricDataQueries=asked,
                StartTime=utc(start - PERIOD_S),
                EndTime=utc(end + EDGE_PERIOD_S),
                ScanBy="TimestampAscending",
            )
        )
        for page in pages:
            for result in page["MetricDataResults"]:
                name, _ = queries[int(result["Id"][1:])]
                times = (at.timestamp() for at in result["Timestamps"])
                points[name] += zip(times, result["Values"], strict=True)
    return {name: _points_table(found) for name, found in points.items()}


def _broker_query(
    outputs: Mapping[str, str], metric: str, component: str, statistic: str, *, zone: str = ""
) -> dict[str, Any]:
    dimensions = {"Env": outputs["MetricsEnv"], "Component": component, **({"Az": zone} if zone else {})}
    return _stat("PaperBroker", metric, dimensions, PERIOD_S, statistic)


def _edge_query(outputs: Mapping[str, str], metric: str, statistic: str, by_group: bool) -> dict[str, Any]:
    dimensions = {"LoadBalancer": outputs["LoadBalancerFullName"]}
    if by_group:
        dimensions = {"TargetGroup": outputs["TargetGroupFullName"], **dimensions}
    return _stat("AWS/ApplicationELB", metric, dimensions, EDGE_PERIOD_S, statistic)


def _table_query(table: str, operation: str) -> dict[str, Any]:
    dimensions = {"TableName": table, "Operation": operation}
    return _stat("AWS/DynamoDB", "ThrottledRequests", dimensions, EDGE_PERIOD_S, "Sum")


def _conflict_query(table: str) -> dict[str, Any]:
    return _stat("AWS/DynamoDB", "TransactionConflict", {"TableName": table}, EDGE_PERIOD_S, "Sum")


def _queue_query(url: str, metric: str) -> dict[str, Any]:
    return _stat("AWS/SQS", metric, {"QueueName": url.rpartition("/")[2]}, EDGE_PERIOD_S, "Sum")


def _stat(namespace: str, metric: str, dimensions: Mapping[str, str], period_s: int, stat: str) -> dict[str, Any]:
    named = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    return {
        "Metric": {"Namespace": namespace, "MetricName": metric, "Dimensions": named},
        "Period": period_s,
        "Stat": stat,
    }


def _points_table(points: Iterable[tuple[float, float]]) -> pd.DataFrame:
    table = pd.DataFrame(sorted(points), columns=pd.Index(["t", "value"]))
    return table.astype({"t": "float64", "value": "float64"})
