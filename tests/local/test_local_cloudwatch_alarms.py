"""CloudWatch alarms of the local AWS, through boto3."""

from __future__ import annotations

import json
import time
import uuid
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.polling import wait_for_value

PERIOD_S = 10
# Alarms are evaluated every second; a busy machine may take a few.
REACTION_S_MAX = 6.0
wait_for_reaction = partial(wait_for_value, timeout_s=REACTION_S_MAX)


class Metrics:
    """A metric namespace for one test, and alarms on it."""

    def __init__(self, cloud: Any) -> None:
        self.cloudwatch = cloud.client("cloudwatch")
        self.namespace = f"Test/{uuid.uuid4().hex[:8]}"
        # Fixed, so that a test that crosses a period boundary does not spread its data over two periods.
        self.period_end = int(time.time()) // PERIOD_S * PERIOD_S

    def put(self, name: str = "M", periods_ago: int = 1, dims: dict[str, str] | None = None, **datum: Any) -> None:
        """Put one datum into the closed period that ended `periods_ago - 1` periods ago."""
        at = self.period_end - periods_ago * PERIOD_S + PERIOD_S / 2
        dimensions = [{"Name": key, "Value": value} for key, value in (dims or {}).items()]
        item = {"MetricName": name, "Timestamp": at, "Dimensions": dimensions, "StorageResolution": 1, **datum}
        self.cloudwatch.put_metric_data(Namespace=self.namespace, MetricData=[item])

    def alarm(self, **settings: Any) -> str:
        """Create an alarm `Maximum > 5` over one 10 s period, changed by `settings`. Return its name."""
        name = f"alarm-{uuid.uuid4().hex[:8]}"
        base = {
            "Namespace": self.namespace, "MetricName": "M", "Statistic": "Maximum", "Period": PERIOD_S,
            "EvaluationPeriods": 1, "Threshold": 5.0, "ComparisonOperator": "GreaterThanThreshold",
        }  # fmt: skip
        if "Metrics" in settings:
            for key in ("Namespace", "MetricName", "Statistic", "Period"):
                del base[key]
        if "ExtendedStatistic" in settings:
            del base["Statistic"]
        self.cloudwatch.put_metric_alarm(AlarmName=name, **{**base, **settings})
        return name

    def describe(self, name: str) -> dict[str, Any]:
        found = self.cloudwatch.describe_alarms(AlarmNames=[name], AlarmTypes=["MetricAlarm", "CompositeAlarm"])
        return (found["MetricAlarms"] + found["CompositeAlarms"])[0]

    def state(self, name: str) -> str:
        return self.describe(name)["StateValue"]

    def stat(self, query_id: str, name: str, stat: str = "Sum", dims: dict[str, str] | None = None) -> dict:
        dimensions = [{"Name": key, "Value": value} for key, value in (dims or {}).items()]
        metric = {"Namespace": self.namespace, "MetricName": name, "Dimensions": dimensions}
        measure = {"Metric": metric, "Period": PERIOD_S, "Stat": stat}
        return {"Id": query_id, "MetricStat": measure, "ReturnData": False}

    def data(self, *queries: dict, **more: Any) -> list[dict[str, Any]]:
        now = time.time()
        return self.cloudwatch.get_metric_data(
            MetricDataQueries=list(queries), StartTime=now - 120, EndTime=now + 10, **more
        )["MetricDataResults"]


@pytest.fixture
def metrics(cloud: Any) -> Metrics:
    return Metrics(cloud)


def test_a_breach_changes_the_state_with_a_reason(metrics: Metrics) -> None:
    """High-resolution data in a closed 10 s period is evaluated within a second, without another put."""
    name = metrics.alarm()
    metrics.put(Value=9.0)
    wait_for_reaction(lambda: metrics.state(name), "ALARM")
    alarm = metrics.describe(name)
    assert "1 out of the last 1 datapoint [9.0 (" in alarm["StateReason"]
    assert "was greater than the threshold (5.0)" in alarm["StateReason"]
    history = metrics.cloudwatch.describe_alarm_history(AlarmName=name)["AlarmHistoryItems"]
    assert any("to ALARM" in item["HistorySummary"] for item in history)


def test_dimensions_must_match_exactly(metrics: Metrics) -> None:
    """The breach of another zone's metric does not change this zone's alarm."""
    own = metrics.alarm(Dimensions=[{"Name": "Az", "Value": "a"}])
    bare = metrics.alarm()
    metrics.put(Value=9.0, dims={"Az": "b"})
    metrics.put(Value=1.0, dims={"Az": "a"})
    wait_for_reaction(lambda: metrics.state(own), "OK")
    assert metrics.state(bare) == "INSUFFICIENT_DATA"


def test_m_of_n_waits_for_m_breaches(metrics: Metrics) -> None:
    """Two of three: one breach is OK, a second one alarms."""
    name = metrics.alarm(EvaluationPeriods=3, DatapointsToAlarm=2)
    for periods_ago, value in ((3, 9.0), (2, 1.0)):
        metrics.put(Value=value, periods_ago=periods_ago)
    wait_for_reaction(lambda: metrics.state(name), "OK")
    metrics.put(Value=9.0)
    wait_for_reaction(lambda: metrics.state(name), "ALARM")


def test_missing_data_is_treated_as_the_alarm_defines(metrics: Metrics) -> None:
    """Without any data the four treatments give different states."""
    treatments = ("missing", "breaching", "notBreaching", "ignore")
    names = {treat: metrics.alarm(TreatMissingData=treat) for treat in treatments}
    wait_for_reaction(lambda: metrics.state(names["breaching"]), "ALARM")
    assert "no datapoints were received" in metrics.describe(names["breaching"])["StateReason"]
    assert metrics.state(names["notBreaching"]) == "OK"
    assert metrics.state(names["missing"]) == "INSUFFICIENT_DATA"
    assert metrics.state(names["ignore"]) == "INSUFFICIENT_DATA"


def test_a_percentile_uses_values_and_counts(metrics: Metrics) -> None:
    """p95 of 96 × 1 and 4 × 100 is 1; of 90 × 1 and 10 × 100 it is 100."""
    name = metrics.alarm(ExtendedStatistic="p95", Threshold=50.0)
    metrics.put(Values=[1.0, 100.0], Counts=[96.0, 4.0], periods_ago=2)
    metrics.put(Values=[1.0], Counts=[1.0])
    wait_for_reaction(lambda: metrics.state(name), "OK")
    metrics.put(Values=[1.0, 100.0], Counts=[90.0, 20.0])
    wait_for_reaction(lambda: metrics.state(name), "ALARM")


@pytest.mark.parametrize(("stat", "percent"), [("PR(20:)", 10.0), ("PR(:20)", 90.0), ("PR(5:100)", 40.0)])
def test_a_percentile_rank_is_the_percentage_in_its_range(metrics: Metrics, stat: str, percent: float) -> None:
    """Of 60 × 1, 30 × 20 and 10 × 100. The lower bound is exclusive, the upper one inclusive."""
    metrics.put(Values=[1.0, 20.0, 100.0], Counts=[60.0, 30.0, 10.0])
    answer = metrics.cloudwatch.get_metric_data(
        MetricDataQueries=[{**metrics.stat("rank", "M", stat), "ReturnData": True}],
        StartTime=metrics.period_end - PERIOD_S,
        EndTime=metrics.period_end,
    )
    assert answer["MetricDataResults"][0]["Values"] == [pytest.approx(percent)]


def test_metric_math_drives_an_alarm(metrics: Metrics) -> None:
    """A 5xx rate from two metrics, zero where there were no requests."""
    math = [
        metrics.stat("m5", "Http5xx"),
        metrics.stat("mr", "Requests"),
        {"Id": "rate", "Expression": "IF(mr > 0, 100 * FILL(m5, 0) / mr, 0)", "ReturnData": True},
    ]
    name = metrics.alarm(Metrics=math)
    metrics.put("Requests", Value=100.0)
    wait_for_reaction(lambda: metrics.state(name), "OK")
    metrics.put("Http5xx", Value=6.0)
    wait_for_reaction(lambda: metrics.state(name), "ALARM")
    alarm = metrics.describe(name)
    assert [query["Id"] for query in alarm["Metrics"]] == ["m5", "mr", "rate"]
    assert "MetricName" not in alarm


def test_get_metric_data_evaluates_the_same_math(metrics: Metrics) -> None:
    """Expressions, hidden inputs, exact dimensions, and AWS's newest-first order."""
    for periods_ago, value in ((3, 10.0), (2, 20.0)):
        metrics.put("A", Value=value, periods_ago=periods_ago)
        metrics.put("A", Value=1000.0, periods_ago=periods_ago, dims={"Az": "a"})
        metrics.put("B", Value=2.0, periods_ago=periods_ago)
    queries = (metrics.stat("a", "A"), metrics.stat("b", "B"), {"Id": "e", "Expression": "a / b", "Label": "ratio"})
    (result,) = metrics.data(*queries)
    assert (result["Id"], result["Label"], result["StatusCode"]) == ("e", "ratio", "Complete")
    assert result["Values"] == [10.0, 5.0]
    (rising,) = metrics.data(*queries, ScanBy="TimestampAscending")
    assert rising["Values"] == [5.0, 10.0]
    assert rising["Timestamps"] == sorted(result["Timestamps"])


def test_unsupported_alarms_and_queries_are_refused(metrics: Metrics) -> None:
    """Unknown functions, statistics, comparisons and M > N are ValidationErrors that name the wrong value."""
    with pytest.raises(ClientError, match="RATE") as refused:
        metrics.data(metrics.stat("a", "A"), {"Id": "e", "Expression": "RATE(a)"})
    assert refused.value.response["Error"]["Code"] == "ValidationError"
    bad: list[tuple[str, dict[str, Any]]] = [
        ("tm99", {"ExtendedStatistic": "tm99"}),
        ("LessThanLowerThreshold", {"ComparisonOperator": "LessThanLowerThreshold"}),
        ("DatapointsToAlarm 3", {"DatapointsToAlarm": 3, "EvaluationPeriods": 2}),
        ("period 7", {"Period": 7}),
    ]
    for word, settings in bad:
        with pytest.raises(ClientError, match=word):
            metrics.alarm(**settings)


def test_set_alarm_state_lasts_until_the_next_evaluation(metrics: Metrics) -> None:
    """The state is kept for longer than a second."""
    name = metrics.alarm()
    metrics.put(Value=1.0)
    wait_for_reaction(lambda: metrics.state(name), "OK")
    metrics.cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="drill")
    time.sleep(1.3)  # longer than an evaluation interval
    assert metrics.state(name) == "ALARM"
    with pytest.raises(ClientError, match="PANIC"):
        metrics.cloudwatch.set_alarm_state(AlarmName=name, StateValue="PANIC", StateReason="x")


def test_a_change_of_state_reaches_composite_alarms_sns_and_eventbridge(cloud: Any, metrics: Metrics) -> None:
    """After one breach the composite alarm follows, and SNS and EventBridge deliver the change."""
    sns, sqs, events = (cloud.client(each) for each in ("sns", "sqs", "events"))
    queue_url = sqs.create_queue(QueueName=f"q-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = sns.create_topic(Name=f"t-{uuid.uuid4().hex[:8]}")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
    child = metrics.alarm(AlarmActions=[topic])
    parent = f"{child}-parent"
    rule = f"rule-{child}"
    pattern = {"source": ["aws.cloudwatch"], "detail": {"alarmName": [child, parent]}}
    events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=rule, Targets=[{"Id": "q", "Arn": queue}])
    metrics.cloudwatch.put_composite_alarm(AlarmName=parent, AlarmRule=f'ALARM("{child}")')
    metrics.put(Value=9.0)
    wait_for_reaction(lambda: metrics.state(parent), "ALARM")
    seen: list[dict[str, Any]] = []

    def received() -> set[str]:
        got = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages", [])
        seen.extend(json.loads(message["Body"]) for message in got)
        names = set()
        for body in seen:
            if body.get("Type") == "Notification":
                names.add("sns:" + json.loads(body["Message"])["NewStateValue"])
            elif body["detail"]["state"]["value"] == "ALARM":
                names.add("event:" + body["detail"]["alarmName"])
        return names

    wait_for_reaction(received, {"sns:ALARM", f"event:{child}", f"event:{parent}"})


def test_cloudformation_makes_math_and_composite_alarms(cloud: Any, metrics: Metrics) -> None:
    """Both kinds are created by a template, evaluated, and deleted with the stack."""
    stack = f"alarms-{uuid.uuid4().hex[:8]}"
    metric = {"Namespace": metrics.namespace, "MetricName": "A"}
    child = {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "ComparisonOperator": "GreaterThanThreshold", "Threshold": 1, "EvaluationPeriods": "1",
            "Metrics": [
                {"Id": "a", "ReturnData": "false", "MetricStat": {"Metric": metric, "Period": "10", "Stat": "Sum"}},
                {"Id": "e", "Expression": "a * 2"},
            ],
        },
    }  # fmt: skip
    parent = {
        "Type": "AWS::CloudWatch::CompositeAlarm",
        "Properties": {"AlarmRule": {"Fn::Sub": "ALARM(${Child})"}, "AlarmName": f"{stack}-parent"},
    }
    percentile = {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "AlarmName": f"{stack}-p95", **metric, "ExtendedStatistic": "p95", "Period": 10, "EvaluationPeriods": 1,
            "ComparisonOperator": "GreaterThanThreshold", "Threshold": 1,
        },
    }  # fmt: skip
    template = {
        "Resources": {"Child": child, "Parent": parent, "Percentile": percentile},
        "Outputs": {"ParentArn": {"Value": {"Fn::GetAtt": ["Parent", "Arn"]}}},
    }
    cloudformation = cloud.client("cloudformation")
    cloudformation.create_stack(StackName=stack, TemplateBody=json.dumps(template))
    wait_for_reaction(
        lambda: cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"], "CREATE_COMPLETE"
    )
    (made,) = metrics.cloudwatch.describe_alarms(AlarmNames=[f"{stack}-p95"])["MetricAlarms"]
    assert (made["ExtendedStatistic"], made.get("Statistic")) == ("p95", None)
    metrics.put("A", Value=3.0)
    wait_for_reaction(lambda: metrics.state(f"{stack}-parent"), "ALARM")
    cloudformation.delete_stack(StackName=stack)
    wait_for_reaction(
        lambda: metrics.cloudwatch.describe_alarms(AlarmNamePrefix=stack, AlarmTypes=["MetricAlarm", "CompositeAlarm"])[
            "CompositeAlarms"
        ],
        [],
    )
