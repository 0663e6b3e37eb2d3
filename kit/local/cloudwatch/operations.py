"""The CloudWatch operations that MiniStack answers too loosely: PutMetricAlarm, SetAlarmState, GetMetricData.

Owns the seams in `ministack.services.cloudwatch` and their wire formats. `hook` replaces them and returns how
to give each back. Knows no alarm semantics beyond validation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ministack.services import cloudwatch

from kit.errors import KitError
from kit.local.cloudwatch.alarm_definitions import COMPARISONS, alarm_period_s
from kit.local.cloudwatch.alarm_state import STATES, TREATMENTS
from kit.local.cloudwatch.metric_queries import check_period, parse_queries
from kit.local.cloudwatch.series import Series, UnsupportedQuery, check_statistic
from kit.local.patching import Patches

if TYPE_CHECKING:
    from kit.local.cloudwatch.service import AlarmEvaluator

Reply = tuple[int, dict[str, str], bytes]

EVALUATION_SPAN_MAX_S = 86_400
METRICS_A_MATH_ALARM_MAX = 10
DATAPOINTS_DEFAULT_MAX = 100_800
# Which fields of a metric alarm mean nothing once `Metrics` is given; DescribeAlarms then omits them.
SINGLE_METRIC_FIELDS = ("MetricName", "Namespace", "Dimensions", "Period", "Unit", "Statistic", "ExtendedStatistic")


class InvalidAlarm(KitError):
    """An alarm definition that CloudWatch refuses with ValidationError."""


def install(patches: Patches, evaluator: AlarmEvaluator) -> None:
    """Replace MiniStack's functions; its request handler looks them up by name on every call."""
    api = _Api(evaluator)
    replacements: dict[str, Any] = {
        "_evaluate_all_alarms": lambda: None,
        "_evaluate_alarm": lambda alarm: None,
        "_evict_old_metrics": evaluator.samples.evict,
        "_dispatch_alarm_actions": evaluator.announce,
        "_put_metric_alarm": api.put_metric_alarm,
        "_get_metric_data": api.get_metric_data,
        "_set_alarm_state": api.set_alarm_state,
    }
    for name, value in replacements.items():
        patches.replace(cloudwatch, name, value)


def check_alarm(alarm: Mapping[str, Any]) -> None:
    """Raise unless CloudWatch would accept the alarm and the evaluator judges it rightly."""
    if not alarm.get("AlarmName"):
        raise InvalidAlarm("AlarmName is required")
    if alarm.get("ComparisonOperator") not in COMPARISONS:
        raise InvalidAlarm(
            f"ComparisonOperator {alarm.get('ComparisonOperator')!r} must be one of {', '.join(COMPARISONS)}"
            " (anomaly detection is not supported locally)"
        )
    if alarm.get("Threshold") is None:
        raise InvalidAlarm("Threshold is required")
    if (alarm.get("TreatMissingData") or "missing") not in TREATMENTS:
        raise InvalidAlarm(f"TreatMissingData {alarm['TreatMissingData']!r} must be one of {', '.join(TREATMENTS)}")
    _check_source(alarm)
    period_s, periods = alarm_period_s(alarm), int(alarm.get("EvaluationPeriods") or 0)
    if periods < 1:
        raise InvalidAlarm("EvaluationPeriods must be at least 1")
    if period_s * periods > EVALUATION_SPAN_MAX_S:
        raise InvalidAlarm(f"Period × EvaluationPeriods = {period_s * periods} s exceeds {EVALUATION_SPAN_MAX_S} s")
    to_alarm = alarm.get("DatapointsToAlarm")
    if to_alarm is not None and not 1 <= int(to_alarm) <= periods:
        raise InvalidAlarm(f"DatapointsToAlarm {to_alarm} must be within 1 and EvaluationPeriods {periods}")


def _check_source(alarm: Mapping[str, Any]) -> None:
    if alarm.get("ThresholdMetricId"):
        raise InvalidAlarm("ThresholdMetricId (anomaly detection) is not supported locally")
    if alarm.get("Metrics"):
        if alarm.get("MetricName"):
            raise InvalidAlarm("MetricName and Metrics exclude each other")
        queries = parse_queries(alarm["Metrics"])
        queries.check_for_alarm()
        metrics = sum(query.stat is not None for query in queries.all)
        if metrics > METRICS_A_MATH_ALARM_MAX:
            raise InvalidAlarm(f"{metrics} metrics exceed {METRICS_A_MATH_ALARM_MAX} a metric-math alarm")
        return
    if not alarm.get("MetricName") or not alarm.get("Namespace"):
        raise InvalidAlarm("MetricName and Namespace, or Metrics, are required")
    if alarm.get("Statistic") and alarm.get("ExtendedStatistic"):
        raise InvalidAlarm("Statistic and ExtendedStatistic exclude each other")
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic")
    if not statistic:
        raise InvalidAlarm("Statistic or ExtendedStatistic is required")
    check_statistic(str(statistic))
    period_s = check_period(int(alarm.get("Period") or 0))
    if period_s < 10:
        raise InvalidAlarm(f"Period {period_s} of an alarm must be 10, 20, 30 or a multiple of 60")


def as_math_alarm(alarm: dict[str, Any], metrics: list[dict[str, Any]]) -> None:
    """Make MiniStack's record, which has no Metrics, a metric-math alarm."""
    for name in SINGLE_METRIC_FIELDS:
        alarm.pop(name, None)
    alarm["Metrics"] = metrics


def keep_one_statistic(alarm: dict[str, Any]) -> None:
    """MiniStack's record has Average beside a percentile, which AWS has not: they exclude each other."""
    if alarm.get("ExtendedStatistic"):
        alarm["Statistic"] = None


class _Api:
    """The replaced operations; each takes what MiniStack's request handler passes."""

    def __init__(self, evaluator: AlarmEvaluator) -> None:
        self._evaluator = evaluator
        self._put_metric_alarm = cloudwatch._put_metric_alarm
        self._get_metric_data = cloudwatch._get_metric_data
        self._set_alarm_state = cloudwatch._set_alarm_state

    def put_metric_alarm(self, params: dict, data: dict, is_cbor: bool, is_json: bool = False) -> Reply:
        if not (is_cbor or is_json):
            return _refuse_query_protocol("PutMetricAlarm")
        try:
            check_alarm(data)
        except (InvalidAlarm, UnsupportedQuery) as error:
            return _error(str(error), is_cbor, is_json)
        reply = self._put_metric_alarm(params, data, is_cbor, is_json)
        if reply[0] == 200:
            alarm = cloudwatch._alarms[data["AlarmName"]]
            if data.get("Metrics"):
                as_math_alarm(alarm, data["Metrics"])
            else:
                keep_one_statistic(alarm)
        return reply

    def set_alarm_state(self, params: dict, data: dict, is_cbor: bool, is_json: bool = False) -> Reply:
        state = data.get("StateValue") or cloudwatch._p(params, "StateValue")
        if state not in STATES:
            return _error(f"StateValue {state!r} must be one of {', '.join(STATES)}", is_cbor, is_json)
        name = data.get("AlarmName") or cloudwatch._p(params, "AlarmName")
        alarm = cloudwatch._alarms.get(name)
        if alarm is not None:
            self._evaluator.hold(alarm)
        return self._set_alarm_state(params, data, is_cbor, is_json)

    def get_metric_data(self, params: dict, data: dict, is_cbor: bool, is_json: bool = False) -> Reply:
        if not (is_cbor or is_json):
            return _refuse_query_protocol("GetMetricData")
        try:
            results = self._metric_data(data)
        except UnsupportedQuery as error:
            return _error(str(error), is_cbor, is_json)
        if is_cbor:
            shown = [cloudwatch._cbor_metric_data_result(result) for result in results]
            return cloudwatch._cbor_ok({"MetricDataResults": shown, "Messages": []})
        return cloudwatch._json_ok({"MetricDataResults": results, "Messages": []})

    def _metric_data(self, data: dict) -> list[dict[str, Any]]:
        start, end = cloudwatch._parse_ts(data.get("StartTime")), cloudwatch._parse_ts(data.get("EndTime"))
        if start is None or end is None or start >= end:
            raise UnsupportedQuery("StartTime must be before EndTime")
        queries = parse_queries(data.get("MetricDataQueries") or [])
        values = queries.evaluate(self._evaluator.samples, int(start), int(-(-end // 1)))
        newest_first = data.get("ScanBy", "TimestampDescending") != "TimestampAscending"
        results = []
        for query in queries.all:
            value = values[query.id]
            if query.return_data:
                series_list = value if isinstance(value, list) else [value]
                results += [_result(query.id, query.label, one, newest_first) for one in series_list]
        limit = int(data.get("MaxDatapoints") or DATAPOINTS_DEFAULT_MAX)
        count = sum(len(result["Values"]) for result in results)
        if count > limit:
            raise UnsupportedQuery(f"{count} datapoints exceed {limit}; paging is not supported locally")
        return results


def _result(query_id: str, label: str, series: Any, newest_first: bool) -> dict[str, Any]:
    points: Series = series if isinstance(series, dict) else {}
    times = sorted(points, reverse=newest_first)
    return {
        "Id": query_id,
        "Label": label,
        "Timestamps": [cloudwatch._ts_iso(at) for at in times],
        "Values": [points[at] for at in times],
        "StatusCode": "Complete",
    }


def _error(message: str, is_cbor: bool, is_json: bool) -> Reply:
    return cloudwatch._error("ValidationError", message, 400, use_json=is_json, use_cbor=is_cbor)


def _refuse_query_protocol(operation: str) -> Reply:
    return _error(f"{operation} by the Query protocol is not supported locally; use a current SDK", False, False)
