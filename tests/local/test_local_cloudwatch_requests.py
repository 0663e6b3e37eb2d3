"""What CloudWatch accepts beyond botocore's model, and pages of datapoints."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from kit.local.cloudwatch import datapoints
from kit.local.cloudwatch.request_rules import (
    Refused,
    check_actions,
    check_dashboard,
    check_metric_data,
    check_statistics,
)
from kit.local.cloudwatch.series import UnsupportedQuery

NOW = 1_800_000_000.0
SETS = {"SampleCount": 1, "Sum": 2, "Minimum": 2, "Maximum": 2}
VALUE, COMBINATION, MISSING = "InvalidParameterValue", "InvalidParameterCombination", "MissingRequiredParameter"


@pytest.mark.parametrize(
    ("datum", "at", "code"),
    [
        ({"Value": 1.0}, None, None),
        ({"Value": 0}, NOW, None),
        ({"Values": [1, 2], "Counts": [1, 1]}, NOW - 13 * 86_400, None),
        ({"Values": [1, 2]}, None, None),
        ({"StatisticValues": SETS}, None, None),
        ({}, None, MISSING),
        ({"Values": []}, None, MISSING),
        ({"Value": 1, "Values": [1]}, None, COMBINATION),
        ({"Value": 1, "StatisticValues": SETS}, None, COMBINATION),
        ({"Values": [1, 2], "Counts": [1]}, None, VALUE),
        ({"Value": 1, "Counts": [1]}, None, VALUE),
        ({"Values": [1] * 151}, None, VALUE),
        ({"Value": "NaN"}, None, VALUE),
        ({"Value": float("nan")}, None, VALUE),
        ({"Values": [1, float("inf")]}, None, VALUE),
        ({"Value": -(2.0**361)}, None, VALUE),
        ({"StatisticValues": {**SETS, "Sum": float("inf")}}, None, VALUE),
        ({"StatisticValues": {**SETS, "Minimum": 3}}, None, VALUE),
        ({"Value": 1}, NOW - 31 * 86_400, VALUE),
        ({"Value": 1}, NOW + 3 * 3_600, VALUE),
    ],
)
def test_metric_data_is_checked(datum: dict[str, Any], at: float | None, code: str | None) -> None:
    request = {"Namespace": "N", "MetricData": [{"MetricName": "m", **datum}]}
    if code is None:
        check_metric_data(request, [at], NOW)
        return
    with pytest.raises(Refused) as caught:
        check_metric_data(request, [at], NOW)
    assert caught.value.code == code
    assert "MetricData.member.1" in str(caught.value)


def test_nobody_publishes_in_a_namespace_of_aws() -> None:
    with pytest.raises(Refused, match="AWS/SQS for parameter Namespace is invalid"):
        check_metric_data({"Namespace": "AWS/SQS", "MetricData": []}, [], NOW)


@pytest.mark.parametrize(
    ("period_s", "span_s", "statistics", "code"),
    [
        (60, 3600, ["Sum"], None),
        (60, 1440 * 60, ["p99"], None),
        (60, 1441 * 60, ["Sum"], COMBINATION),
        (90, 3600, ["Sum"], VALUE),
        (60, 0, ["Sum"], VALUE),
        (60, -60, ["Sum"], VALUE),
        (60, 3600, ["Median"], VALUE),
        (60, 3600, [], MISSING),
    ],
)
def test_statistics_requests_are_checked(period_s: int, span_s: float, statistics: list[str], code: str | None) -> None:
    request = {"Period": period_s, "ExtendedStatistics": statistics}
    if code is None:
        check_statistics(request, NOW, NOW + span_s)
        return
    with pytest.raises(Refused) as caught:
        check_statistics(request, NOW, NOW + span_s)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("not-an-arn", "Invalid arn syntax: not-an-arn"),
        ("arn:aws:automate:us-east-1:ec2:stop", "is not served here, only SNS topics are"),
        ("arn:aws:lambda:us-east-1:000000000000:function:f", "is not served here, only SNS topics are"),
    ],
)
def test_actions_that_nothing_performs_are_refused(action: str, message: str) -> None:
    check_actions({"AlarmActions": ["arn:aws:sns:us-east-1:000000000000:t"], "OKActions": []})
    with pytest.raises(Refused, match=message):
        check_actions({"InsufficientDataActions": [action]})


@pytest.mark.parametrize("body", ["", "nonsense", "[]", '{"widgets": 1}', '{"widgets": [1]}', '{"widgets": [{}]}'])
def test_a_dashboard_is_an_object_with_widgets(body: str) -> None:
    check_dashboard('{"widgets": [{"type": "metric", "properties": {}}]}')
    check_dashboard("{}")
    with pytest.raises(Refused) as caught:
        check_dashboard(body)
    assert caught.value.code == "InvalidParameterInput"


def result(name: str, count: int) -> dict[str, Any]:
    """Return a result of GetMetricData with the values 0 to `count` - 1."""
    return {"Id": name, "Timestamps": list(range(count)), "Values": list(range(count)), "StatusCode": "Complete"}


def test_datapoints_are_cut_into_pages_and_a_token_leads_to_the_rest() -> None:
    results = [result("a", 3), result("b", 0), result("c", 4)]
    seen: list[tuple[str, int]] = []
    statuses: list[list[str]] = []
    token: str | None = None
    while True:
        page, token = datapoints.page(results, 2, token)
        assert sum(len(each["Values"]) for each in page) <= 2
        assert all(each["Timestamps"] == each["Values"] for each in page)
        seen += [(each["Id"], value) for each in page for value in each["Values"]]
        statuses.append([each["StatusCode"] for each in page])
        if token is None:
            break
    assert seen == [(each["Id"], value) for each in results for value in each["Values"]]
    assert statuses == [["PartialData", "Complete"], ["Complete", "PartialData"], ["PartialData"], ["Complete"]]


def test_a_series_without_values_is_shown_once() -> None:
    assert datapoints.page([result("a", 0)], None, None) == ([result("a", 0)], None)


def test_a_token_that_was_never_given_is_refused() -> None:
    with pytest.raises(UnsupportedQuery, match="'made-up' is not a token"):
        datapoints.page([], 1, "made-up")


def test_refusals_reach_the_client(cloud) -> None:
    """Each rule is asked by its operation."""
    cloudwatch = cloud.client("cloudwatch")
    month_ago = datetime.now(UTC) - timedelta(days=30)
    alarm = {
        "AlarmName": "requests", "Namespace": "N", "MetricName": "m", "Statistic": "Sum", "Period": 60,
        "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold",
    }  # fmt: skip
    topic = f"arn:aws:sns:{cloud.region}:000000000000:t"
    dimensions = [{"Name": f"d{number}", "Value": "v"} for number in range(31)]
    for operation, request, message in (
        ("put_metric_data", {"Namespace": "AWS/X", "MetricData": [{"MetricName": "m", "Value": 1}]}, "Namespace"),
        ("put_metric_data", {"Namespace": "N", "MetricData": [{"MetricName": "m", "Value": float("nan")}]}, "nan"),
        (
            "put_metric_data",
            {"Namespace": "N", "MetricData": [{"MetricName": "m", "Value": 1, "Timestamp": month_ago}]},
            "Timestamp",
        ),
        (
            "put_metric_data",
            {"Namespace": "N", "MetricData": [{"MetricName": "m", "Value": 1, "Dimensions": dimensions}]},
            "metricData.1.member.dimensions"[11:],
        ),
        ("put_metric_alarm", {**alarm, "AlarmActions": [topic] * 6}, "AlarmActions"),
        ("put_metric_alarm", {**alarm, "AlarmActions": ["x"]}, "Invalid arn syntax"),
        ("put_metric_alarm", {**alarm, "Unit": "FOO"}, "enum value set"),
        ("put_metric_alarm", {**alarm, "EvaluateLowSampleCountPercentile": "xyz"}, "is not served here"),
        (
            "put_composite_alarm",
            {
                "AlarmName": "c", "AlarmRule": "FALSE", "ActionsSuppressor": "nobody",
                "ActionsSuppressorWaitPeriod": 1, "ActionsSuppressorExtensionPeriod": 1,
            },
            "nobody is not an existing alarm",
        ),
        (
            "put_composite_alarm",
            {"AlarmName": "c", "AlarmRule": "FALSE", "ActionsSuppressor": "requests"},
            "ActionsSuppressorWaitPeriod must be given together",
        ),
        ("put_dashboard", {"DashboardName": "d", "DashboardBody": "nonsense"}, "valid JSON"),
        (
            "get_metric_statistics",
            {
                "Namespace": "N", "MetricName": "m", "Period": 60, "Statistics": ["Sum"],
                "StartTime": NOW, "EndTime": NOW - 60,
            },
            "StartTime must be less",
        ),
    ):  # fmt: skip
        with pytest.raises(ClientError) as caught:
            getattr(cloudwatch, operation)(**request)
        assert message.lower() in str(caught.value).lower()


def test_get_metric_data_pages_by_max_datapoints(cloud) -> None:
    cloudwatch = cloud.client("cloudwatch")
    start = int(time.time()) // 60 * 60 - 600
    for minute in range(5):
        at = datetime.fromtimestamp(start + 60 * minute, UTC)
        cloudwatch.put_metric_data(
            Namespace="Paged", MetricData=[{"MetricName": "m", "Value": minute, "Timestamp": at}]
        )
    query = {
        "Id": "m",
        "MetricStat": {"Metric": {"Namespace": "Paged", "MetricName": "m"}, "Period": 60, "Stat": "Sum"},
    }
    pages = list(
        cloudwatch.get_paginator("get_metric_data").paginate(
            MetricDataQueries=[query],
            StartTime=start,
            EndTime=start + 300,
            MaxDatapoints=2,
            ScanBy="TimestampAscending",
        )
    )
    values = [[value for each in page["MetricDataResults"] for value in each["Values"]] for page in pages]
    assert values == [[0.0, 1.0], [2.0, 3.0], [4.0]]


def test_statistics_are_those_of_the_metric_with_exactly_these_dimensions_and_units(cloud) -> None:
    cloudwatch = cloud.client("cloudwatch")
    at = datetime.fromtimestamp(int(time.time()) // 60 * 60 - 300, UTC)
    zone = [{"Name": "Az", "Value": "a"}]
    for value, unit, dimensions in ((1, "Seconds", []), (5, "Count", []), (100, "Count", zone)):
        datum = {"MetricName": "m", "Value": value, "Unit": unit, "Dimensions": dimensions, "Timestamp": at}
        cloudwatch.put_metric_data(Namespace="Exact", MetricData=[datum])

    def ask(**more: Any) -> list[tuple[str, float]]:
        answer = cloudwatch.get_metric_statistics(
            Namespace="Exact", MetricName="m", StartTime=at, EndTime=at + timedelta(minutes=5), Period=60,
            Statistics=["Sum"], **more,
        )  # fmt: skip
        return [(each["Unit"], each["Sum"]) for each in answer["Datapoints"]]

    assert ask() == [("Count", 5.0), ("Seconds", 1.0)]
    assert ask(Unit="Seconds") == [("Seconds", 1.0)]
    assert ask(Dimensions=zone) == [("Count", 100.0)]
