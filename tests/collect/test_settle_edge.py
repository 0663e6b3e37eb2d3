"""What the load balancer counted is read once it has published it: at once here, minutes later on AWS."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Any

import pytest

from kit.collect.metric_points import EDGE_VISIBLE_S_MAX, Meters
from kit.model import Deployment

DEPLOYMENT = Deployment(
    stack_name="s", run_id="r", api_url="", outputs={"TargetGroupFullName": "t", "LoadBalancerFullName": "l"}
)
T0 = 1_700_000_040.0  # a full minute
STARTED, ANSWERED = T0 + 65, T0 + 100


class Balancer:
    """CloudWatch with the host counts of one load balancer, each published at some time for some minute."""

    def __init__(self, *published: tuple[float, float]) -> None:
        self._published, self.now = published, ANSWERED + 0.1

    def client(self, name: str) -> Balancer:
        return self

    def get_paginator(self, name: str) -> Balancer:
        return self

    def paginate(self, **asked: Any) -> list[dict[str, Any]]:
        assert asked["MetricDataQueries"][0]["MetricStat"]["Period"] == 60
        counts = Counter(minute for at, minute in self._published if at <= self.now)
        times = [dt.datetime.fromtimestamp(minute, dt.UTC) for minute in sorted(counts)]
        return [{"MetricDataResults": [{"Timestamps": times, "Values": [counts[t.timestamp()] for t in times]}]}]

    def settled_after(self) -> tuple[bool, float]:
        """Whether the last publish was seen, and how long that took."""
        meters = Meters(session=self, now=lambda: self.now, sleep=self._sleep)
        before = meters.edge_publishes(DEPLOYMENT, STARTED)
        started = self.now
        return meters.settle_edge(DEPLOYMENT, ANSWERED, before, STARTED), self.now - started

    def _sleep(self, wait_s: float) -> None:
        self.now += wait_s


def test_a_publish_every_ten_seconds_ends_the_wait_with_the_next_one():
    every = [(T0 + s, T0 + (s - 10) // 60 * 60) for s in range(70, 400, 10)]
    settled, took_s = Balancer(*every).settled_after()
    assert settled and 9 <= took_s <= 11


def test_a_publish_of_an_earlier_minute_does_not_end_the_wait():
    """AWS publishes a minute at its end or later; the minute of the last answer is the second one here."""
    settled, took_s = Balancer((T0 + 110, T0), (T0 + 190, T0 + 60)).settled_after()
    assert settled and 89 <= took_s <= 91


@pytest.mark.parametrize("published", [(), ((T0 + 70, T0), (T0 + 90, T0 + 60))])
def test_a_balancer_that_publishes_nothing_more_is_waited_for_only_so_long(published):
    settled, took_s = Balancer(*published).settled_after()
    assert not settled and EDGE_VISIBLE_S_MAX <= took_s <= EDGE_VISIBLE_S_MAX + 2
