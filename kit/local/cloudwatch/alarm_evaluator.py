"""Evaluate metric alarms on their closed periods and change their states."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import cloudwatch

from kit.local.cloudwatch import alarm_reasons
from kit.local.cloudwatch.alarm_definitions import COMPARISONS, alarm_period_s, missing_data_treatment
from kit.local.cloudwatch.alarm_state import RANGE_EXTRA, state_of_datapoints
from kit.local.cloudwatch.metric_queries import MetricStat, dimensions_of, parse_queries, read_stat
from kit.local.cloudwatch.samples import Samples
from kit.local.cloudwatch.series import Series, UnsupportedQuery

log = logging.getLogger(__name__)

# SetAlarmState lasts until the next evaluation: every 10 s for high-resolution alarms, else every minute.
HIGH_RESOLUTION_INTERVAL_S = 10.0
STANDARD_INTERVAL_S = 60.0

# MiniStack's record of an alarm, which holds its state too.
Alarm = dict[str, Any]


class AlarmEvaluator:
    """The evaluation of all alarms, and the states that SetAlarmState holds."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self._held_until: dict[str, float] = {}

    def evaluate_all(self) -> None:
        """Evaluate every alarm of every account and Region."""
        for (account, region, _), alarm in list(cloudwatch._alarms._data.items()):
            with request_scope(account, region):
                self._evaluate_or_log(alarm)

    def _evaluate_or_log(self, alarm: Alarm) -> None:
        # Boundary: an alarm that cannot be evaluated must not keep the others from being evaluated.
        try:
            self.evaluate(alarm)
        except UnsupportedQuery as error:
            log.warning("alarm refused", extra={"alarm": alarm.get("AlarmName"), "error": str(error)})
        except Exception:
            log.exception("alarm evaluation failed", extra={"alarm": alarm.get("AlarmName")})

    def evaluate(self, alarm: Alarm) -> None:
        """Evaluate one alarm and change its state, unless SetAlarmState still holds it."""
        now = time.time()
        if self._held_until.get(alarm["AlarmArn"], 0.0) > now:
            return
        self._held_until.pop(alarm["AlarmArn"], None)
        period_s = alarm_period_s(alarm)
        periods = int(alarm.get("EvaluationPeriods", 1))
        to_alarm = int(alarm.get("DatapointsToAlarm") or periods)
        end = int(now // period_s) * period_s
        times = range(end - (periods + RANGE_EXTRA) * period_s, end, period_s)
        series = self._read(alarm, period_s, times.start, end)
        breaches = COMPARISONS[alarm["ComparisonOperator"]][1]
        limit = float(alarm["Threshold"])
        state = state_of_datapoints(
            [breaches(series[at], limit) if at in series else None for at in times],
            periods=periods,
            to_alarm=to_alarm,
            treat_missing=missing_data_treatment(alarm),
            state=alarm["StateValue"],
        )
        if state != alarm["StateValue"]:
            recent = {at: series[at] for at in times if at in series}
            self._change_state(alarm, state, recent, periods=periods, to_alarm=to_alarm, period_s=period_s)

    def _read(self, alarm: Alarm, period_s: int, start: int, end: int) -> Series:
        if alarm.get("Metrics"):
            queries = parse_queries(alarm["Metrics"])
            value = queries.evaluate(self._samples, start, end)[queries.check_for_alarm().id]
            return value if isinstance(value, dict) else {}
        stat = MetricStat(
            namespace=alarm["Namespace"],
            name=alarm["MetricName"],
            dimensions=dimensions_of(alarm.get("Dimensions")),
            statistic=alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average",
            period_s=period_s,
            unit=alarm.get("Unit") or None,
        )
        return read_stat(self._samples, stat, start, end)

    def hold(self, alarm: Alarm) -> None:
        """Keep the state that SetAlarmState sets until the next evaluation."""
        high = alarm_period_s(alarm) < STANDARD_INTERVAL_S
        interval_s = HIGH_RESOLUTION_INTERVAL_S if high else STANDARD_INTERVAL_S
        self._held_until[alarm["AlarmArn"]] = time.time() + interval_s

    def _change_state(
        self, alarm: Alarm, state: str, recent: Series, *, periods: int, to_alarm: int, period_s: int
    ) -> None:
        old_state, now = alarm["StateValue"], time.time()
        reason = alarm_reasons.reason(alarm, old_state, state, recent, periods=periods, to_alarm=to_alarm)
        data = alarm_reasons.reason_data(alarm, recent, now, period_s=period_s)
        alarm["StateValue"] = state
        alarm["StateReason"] = reason
        alarm["StateReasonData"] = json.dumps(data, separators=(",", ":"))
        alarm["StateUpdatedTimestamp"] = alarm["StateTransitionedTimestamp"] = now
        cloudwatch._record_history(alarm["AlarmName"], old_state, state, reason, reason_data=data)
        cloudwatch._dispatch_alarm_actions(alarm, old_state, state, reason)
        cloudwatch._evaluate_parent_alarms(alarm)
