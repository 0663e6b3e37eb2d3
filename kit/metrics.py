"""CloudWatch and ECS → tables over time: what the platform saw, apart from what clients saw.

Owns which metrics a game day keeps and the sampling of tasks; judges nothing.
Tables have `t` in epoch seconds. A missing datapoint is a missing row, never a zero.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from botocore.exceptions import BotoCoreError, ClientError

from kit.aws.boundary import ClientSource, cloud_errors
from kit.model import Deployment

# PaperBroker publishes at high resolution; AWS keeps the load balancer's metrics by the minute.
PERIOD_S = 10
EDGE_PERIOD_S = 60
QUERIES_MAX = 500
SAMPLE_EVERY_S = 1.0
# A sample that takes longer says nothing about the moment it is stamped with.
SAMPLE_S_MAX = 3.0
# Four hours of samples; older ones make room.
SAMPLES_MAX = 4 * 3600
STOP_S_MAX = 10.0
DESCRIBE_TASKS_MAX = 100
SERVICE_OUTPUTS = ("ApiServiceName", "MatcherServiceName", "RelayServiceName")
SUBNET_OUTPUTS = ("AppSubnetA", "AppSubnetB")

# name of the table → (namespace, metric, component, statistic)
BROKER_SERIES = {
    "latency_ms_p50": ("LatencyMs", "api", "p50"),
    "latency_ms_p95": ("LatencyMs", "api", "p95"),
    "latency_ms_p99": ("LatencyMs", "api", "p99"),
    "requests": ("Requests", "api", "Sum"),
    "http_5xx": ("Http5xx", "api", "Sum"),
    "orders_accepted": ("OrdersAccepted", "api", "Sum"),
    "fills": ("Fills", "matcher", "Sum"),
    "time_to_first_fill_ms_p95": ("TimeToFirstFillMs", "matcher", "p95"),
    "matcher_lag_ms_max": ("MatcherLagMs", "matcher", "Maximum"),
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


def series(session: ClientSource, deployment: Deployment, start: float, end: float) -> dict[str, pd.DataFrame]:
    """Every metric of a game day between two epoch seconds, as tables `t`, `value`; empty where nothing came."""
    outputs = deployment.outputs
    queries = {name: _broker_query(outputs, *parts) for name, parts in BROKER_SERIES.items()}
    queries |= {name: _edge_query(outputs, *parts) for name, parts in EDGE_SERIES.items()}
    asked = [{"Id": f"q{index}", "MetricStat": query} for index, query in enumerate(queries.values())]
    points: dict[str, list[tuple[float, float]]] = {query["Id"]: [] for query in asked[:QUERIES_MAX]}
    with cloud_errors(f"metrics of {deployment.stack_name}"):
        pages = (
            session.client("cloudwatch")
            .get_paginator("get_metric_data")
            .paginate(
                MetricDataQueries=asked[:QUERIES_MAX],
                StartTime=_time(start - PERIOD_S),
                EndTime=_time(end + EDGE_PERIOD_S),
                ScanBy="TimestampAscending",
            )
        )
        for page in pages:
            for result in page["MetricDataResults"]:
                times = (moment.timestamp() for moment in result["Timestamps"])
                points[result["Id"]] += zip(times, result["Values"], strict=True)
    return {name: _points_table(points[f"q{index}"]) for index, name in enumerate(queries)}


def alarm_history(
    session: ClientSource, names: Sequence[str], start: float, end: float
) -> dict[str, list[tuple[float, str]]]:
    """Each alarm's states: (epoch s, state) in order; the first is the state in which it was at `start`."""
    with cloud_errors(f"history of alarms {', '.join(names)}"):
        return {name: list(_states(session.client("cloudwatch"), name, start, end)) for name in names}


def guardrails(deployment: Deployment) -> tuple[str, ...]:
    """The names of the deployment's guardrail alarms."""
    return tuple(name for name in deployment.outputs.get("GuardrailAlarms", "").split(",") if name)


def task_table(session: ClientSource, deployment: Deployment) -> pd.DataFrame:
    """Running tasks by service and zone, now: columns service, zone, running."""
    with cloud_errors(f"tasks of {deployment.stack_name}"):
        counts = Counter(_running(session.client("ecs"), deployment.outputs["ClusterName"]))
    rows = [(service, zone, count) for (service, zone), count in sorted(counts.items())]
    return pd.DataFrame(rows, columns=pd.Index(["service", "zone", "running"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A stretch without a sample, and why."""

    start: float
    end: float
    reason: str


@dataclass(slots=True, kw_only=True)
class TaskWatch:
    """Samples running tasks and target health once a second in a thread, until `stop`.

    A call that fails or hangs leaves a gap that is recorded, and does not end the watch.
    """

    session: ClientSource
    deployment: Deployment
    zones: Mapping[str, tuple[str, Any]] = field(default_factory=dict)  # subnet id → (zone, network)
    _task_rows: deque[tuple[float, str, str, int]] = field(default_factory=lambda: deque(maxlen=8 * SAMPLES_MAX))
    _target_rows: deque[tuple[float, str, str, str, int]] = field(default_factory=lambda: deque(maxlen=8 * SAMPLES_MAX))
    _gaps: deque[Gap] = field(default_factory=lambda: deque(maxlen=SAMPLES_MAX))
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @classmethod
    def start(cls, session: ClientSource, deployment: Deployment) -> TaskWatch:
        """Look once, so that what cannot work fails here, then keep looking."""
        with cloud_errors(f"subnets of {deployment.stack_name}"):
            watch = cls(session=session, deployment=deployment, zones=_zones(session, deployment))
            watch._sample()
        watch._thread = threading.Thread(target=watch._run, name="task-watch", daemon=True)
        watch._thread.start()
        return watch

    def stop(self) -> None:
        """End the thread; safe to call twice."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOP_S_MAX)

    def tasks(self) -> pd.DataFrame:
        """Running tasks: columns t, zone, service, running; a zone or service without tasks has its zero."""
        return pd.DataFrame(list(self._task_rows), columns=pd.Index(["t", "zone", "service", "running"]))

    def by_zone(self) -> pd.DataFrame:
        """Running tasks of all services: columns t, zone, running."""
        return pd.DataFrame(self.tasks().groupby(["t", "zone"], as_index=False)["running"].sum())

    def targets(self) -> pd.DataFrame:
        """Load balancer targets: columns t, subnet, zone, state, count; each subnet has a row for `healthy`."""
        return pd.DataFrame(list(self._target_rows), columns=pd.Index(["t", "subnet", "zone", "state", "count"]))

    def gaps(self) -> tuple[Gap, ...]:
        """When nothing could be seen."""
        return tuple(self._gaps)

    def _run(self) -> None:
        due = time.monotonic() + SAMPLE_EVERY_S
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            due = max(due + SAMPLE_EVERY_S, time.monotonic())
            began = time.time()
            try:
                self._sample()
            except (ClientError, BotoCoreError) as error:
                self._gaps.append(Gap(start=began, end=time.time(), reason=str(error)))

    def _sample(self) -> None:
        began = time.time()
        outputs = self.deployment.outputs
        health = self._target_counts(outputs["TargetGroupArn"])
        counts = Counter(_running(self.session.client("ecs"), outputs["ClusterName"]))
        took_s = time.time() - began
        if took_s > SAMPLE_S_MAX:
            self._gaps.append(Gap(start=began, end=began + took_s, reason=f"one sample took {took_s:.1f} s"))
            return
        services = {outputs[key] for key in SERVICE_OUTPUTS} | {service for service, _ in counts}
        for zone in sorted({zone for zone, _ in self.zones.values()} | {zone for _, zone in counts}):
            self._task_rows.extend((began, zone, name, counts[name, zone]) for name in sorted(services))
        for subnet, (zone, _) in self.zones.items():
            states = {state: count for (where, state), count in health.items() if where == subnet}
            rows = {"healthy": 0, **states}.items()
            self._target_rows.extend((began, subnet, zone, state, count) for state, count in rows)

    def _target_counts(self, arn: str) -> Counter[tuple[str, str]]:
        answer = self.session.client("elbv2").describe_target_health(TargetGroupArn=arn)
        found = answer["TargetHealthDescriptions"]
        return Counter((self._subnet_of(target["Target"]["Id"]), target["TargetHealth"]["State"]) for target in found)

    def _subnet_of(self, address: str) -> str:
        ip = ipaddress.ip_address(address)
        return next((subnet for subnet, (_, network) in self.zones.items() if ip in network), "")


def _running(ecs: Any, cluster: str) -> Iterator[tuple[str, str]]:
    """(service, zone) of every running task."""
    arns = [arn for page in ecs.get_paginator("list_tasks").paginate(cluster=cluster) for arn in page["taskArns"]]
    for first in range(0, len(arns), DESCRIBE_TASKS_MAX):
        answer = ecs.describe_tasks(cluster=cluster, tasks=arns[first : first + DESCRIBE_TASKS_MAX])
        for task in answer["tasks"]:
            if task["lastStatus"] == "RUNNING":
                yield task.get("group", "").removeprefix("service:"), task.get("availabilityZone", "")


def _zones(session: ClientSource, deployment: Deployment) -> dict[str, tuple[str, Any]]:
    ids = [deployment.outputs[key] for key in SUBNET_OUTPUTS]
    subnets = session.client("ec2").describe_subnets(SubnetIds=ids)["Subnets"]
    return {
        subnet["SubnetId"]: (subnet["AvailabilityZone"], ipaddress.ip_network(subnet["CidrBlock"]))
        for subnet in subnets
    }


def _broker_query(outputs: Mapping[str, str], metric: str, component: str, statistic: str) -> dict[str, Any]:
    dimensions = {"Env": outputs["MetricsEnv"], "Component": component}
    return _stat("PaperBroker", metric, dimensions, PERIOD_S, statistic)


def _edge_query(outputs: Mapping[str, str], metric: str, statistic: str, by_group: bool) -> dict[str, Any]:
    dimensions = {"LoadBalancer": outputs["LoadBalancerFullName"]}
    if by_group:
        dimensions = {"TargetGroup": outputs["TargetGroupFullName"], **dimensions}
    return _stat("AWS/ApplicationELB", metric, dimensions, EDGE_PERIOD_S, statistic)


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


def _states(cloudwatch: Any, name: str, start: float, end: float) -> Iterator[tuple[float, str]]:
    """From the history's first change on; before it the alarm was in the change's old state."""
    pages = cloudwatch.get_paginator("describe_alarm_history").paginate(
        AlarmName=name, HistoryItemType="StateUpdate", ScanBy="TimestampAscending"
    )
    items = [item for page in pages for item in page["AlarmHistoryItems"]]
    # Asked in order of time; sorting would shuffle changes that carry the same moment.
    changes = [(item["Timestamp"].timestamp(), _new_state(item)) for item in items]
    before = [state for at, state in changes if at <= start]
    yield start, before[-1] if before else "INSUFFICIENT_DATA"
    yield from ((at, state) for at, state in changes if start < at <= end)


def _new_state(item: Mapping[str, Any]) -> str:
    """From the item's JSON; its summary ("Alarm updated from OK to ALARM") is prose."""
    return json.loads(item["HistoryData"])["newState"]["stateValue"]


def _time(epoch_s: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(epoch_s, dt.UTC)
