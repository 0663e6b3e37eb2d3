"""Compose, start and stop the local CloudWatch, and report every change of an alarm's state."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ministack.core.arn import ArnParseError, parse_arn
from ministack.core.responses import request_scope
from ministack.services import cloudwatch

from kit.local.cloudwatch import cloudformation, events, ministack
from kit.local.cloudwatch.alarm_evaluator import AlarmEvaluator
from kit.local.cloudwatch.operations import Operations
from kit.local.cloudwatch.samples import Samples
from kit.local.cloudwatch.suppression import Suppression
from kit.local.patching import Patches

log = logging.getLogger(__name__)

EVALUATION_INTERVAL_S = 1.0

Callback = Callable[[str, str, str], None]


class CloudWatch:
    """Alarms and metric math in every account and Region of the local AWS."""

    def __init__(self) -> None:
        self._samples = Samples()
        self._evaluator = AlarmEvaluator(self._samples)
        self._suppression = Suppression(_state_here, time.time)
        self._callbacks: list[Callback] = []
        self._task: asyncio.Task[None] | None = None
        self._patches = Patches()

    async def start(self) -> None:
        """Patch MiniStack's alarms and begin to evaluate them."""
        operations = Operations(self._samples, self._evaluator.hold)
        ministack.install(self._patches, operations, self._samples, self._announce)
        cloudformation.install(self._patches)
        self._task = asyncio.create_task(self._evaluate_forever(), name="alarms")

    async def stop(self) -> None:
        """Stop evaluating, and put MiniStack's functions back."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        self._patches.undo()

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        """Call `callback(arn, old state, new state)` on every change of an alarm's state.

        Returns a function that ends the subscription.
        """
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def state_of(self, arn: str) -> str | None:
        """Return the state of an alarm: OK, ALARM or INSUFFICIENT_DATA; None if there is no such alarm."""
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

    async def _evaluate_forever(self) -> None:
        while True:
            started = time.monotonic()
            self._samples.evict()
            self._evaluator.evaluate_all()
            self._perform_held_actions()
            await asyncio.sleep(max(0.0, EVALUATION_INTERVAL_S - (time.monotonic() - started)))

    def _perform_held_actions(self) -> None:
        alarms = list(cloudwatch._composite_alarms._data.items())
        self._suppression.forget_others(alarm["AlarmArn"] for _, alarm in alarms)
        for (account, region, _), alarm in alarms:
            with request_scope(account, region):
                self._suppression.update(alarm)

    def _announce(
        self, notify: Callable[..., None], alarm: dict[str, Any], old_state: str, new_state: str, reason: str
    ) -> None:
        """Report a change of an alarm's state to subscribers, to the alarm's SNS actions and to EventBridge.

        It is called for metric and composite alarms and for SetAlarmState. `notify` is MiniStack's function that runs
        the alarm's actions.
        """
        log.info("alarm state changed", extra={"alarm": alarm["AlarmName"], "old": old_state, "new": new_state})
        # Callbacks first: FIS stop conditions must not wait for notifications.
        for callback in list(self._callbacks):
            callback(alarm["AlarmArn"], old_state, new_state)
        self._suppression.act(notify, alarm, old_state, new_state, reason)
        events.put_state_change(alarm, old_state=old_state, new_state=new_state, reason=reason)


def _state_here(reference: str) -> str | None:
    """Return the state of an alarm of the request's account and Region, by its name or its ARN."""
    name = reference.rpartition(":alarm:")[2]
    alarm = cloudwatch._alarms.get(name) or cloudwatch._composite_alarms.get(name)
    return alarm["StateValue"] if alarm else None
