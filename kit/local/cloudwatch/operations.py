"""Serve the CloudWatch operations that MiniStack answers wrongly, and check requests beyond the model."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ministack.services import cloudwatch

from kit.local.cloudwatch import datapoints, statistics, suppression, wire
from kit.local.cloudwatch.alarm_definitions import InvalidAlarm, as_math_alarm, check_alarm, keep_one_statistic
from kit.local.cloudwatch.alarm_state import STATES
from kit.local.cloudwatch.metric_queries import parse_queries
from kit.local.cloudwatch.request_rules import (
    Refused,
    check_actions,
    check_dashboard,
    check_metric_data,
    check_statistics,
    check_suppressor,
)
from kit.local.cloudwatch.samples import Samples
from kit.local.cloudwatch.series import UnsupportedQuery
from kit.local.cloudwatch.wire import Reply

Original = Callable[..., Reply]


class Operations:
    """The operations; each gets MiniStack's function, and what MiniStack's request handler passes to it.

    `hold` keeps the present state of an alarm until its next evaluation.
    """

    def __init__(self, samples: Samples, hold: Callable[[dict[str, Any]], None]) -> None:
        self._samples = samples
        self._hold = hold

    def put_metric_alarm(
        self, original: Original, params: dict, data: dict, is_cbor: bool, is_json: bool = False
    ) -> Reply:
        if not (is_cbor or is_json):
            return wire.refuse_query_protocol("PutMetricAlarm")
        try:
            check_actions(data)
            check_alarm(data)
        except Refused as refused:
            return wire.refusal(refused, is_cbor, is_json)
        except (InvalidAlarm, UnsupportedQuery) as error:
            return wire.validation_error(str(error), is_cbor, is_json)
        reply = original(params, data, is_cbor, is_json)
        if reply[0] == 200:
            alarm = cloudwatch._alarms[data["AlarmName"]]
            if data.get("Metrics"):
                as_math_alarm(alarm, data["Metrics"])
            else:
                keep_one_statistic(alarm)
        return reply

    def set_alarm_state(
        self, original: Original, params: dict, data: dict, is_cbor: bool, is_json: bool = False
    ) -> Reply:
        state = data.get("StateValue") or cloudwatch._p(params, "StateValue")
        if state not in STATES:
            return wire.validation_error(f"StateValue {state!r} must be one of {', '.join(STATES)}", is_cbor, is_json)
        name = data.get("AlarmName") or cloudwatch._p(params, "AlarmName")
        alarm = cloudwatch._alarms.get(name)
        if alarm is not None:
            self._hold(alarm)
        return original(params, data, is_cbor, is_json)

    def get_metric_data(
        self, _original: Original, params: dict, data: dict, is_cbor: bool, is_json: bool = False
    ) -> Reply:
        if not (is_cbor or is_json):
            return wire.refuse_query_protocol("GetMetricData")
        try:
            results = self._metric_data(data)
            page, token = datapoints.page(results, data.get("MaxDatapoints"), data.get("NextToken"))
        except UnsupportedQuery as error:
            return wire.validation_error(str(error), is_cbor, is_json)
        return wire.metric_data(page, token, is_cbor=is_cbor)

    def put_metric_data(
        self, original: Original, params: dict, data: dict, is_cbor: bool, is_json: bool = False
    ) -> Reply:
        if not (is_cbor or is_json):
            return wire.refuse_query_protocol("PutMetricData")
        times = [cloudwatch._parse_ts(datum.get("Timestamp")) for datum in data["MetricData"]]
        return _checked(lambda: check_metric_data(data, times, time.time()), original, params, data, is_cbor, is_json)

    def get_metric_statistics(
        self, _original: Original, params: dict, data: dict, is_cbor: bool, is_json: bool = False
    ) -> Reply:
        if not is_json:
            return wire.refuse_query_protocol("GetMetricStatistics")
        start, end = cloudwatch._parse_ts(data.get("StartTime")), cloudwatch._parse_ts(data.get("EndTime"))
        try:
            start_s, end_s = check_statistics(data, start, end)
        except Refused as refused:
            return wire.refusal(refused, is_cbor, is_json)
        points = statistics.datapoints(self._samples, data, start_s, end_s)
        return wire.metric_statistics(data["MetricName"], points)

    def put_composite_alarm(
        self, original: Original, params: dict, data: dict, is_cbor: bool, is_json: bool = False
    ) -> Reply:
        if not (is_cbor or is_json):
            return wire.refuse_query_protocol("PutCompositeAlarm")
        try:
            check_actions(data)
            check_suppressor(data, [*cloudwatch._alarms, *cloudwatch._composite_alarms])
        except Refused as refused:
            return wire.refusal(refused, is_cbor, is_json)
        reply = original(params, data, is_cbor, is_json)
        if reply[0] == 200:
            given = {name: data[name] for name in suppression.MEMBERS if data.get(name) is not None}
            cloudwatch._composite_alarms[data["AlarmName"]].update(given)
        return reply

    def put_dashboard(
        self, original: Original, params: dict, data: dict, is_cbor: bool, is_json: bool = False
    ) -> Reply:
        body = data.get("DashboardBody") or cloudwatch._p(params, "DashboardBody")
        return _checked(lambda: check_dashboard(body), original, params, data, is_cbor, is_json)

    def _metric_data(self, data: dict) -> list[dict[str, Any]]:
        start, end = cloudwatch._parse_ts(data.get("StartTime")), cloudwatch._parse_ts(data.get("EndTime"))
        if start is None or end is None or start >= end:
            raise UnsupportedQuery("StartTime must be before EndTime")
        queries = parse_queries(data.get("MetricDataQueries") or [])
        values = queries.evaluate(self._samples, int(start), int(-(-end // 1)))
        newest_first = data.get("ScanBy", "TimestampDescending") != "TimestampAscending"
        results = []
        for query in queries.all:
            value = values[query.id]
            if query.return_data:
                series_list = value if isinstance(value, list) else [value]
                results += [wire.metric_data_result(query.id, query.label, one, newest_first) for one in series_list]
        return results


def _checked(check: Callable[[], None], original: Original, params: dict, data: dict, *protocol: bool) -> Reply:
    try:
        check()
    except Refused as refused:
        return wire.refusal(refused, *protocol)
    return original(params, data, *protocol)
