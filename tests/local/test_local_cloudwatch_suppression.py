"""A suppressor holds back the actions of a composite alarm, and nothing else."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from kit.local.cloudwatch.suppression import BY, BY_ALARM, BY_EXTENSION, BY_WAIT, Suppression
from tests.polling import wait_for_value

WAIT_S, EXTENSION_S = 10, 20


class Rig:
    """One composite alarm with a suppressor, a clock, and the actions that were performed."""

    def __init__(self) -> None:
        self.now, self.suppressor = 1000.0, "OK"
        self.performed: list[tuple[str, str]] = []
        self.alarm: dict[str, Any] = {
            "AlarmArn": "arn", "ActionsSuppressor": "s", "ActionsSuppressorWaitPeriod": WAIT_S,
            "ActionsSuppressorExtensionPeriod": EXTENSION_S,
        }  # fmt: skip
        self.suppression = Suppression(lambda _name: self.suppressor, lambda: self.now)

    def change(self, old: str, new: str) -> None:
        def perform(_alarm: dict[str, Any], before: str, after: str, _reason: str) -> None:
            self.performed.append((before, after))

        self.suppression.act(perform, self.alarm, old, new, "why")

    def after(self, seconds: float, suppressor: str | None = None) -> str:
        """Let time pass, perhaps with another state of the suppressor; return what holds the actions back."""
        self.now += seconds
        self.suppressor = suppressor or self.suppressor
        self.suppression.update(self.alarm)
        return self.alarm.get(BY, "")


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_actions_are_performed_after_the_wait_period(rig):
    rig.change("OK", "ALARM")
    assert (rig.after(WAIT_S - 1), rig.performed) == (BY_WAIT, [])
    assert (rig.after(1), rig.performed) == ("", [("OK", "ALARM")])


def test_actions_are_suppressed_by_a_suppressor_that_comes_within_the_wait_period(rig):
    rig.change("OK", "ALARM")
    assert rig.after(WAIT_S - 1, "ALARM") == BY_ALARM
    assert (rig.after(1000), rig.performed) == (BY_ALARM, [])


def test_actions_are_performed_after_the_extension_period(rig):
    rig.suppressor = "ALARM"
    rig.change("OK", "ALARM")
    assert rig.after(5, "OK") == BY_EXTENSION
    assert (rig.after(EXTENSION_S - 1), rig.performed) == (BY_EXTENSION, [])
    assert (rig.after(1), rig.performed) == ("", [("OK", "ALARM")])


def test_an_alarm_that_is_back_in_its_state_performs_nothing(rig):
    rig.suppressor = "ALARM"
    rig.change("OK", "ALARM")
    rig.change("ALARM", "OK")
    rig.after(1, "OK")
    assert (rig.after(EXTENSION_S), rig.performed) == ("", [])


def test_a_change_within_the_extension_period_waits_for_its_end(rig):
    rig.after(0, "ALARM")
    rig.after(1, "INSUFFICIENT_DATA")
    rig.change("OK", "ALARM")
    assert (rig.after(EXTENSION_S - 1), rig.performed) == (BY_EXTENSION, [])
    assert (rig.after(1), rig.performed) == ("", [("OK", "ALARM")])


def test_actions_of_an_alarm_without_suppressor_are_performed_at_once(rig):
    del rig.alarm["ActionsSuppressor"]
    rig.change("OK", "ALARM")
    assert rig.performed == [("OK", "ALARM")]
    assert rig.after(1) == ""


def test_alarms_that_are_gone_are_forgotten(rig):
    rig.change("OK", "ALARM")
    rig.suppression.forget_others([])
    rig.after(WAIT_S)
    assert rig.performed == []


def test_an_update_of_the_alarm_keeps_what_holds_its_actions_back(rig):
    rig.change("OK", "ALARM")
    rig.alarm = {key: value for key, value in rig.alarm.items() if key.startswith("A") and key != BY}
    assert rig.after(1) == BY_WAIT


def test_a_topic_hears_nothing_of_a_suppressed_alarm_until_its_suppressor_is_ok(cloud: Any) -> None:
    """Through the API, with a queue that listens to the alarm's topic."""
    cloudwatch, sns, sqs = cloud.client("cloudwatch"), cloud.client("sns"), cloud.client("sqs")
    mark = uuid.uuid4().hex[:8]
    metric = {
        "Namespace": mark, "MetricName": "M", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1,
        "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold",
    }  # fmt: skip
    for name in ("child", "suppressor"):
        cloudwatch.put_metric_alarm(AlarmName=f"{name}-{mark}", **metric)
    topic = sns.create_topic(Name=f"t-{mark}")["TopicArn"]
    queue = sqs.create_queue(QueueName=f"q-{mark}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    cloudwatch.put_composite_alarm(
        AlarmName=f"all-{mark}", AlarmRule=f"ALARM(child-{mark})", AlarmActions=[topic],
        ActionsSuppressor=f"suppressor-{mark}", ActionsSuppressorWaitPeriod=0, ActionsSuppressorExtensionPeriod=0,
    )  # fmt: skip

    def described() -> dict[str, Any]:
        found = cloudwatch.describe_alarms(AlarmNames=[f"all-{mark}"], AlarmTypes=["CompositeAlarm"])
        return found["CompositeAlarms"][0]

    def told() -> list[str]:
        messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(json.loads(each["Body"])["Message"])["NewStateValue"] for each in messages]

    cloudwatch.set_alarm_state(AlarmName=f"suppressor-{mark}", StateValue="ALARM", StateReason="maintenance")
    cloudwatch.set_alarm_state(AlarmName=f"child-{mark}", StateValue="ALARM", StateReason="broken")
    wait_for_value(lambda: described()["StateValue"], "ALARM")
    assert described()["ActionsSuppressor"] == f"suppressor-{mark}"
    assert described()["ActionsSuppressedBy"] == BY_ALARM
    assert told() == []
    cloudwatch.set_alarm_state(AlarmName=f"suppressor-{mark}", StateValue="OK", StateReason="done")
    wait_for_value(told, ["ALARM"])
    assert "ActionsSuppressedBy" not in described()
