"""Read the points of one CloudWatch metric, as finely as it was published, for the effect checks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kit.aws.client_errors import ClientSource, cloud_errors
from kit.collect.clock import utc
from kit.errors import CloudError
from kit.model import Deployment

# High-resolution metrics can be read by the second for three hours. Older points, and metrics that AWS publishes
# itself, can be read by the minute.
FINE_PERIOD_S = 1
FINE_S_MAX = 3 * 3600 - 300
COARSE_PERIOD_S = 60
# CloudWatch may show a point this much later than it was published.
VISIBLE_S_MAX = 60.0
# AWS publishes the load balancer's metrics minutes later.
EDGE_VISIBLE_S_MAX = 240.0
# PaperBroker's tasks publish this often.
PUBLISH_EVERY_S = 5.0
COMPONENTS = ("api", "matcher", "relay")
POLL_S = 1.0

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Meters:
    """Read points (epoch s, value). `now` and `sleep` are the clock's, replaced in tests."""

    session: ClientSource
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def points(
        self,
        *,
        namespace: str,
        metric: str,
        dimensions: Mapping[str, str],
        statistic: str,
        start: float,
        end: float,
        fine: bool = True,
    ) -> list[Point]:
        """Return points in order: fine ones at the second of their publishing, others at the end of their minute."""
        period_s = FINE_PERIOD_S if fine and self.now() - start < FINE_S_MAX else COARSE_PERIOD_S
        named = [{"Name": name, "Value": value} for name, value in dimensions.items()]
        stat = {
            "Metric": {"Namespace": namespace, "MetricName": metric, "Dimensions": named},
            "Period": period_s,
            "Stat": statistic,
        }
        first = math.floor(start / period_s) * period_s
        last = math.ceil(min(end, self.now()) / period_s + 1) * period_s
        with cloud_errors(f"metric {namespace} {metric}"):
            pages = (
                self.session.client("cloudwatch")
                .get_paginator("get_metric_data")
                .paginate(
                    MetricDataQueries=[{"Id": "points", "MetricStat": stat}],
                    StartTime=utc(first),
                    EndTime=utc(last),
                    ScanBy="TimestampAscending",
                )
            )
            found = [
                (at.timestamp(), value)
                for page in pages
                for result in page["MetricDataResults"]
                for at, value in zip(result["Timestamps"], result["Values"], strict=True)
            ]
        shift_s = 0 if period_s == FINE_PERIOD_S else period_s
        return sorted((t + shift_s, value) for t, value in found)

    def settle(self, deployment: Deployment, until: float) -> bool:
        """Wait, at most VISIBLE_S_MAX, until CloudWatch shows all that the tasks counted up to `until` (epoch s).

        One task's publish that is a whole period later follows every other task's next one. Returns whether all
        services showed it.
        """
        deadline, silent = self.now() + VISIBLE_S_MAX, list(COMPONENTS)
        while self.now() < deadline:
            silent = [one for one in silent if not self._shows(deployment, one, until + PUBLISH_EVERY_S)]
            if not silent:
                return True
            self.sleep(POLL_S)
        return False

    def edge_publishes(self, deployment: Deployment, since: float) -> Point:
        """Return the last minute for which the load balancer has published, and how often it has since `since`.

        It counts hosts in every publish, whatever the traffic is.
        """
        outputs = deployment.outputs
        dimensions = {
            "TargetGroup": outputs["TargetGroupFullName"],
            "LoadBalancer": outputs["LoadBalancerFullName"],
        }
        found = self.points(
            namespace="AWS/ApplicationELB", metric="HealthyHostCount", dimensions=dimensions, statistic="SampleCount",
            start=since - COARSE_PERIOD_S, end=math.inf, fine=False,
        )  # fmt: skip
        return max((t for t, _ in found), default=0.0), sum(value for _, value in found)

    def settle_edge(self, deployment: Deployment, until: float, before: Point, since: float) -> bool:
        """Wait, at most EDGE_VISIBLE_S_MAX, until the load balancer has published what it counted up to `until`.

        `before` is what `edge_publishes` returned at that time or later. A publish since then holds all that was
        counted before it, if it is also for that minute or a later one. Returns whether it came.
        """
        deadline = self.now() + EDGE_VISIBLE_S_MAX
        while True:
            last, publishes = self.edge_publishes(deployment, since)
            if last >= until and publishes > before[1]:
                return True
            if self.now() >= deadline:
                return False
            self.sleep(POLL_S)

    def _shows(self, deployment: Deployment, component: str, until: float) -> bool:
        dimensions = {"Env": deployment.outputs["MetricsEnv"], "Component": component}
        try:
            beats = self.points(
                namespace="PaperBroker", metric="Heartbeat", dimensions=dimensions, statistic="Sum",
                start=until, end=math.inf,
            )  # fmt: skip
        except CloudError:
            # It is asked again. If CloudWatch stays unreachable, the effect checks say that they could not read it.
            return False
        return any(t >= until for t, _ in beats)
