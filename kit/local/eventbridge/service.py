"""Fire the schedules of EventBridge Scheduler: each calls its target with retries, and may leave a dead letter."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from ministack import app
from ministack.core.responses import get_account_id, get_region
from ministack.services import eventbridge

from kit.local.eventbridge.schedule_calls import ScheduleCalls
from kit.local.eventbridge.schedule_delivery import CallFailed, GivenUp, RetryPolicy, dead_letter_attributes, deliver
from kit.local.eventbridge.schedule_targets import Call, Occasion, TargetInvalid, call_of
from kit.local.patching import Patches

SOURCE = "aws.scheduler"
# Firings whose target is called or waits for a retry. Further ones are dropped, and the log says so.
FIRINGS_MAX = 1_000

Target = Mapping[str, Any]

log = logging.getLogger(__name__)


class Schedules:
    """The firings of one cloud. Use it from the event loop only."""

    def __init__(self, endpoint: str, secret: str) -> None:
        self._calls = ScheduleCalls(endpoint, secret)
        self._endpoint = endpoint
        self._patches = Patches()
        self._firings: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Take the firings over from MiniStack, which logs a target that it does not know, and a call that fails."""
        self._patches.wrap(eventbridge, "_invoke_target", self._invoke)

    async def stop(self) -> None:
        """Give up all firings."""
        self._patches.undo()
        for firing in tuple(self._firings):
            firing.cancel()
        await asyncio.gather(*self._firings, return_exceptions=True)
        self._calls.close()

    def _invoke(
        self, invoke: Callable[..., Any], target: Target, event: dict[str, Any], rule: Any, *rest: Any, **named: Any
    ) -> Any:
        """Fire a schedule; MiniStack's ticker calls this in its own thread. Targets of rules are MiniStack's."""
        if event.get("Source") != SOURCE or app._MAIN_LOOP is None:
            return invoke(target, event, rule, *rest, **named)
        app._MAIN_LOOP.call_soon_threadsafe(self._begin, dict(target), dict(event), get_account_id(), get_region())
        return None

    def _begin(self, target: Target, event: Mapping[str, Any], account: str, region: str) -> None:
        if len(self._firings) >= FIRINGS_MAX:
            log.warning("schedule not fired", extra={"schedule": event["Resources"][0], "limit": FIRINGS_MAX})
            return
        firing = asyncio.create_task(self._fire(target, event, account, region), name="schedule")
        self._firings.add(firing)
        firing.add_done_callback(self._firings.discard)

    async def _fire(self, target: Target, event: Mapping[str, Any], account: str, region: str) -> None:
        at = datetime.fromtimestamp(float(event["Time"]), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        schedule, execution = event["Resources"][0], str(uuid.uuid4())
        default = json.dumps(_default_input(event, at, account, region))

        async def call(attempt: int) -> None:
            occasion = Occasion(schedule_arn=schedule, scheduled_time=at, execution_id=execution, attempt=attempt)
            try:
                wanted = call_of(target, occasion, default, self._endpoint)
            except TargetInvalid as error:
                raise CallFailed("ValidationException", str(error), may_retry=False) from error
            await self._calls.call(wanted, account, region)

        given_up = await deliver(call, RetryPolicy.of(target), clock=time.monotonic, sleep=asyncio.sleep)
        if given_up is not None:
            facts = {
                "SCHEDULE_ARN": schedule,
                "TARGET_ARN": target["Arn"],
                "EXECUTION_ID": execution,
                "SCHEDULED_TIME": at,
            }
            await self._leave(target, target.get("Input") or default, given_up, facts, account, region)

    async def _leave(
        self, target: Target, body: str, given_up: GivenUp, facts: Mapping[str, str], account: str, region: str
    ) -> None:
        """Send a dead letter, if the target has a queue for it."""
        reason = f"{given_up.error.code}: {given_up.error}"
        log.warning("schedule's target not called", extra={"schedule": facts["SCHEDULE_ARN"], "reason": reason})
        arn = (target.get("DeadLetterConfig") or {}).get("Arn")
        if not arn:
            return
        owner, name = arn.split(":")[4:6]
        parameters = {
            "QueueUrl": f"{self._endpoint}/{owner}/{name}", "MessageBody": body,
            "MessageAttributes": dead_letter_attributes(given_up, facts),
        }  # fmt: skip
        try:
            await self._calls.call(Call(service="sqs", operation="SendMessage", parameters=parameters), account, region)
        except CallFailed as error:
            log.warning("dead letter not sent", extra={"schedule": facts["SCHEDULE_ARN"], "reason": str(error)})


def _default_input(event: Mapping[str, Any], at: str, account: str, region: str) -> dict[str, Any]:
    """Return what a target without an input gets."""
    return {
        "version": "0", "id": event["EventId"], "detail-type": "Scheduled Event", "source": SOURCE, "account": account,
        "time": at, "region": region, "resources": list(event["Resources"]), "detail": "{}",
    }  # fmt: skip
