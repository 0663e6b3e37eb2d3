"""What the platform shows of a stack that is up."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

from kit import aws, collect
from kit.model import Deployment
from tests.polling import wait_until

SAMPLES_S_MAX = 20.0


def test_the_task_table_counts_by_service_and_zone(local_session: aws.Session, deployment: Deployment):
    table = collect.task_table(local_session, deployment)
    zones = ("us-east-1a", "us-east-1b")
    assert table.to_numpy().tolist() == [
        [service, zone, count] for service, count in (("api", 1), ("matcher", 1), ("relay", 1)) for zone in zones
    ]


def test_a_watch_samples_tasks_and_targets_until_it_is_stopped(local_session: aws.Session, deployment: Deployment):
    watch = collect.TaskWatch.start(local_session, deployment)
    wait_until(lambda: len(set(watch.tasks()["t"])) >= 3, "three samples", SAMPLES_S_MAX)
    watch.stop()
    seen = len(set(watch.tasks()["t"]))
    time.sleep(1.2)
    assert len(set(watch.tasks()["t"])) == seen >= 3
    assert set(watch.tasks().columns) == {"t", "zone", "service", "running", "unhealthy"}
    targets = watch.targets()
    assert set(targets["subnet"]) == {deployment.outputs["AppSubnetA"], deployment.outputs["AppSubnetB"]}
    assert any(row["state"] == "healthy" and row["count"] > 0 for row in targets.to_dict("records"))


def test_a_watch_records_what_it_could_not_see(local_session: aws.Session, deployment: Deployment):
    watch = collect.TaskWatch.start(local_session, deployment)
    watch.deployment = Deployment(
        stack_name="x", run_id="x", api_url="", outputs={**deployment.outputs, "ClusterName": "no-such-cluster"}
    )
    wait_until(watch.gaps, "a gap", SAMPLES_S_MAX)
    watch.stop()
    assert "ClusterNotFoundException" in watch.gaps()[0].reason


def test_every_series_is_a_table_of_times_and_values(local_session: aws.Session, deployment: Deployment):
    now = time.time()
    tables = collect.series(local_session, deployment, now - 60, now)
    own = {*collect.EDGE_SERIES, *collect.TABLE_SERIES, *collect.QUEUE_SERIES, collect.CONFLICTS}
    assert set(tables) == {*collect.BROKER_SERIES, *own}
    assert all(list(table.columns) == ["t", "value"] for table in tables.values())
    unsettled = collect.series(local_session, deployment, now - 60, now, is_edge_settled=False)
    assert set(unsettled) == set(collect.BROKER_SERIES)


class Throttled:
    """A CloudWatch with two throttled operations of one table, which nobody can publish but DynamoDB."""

    def client(self, name: str) -> Throttled:
        return self

    def get_paginator(self, name: str) -> Throttled:
        return self

    def paginate(self, *, MetricDataQueries: list[dict[str, Any]], **_: Any) -> list[dict[str, Any]]:
        at = dt.datetime.fromtimestamp(1_700_000_040, dt.UTC)
        counted = {("outbox", "GetItem"): 2.0, ("outbox", "TransactWriteItems"): 3.0}
        results = []
        for query in MetricDataQueries:
            by = {one["Name"]: one["Value"] for one in query["MetricStat"]["Metric"]["Dimensions"]}
            value = counted.get((by.get("TableName", ""), by.get("Operation", "")))
            points = {"Timestamps": [at], "Values": [value]} if value else {"Timestamps": [], "Values": []}
            results.append({"Id": query["Id"], **points})
        return [{"MetricDataResults": results}]


def test_the_requests_that_a_table_throttled_are_added_up_over_its_operations():
    tables = {
        f"{name}Table": name.lower() for name in ("Orders", "Outbox", "Ledger", "Markets", "Positions", "Applied")
    }
    others = dict.fromkeys(("MetricsEnv", "LoadBalancerFullName", "TargetGroupFullName", "QueueUrl"), "x")
    stack = Deployment(stack_name="s", run_id="r", api_url="", outputs={**tables, **others})
    series = collect.series(Throttled(), stack, 1_700_000_000, 1_700_000_100)
    assert series["throttled_requests@outbox"]["value"].sum() == 5.0
    assert not len(series["throttled_requests@orders"])


def test_requests_are_read_by_zone_as_well(local_session: aws.Session, deployment: Deployment):
    """The zones are not those of the deployment, whose tasks publish what they count themselves."""
    now = time.time()
    by = [{"Name": "Env", "Value": deployment.outputs["MetricsEnv"]}, {"Name": "Component", "Value": "api"}]
    data = [
        {"MetricName": "Requests", "Value": 3.0, "Timestamp": now, "StorageResolution": 1, "Dimensions": dimensions}
        for dimensions in (by, [*by, {"Name": "Az", "Value": "moon-1a"}])
    ]
    local_session.client("cloudwatch").put_metric_data(Namespace="PaperBroker", MetricData=data)
    tables = collect.series(local_session, deployment, now - 60, now, zones=("moon-1b", "moon-1a"))
    assert {name for name in tables if "@moon" in name} == {
        f"{name}@{zone}" for name in ("requests", "http_5xx") for zone in ("moon-1a", "moon-1b")
    }
    assert tables["requests@moon-1a"]["value"].sum() == 3.0
    assert tables["requests@moon-1b"]["value"].sum() == 0.0


def test_the_apis_throttled_calls_are_read_as_it_publishes_them(local_session: aws.Session, deployment: Deployment):
    now = time.time()
    by = [{"Name": "Env", "Value": deployment.outputs["MetricsEnv"]}, {"Name": "Component", "Value": "api"}]
    datum = {"MetricName": "StoreThrottled", "Value": 7.0, "Timestamp": now, "StorageResolution": 1, "Dimensions": by}
    local_session.client("cloudwatch").put_metric_data(Namespace="PaperBroker", MetricData=[datum])
    points = collect.series(local_session, deployment, now - 60, now)["store_throttled"]
    assert points["value"].sum() == 7.0
    assert now - 10 <= points.loc[points["value"] == 7.0, "t"].item() <= now


def test_an_alarms_history_begins_with_the_state_at_the_start(local_session: aws.Session, deployment: Deployment):
    cloudwatch = local_session.client("cloudwatch")
    start = time.time() - 2  # the local AWS stamps its history in whole seconds
    cloudwatch.put_metric_alarm(
        AlarmName="history", Namespace="N", MetricName="M", Period=3600, EvaluationPeriods=1, Threshold=1,
        ComparisonOperator="GreaterThanThreshold", Statistic="Sum", TreatMissingData="ignore",
    )  # fmt: skip
    for state in ("OK", "ALARM"):
        cloudwatch.set_alarm_state(AlarmName="history", StateValue=state, StateReason="test")
    history = collect.alarm_history(local_session, ["history"], start, time.time() + 1)["history"]
    assert history[0] == (start, "INSUFFICIENT_DATA")
    # The evaluator has its own say between the two.
    assert [state for _, state in history if state != "INSUFFICIENT_DATA"][:2] == ["OK", "ALARM"]


def test_the_guardrails_are_the_stacks_alarms(local_session: aws.Session, deployment: Deployment):
    names = list(collect.guardrails(deployment))
    found = local_session.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
    assert len(names) == len(found) == 3
