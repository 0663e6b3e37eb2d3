"""Put the EventBridge event `CloudWatch Alarm State Change`."""

import json
from datetime import UTC, datetime
from typing import Any

from ministack.services import eventbridge

DETAIL_TYPE = "CloudWatch Alarm State Change"


def put_state_change(alarm: dict[str, Any], *, old_state: str, new_state: str, reason: str) -> None:
    """Put the event on the default bus of the caller's account and Region."""
    state = {"value": new_state, "reason": reason, "timestamp": _now()}
    if alarm.get("StateReasonData"):
        state["reasonData"] = alarm["StateReasonData"]
    detail = {
        "alarmName": alarm["AlarmName"],
        "configuration": _configuration(alarm),
        "previousState": {"value": old_state},
        "state": state,
    }
    entry = {
        "Source": "aws.cloudwatch",
        "DetailType": DETAIL_TYPE,
        "Detail": json.dumps(detail),
        "Resources": [alarm["AlarmArn"]],
    }
    eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)


def _configuration(alarm: dict[str, Any]) -> dict[str, Any]:
    configuration: dict[str, Any] = {"description": alarm.get("AlarmDescription", "")}
    if alarm.get("AlarmRule"):
        return {**configuration, "alarmRule": alarm["AlarmRule"]}
    if alarm.get("Metrics"):
        metrics = [_metric(query) for query in alarm["Metrics"]]
    else:
        dimensions = {each["Name"]: each["Value"] for each in alarm.get("Dimensions") or ()}
        metric = {"namespace": alarm.get("Namespace"), "name": alarm.get("MetricName"), "dimensions": dimensions}
        stat = alarm.get("ExtendedStatistic") or alarm.get("Statistic")
        metrics = [
            {
                "id": "m1",
                "metricStat": {"metric": metric, "period": alarm.get("Period"), "stat": stat},
                "returnData": True,
            }
        ]
    return {**configuration, "metrics": metrics}


def _metric(query: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": query.get("Id"), "returnData": query.get("ReturnData", True)}
    if query.get("Expression"):
        return {**shown, "expression": query["Expression"], "label": query.get("Label", "")}
    stat = query.get("MetricStat") or {}
    metric = stat.get("Metric") or {}
    dimensions = {each["Name"]: each["Value"] for each in metric.get("Dimensions") or ()}
    named = {"namespace": metric.get("Namespace"), "name": metric.get("MetricName"), "dimensions": dimensions}
    return {**shown, "metricStat": {"metric": named, "period": stat.get("Period"), "stat": stat.get("Stat")}}


def _now() -> str:
    return datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"
