"""The alarm evaluator: every tick, each metric alarm is judged on its closed periods.

Owns alarm state changes: history, SNS actions (MiniStack's dispatch), composite parents, the EventBridge
event and the callbacks that FIS stop conditions hang on. Must not know FIS.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from ministack.core.arn import ArnParseError, parse_arn
from ministack.core.responses import request_scope
from ministack.services import cloudwatch

from kit.local.cloudwatch import cloudformation, events, operations
from kit.local.cloudwatch.alarm_definitions import COMPARISONS, alarm_period_s, treatment_of
from kit.local.cloudwatch.alarm_state import ALARM, INSUFFICIENT_DATA, OK, RANGE_EXTRA, judge
from kit.local.cloudwatch.metric_queries import MetricStat, dimensions_of, parse_queries, read_stat
from kit.local.cloudwatch.samples import Samples
from kit.local.cloudwatch.series import Series, UnsupportedQuery
from kit.local.patching import Patches

log = logging.getLogger(__name__)

TICK_S = 1.0
# SetAlarmState lasts until the next comparison: every 10 s for high-resolution alarms, else every minute.
HIGH_RESOLUTION_INTERVAL_S = 10.0
STANDARD_INTERVAL_S = 60.0

Alarm = dict[str, Any]
Callback = Callable[[str, str, str], None]


class AlarmEvaluator:
    """All alarms of the local cloud, in every account and region of it."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.samples = Samples()
        self._clock = clock
        self._callbacks: list[Callback] = []
        self._held_until: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None
        self._patches = Patches()

    async def start(self, cloud: object) -> None:
        """Patch MiniStack's alarms and begin to tick."""
        self._dispatch = cloudwatch._dispatch_alarm_actions
        operations.install(self._patches, self)
        cloudformation.install(self._patches)
        self._task = asyncio.create_task(self._tick_forever(), name="alarms")

    async def stop(self) -> None:
        """Stop ticking, and put MiniStack's functions back."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        self._patches.undo()

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        """Call `callback(arn, old state, new state)` on every transition; returns how to end that."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def state_of(self, arn: str) -> str | None:
        """OK, ALARM or INSUFFICIENT_DATA; None when there is no such alarm."""
        try:
            spec = parse_arn(arn)
        except ArnParseError:
            return None
        if spec.service != "cloudwatch" or not spec.resource.startswith("alarm:"):
            return None
        name = spec.resource.removeprefix("alarm:")
        for store in (cloudwatch._alarms, cloudwatch._composite_alarms):
            alarm = store.get_scoped(spec.account_id, spec.region, name)
            if alarm is not None:
                return alarm["StateValue"]
        return None

    def evaluate_all(self) -> None:
        """One tick."""
        self.samples.evict()
        for (account, region, _), alarm in list(cloudwatch._alarms._data.items()):
            with request_scope(account, region):
                self._evaluate_or_log(alarm)

    async def _tick_forever(self) -> None:
        while True:
            started = time.monotonic()
            self.evaluate_all()
            await asyncio.sleep(max(0.0, TICK_S - (time.monotonic() - started)))

    def _evaluate_or_log(self, alarm: Alarm) -> None:
        # Boundary: one alarm that cannot be judged must not keep the others from being judged.
        try:
            self.evaluate(alarm)
        except UnsupportedQuery as error:
            log.warning("alarm refused", extra={"alarm": alarm.get("AlarmName"), "error": str(error)})
        except Exception:
            log.exception("alarm evaluation failed", extra={"alarm": alarm.get("AlarmName")})

    def evaluate(self, alarm: Alarm) -> None:
        """Judge one alarm and make its transition, unless SetAlarmState still holds it."""
        now = self._clock()
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
        state = judge(
            [breaches(series[at], limit) if at in series else None for at in times],
            periods=periods,
            to_alarm=to_alarm,
            treat_missing=treatment_of(alarm),
            state=alarm["StateValue"],
        )
        if state != alarm["StateValue"]:
            recent = {at: series[at] for at in times if at in series}
            self._transition(alarm, state, recent, periods=periods, to_alarm=to_alarm, period_s=period_s)

    def _read(self, alarm: Alarm, period_s: int, start: int, end: int) -> Series:
        if alarm.get("Metrics"):
            queries = parse_queries(alarm["Metrics"])
            value = queries.evaluate(self.samples, start, end)[queries.check_for_alarm().id]
            return value if isinstance(value, dict) else {}
        stat = MetricStat(
            namespace=alarm["Namespace"],
            name=alarm["MetricName"],
            dimensions=dimensions_of(alarm.get("Dimensions")),
            statistic=alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average",
            period_s=period_s,
            unit=alarm.get("Unit") or None,
        )
        return read_stat(self.samples, stat, start, end)

    def hold(self, alarm: Alarm) -> None:
        """SetAlarmState was called: keep that state until the next comparison."""
        high = alarm_period_s(alarm) < STANDARD_INTERVAL_S
        interval_s = HIGH_RESOLUTION_INTERVAL_S if high else STANDARD_INTERVAL_S
        self._held_until[alarm["AlarmArn"]] = self._clock() + interval_s

    def _transition(
        self, alarm: Alarm, state: str, recent: Series, *, periods: int, to_alarm: int, period_s: int
    ) -> None:
        old_state, now = alarm["StateValue"], self._clock()
        reason = _reason(alarm, old_state, state, recent, periods=periods, to_alarm=to_alarm)
        data = _reason_data(alarm, recent, now, period_s=period_s)
        alarm["StateValue"] = state
        alarm["StateReason"] = reason
        alarm["StateReasonData"] = json.dumps(data, separators=(",", ":"))
        alarm["StateUpdatedTimestamp"] = alarm["StateTransitionedTimestamp"] = now
        cloudwatch._record_history(alarm["AlarmName"], old_state, state, reason, reason_data=data)
        cloudwatch._dispatch_alarm_actions(alarm, old_state, state, reason)
        cloudwatch._evaluate_parent_alarms(alarm)

    def announce(self, alarm: Alarm, old_state: str, new_state: str, reason: str) -> None:
        """Runs on every transition (metric, composite, SetAlarmState) in place of MiniStack's SNS dispatch."""
        log.info("alarm transition", extra={"alarm": alarm["AlarmName"], "old": old_state, "new": new_state})
        # Stop conditions first: what they stop must not wait for notifications.
        for callback in list(self._callbacks):
            callback(alarm["AlarmArn"], old_state, new_state)
        self._dispatch(alarm, old_state, new_state, reason)
        events.put_state_change(alarm, old_state=old_state, new_state=new_state, reason=reason)


def _reason(alarm: Alarm, old_state: str, state: str, recent: Series, *, periods: int, to_alarm: int) -> str:
    if state == INSUFFICIENT_DATA:
        return f"Insufficient Data: {periods} datapoint{_s(periods)} {_were(periods)} unknown."
    words, breaches = COMPARISONS[alarm["ComparisonOperator"]]
    limit = float(alarm["Threshold"])
    shown = sorted(recent, reverse=True)[:periods]
    matching = [at for at in shown if breaches(recent[at], limit) == (state == ALARM)]
    if not matching:
        return f"Threshold Crossed: no datapoints were received for {periods} period{_s(periods)}."
    listed = ", ".join(f"{recent[at]} ({_clock_time(at)})" for at in matching)
    negation = "" if state == ALARM else "not "
    needed = to_alarm if state == ALARM else periods - to_alarm + 1
    return (
        f"Threshold Crossed: {len(matching)} out of the last {periods} datapoint{_s(periods)} [{listed}] "
        f"{_were(len(matching))} {negation}{words} the threshold ({limit}) "
        f"(minimum {needed} datapoint{_s(needed)} for {_direction(old_state, state)} transition)."
    )


def _direction(old_state: str, state: str) -> str:
    return f"{OK if state == ALARM and old_state == INSUFFICIENT_DATA else old_state} -> {state}"


def _reason_data(alarm: Alarm, recent: Series, now: float, *, period_s: int) -> dict[str, Any]:
    data = {
        "version": "1.0",
        "queryDate": _iso(now),
        "startDate": _iso(min(recent)) if recent else None,
        "statistic": alarm.get("ExtendedStatistic") or alarm.get("Statistic"),
        "period": period_s,
        "recentDatapoints": [recent[at] for at in sorted(recent)],
        "threshold": float(alarm["Threshold"]),
        "evaluatedDatapoints": [{"timestamp": _iso(at), "value": recent[at]} for at in sorted(recent, reverse=True)],
    }
    return {key: value for key, value in data.items() if value is not None}


def _clock_time(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%d/%m/%y %H:%M:%S")


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
