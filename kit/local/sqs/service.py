"""Serve SQS: MiniStack's, with its races removed, its metrics and, for queues that are tagged so, unusual answers."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import Any

from ministack.core.arn import parse_arn
from ministack.services import sqs

from kit.local.main_loop import on_main_loop
from kit.local.patching import Patches
from kit.local.sqs.metrics import PERIOD_S, Metrics
from kit.local.sqs.redrive import Redrive
from kit.local.unusual_answers import TAG, Draws, Shares, UnusualAnswersInvalid, shares

# Lambda's queue pollers and Step Functions call these from threads of their own.
CALLED_FROM_THREADS = ("_receive_messages_for_esm", "_delete_messages_for_esm", "_act_send_message")
BATCHES = frozenset({"SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"})
# Calls of the data plane; all others are answered as usual.
CALLS = BATCHES | {"SendMessage", "ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility"}
FAILURE = ("InternalFailure", "The request processing has failed because of an unknown error.")
THROTTLED = ("RequestThrottled", "The request was denied due to request throttling.")

log = logging.getLogger(__name__)


class Sqs:
    """SQS with the answers that queues are tagged for."""

    def __init__(self, seed: int) -> None:
        self._draws = Draws(seed, "sqs")
        self._patches = Patches()
        self._shares: dict[str, Shares] = {}
        self._redrive = Redrive()
        self._metrics = Metrics()
        self._publishing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Patch MiniStack's SQS and begin to publish metrics."""
        for name in CALLED_FROM_THREADS:
            self._patches.decorate(sqs, name, on_main_loop)
        self._patches.wrap(sqs, "_dispatch", self._dispatch)
        self._redrive.install(self._patches)
        self._publishing = asyncio.create_task(self._publish_each_period(), name="sqs-metrics")

    async def stop(self) -> None:
        """Stop publishing and moving messages, and put MiniStack's functions back."""
        if self._publishing is not None:
            self._publishing.cancel()
            with suppress(asyncio.CancelledError):
                await self._publishing
        await self._redrive.stop()
        self._patches.undo()

    async def _publish_each_period(self) -> None:
        while True:
            now = time.time()
            ends_at = (now // PERIOD_S + 1) * PERIOD_S
            await asyncio.sleep(ends_at - now)
            try:
                self._metrics.publish(ends_at - PERIOD_S)
            except Exception:  # boundary: a failure in one period must not end the publishing of metrics
                log.exception("SQS metrics not published")

    async def _dispatch(self, dispatch: Any, action: str, data: dict[str, Any], url: str) -> Any:
        """Answer a call, and count what it did."""
        queue = sqs._queues.get(data.get("QueueUrl") or url) if action in CALLS else None
        answer = await self._answer(dispatch, action, data, url)
        if queue is not None:
            arn = parse_arn(queue["attributes"]["QueueArn"])
            self._metrics.count((arn.account_id, arn.region, arn.resource), action, answer)
        return answer

    async def _answer(self, dispatch: Any, action: str, data: dict[str, Any], url: str) -> Any:
        wanted = self._wanted(action, data, url)
        if not wanted:
            return await dispatch(action, data, url)
        drawn = self._draws.kind(wanted, ("error", "throttle", "lost"))
        if drawn == "error":
            raise sqs._Err(*FAILURE, 500)
        if drawn == "throttle":
            raise sqs._Err(*THROTTLED)
        answer = await self._without_refused(dispatch, action, data, url, wanted)
        if drawn == "lost":
            raise sqs._Err(*FAILURE, 500)
        return answer

    async def _without_refused(self, dispatch: Any, action: str, data: dict[str, Any], url: str, wanted: Shares) -> Any:
        """Carry out a call but for the entries of a batch that are refused."""
        entries = data.get("Entries")
        if action not in BATCHES or not isinstance(entries, list):
            return await dispatch(action, data, url)
        refused = [entry for entry in entries if isinstance(entry, dict) and self._draws.is_refused(wanted)]
        if not refused:
            return await dispatch(action, data, url)
        kept = [entry for entry in entries if entry not in refused]
        answer = await dispatch(action, {**data, "Entries": kept}, url) if kept else {"Successful": [], "Failed": []}
        code, message = FAILURE
        failed = [
            {"Id": entry.get("Id", ""), "Code": code, "Message": message, "SenderFault": False} for entry in refused
        ]
        return {**answer, "Failed": [*answer.get("Failed", []), *failed]}

    def _wanted(self, action: str, data: dict[str, Any], url: str) -> Shares:
        if action not in CALLS:
            return {}
        queue = sqs._queues.get(data.get("QueueUrl") or url)
        text = (queue or {}).get("tags", {}).get(TAG, "")
        if not text:
            return {}
        if text not in self._shares:
            self._shares[text] = _parsed(text)
        return self._shares[text]


def _parsed(text: str) -> Shares:
    try:
        return shares([{"Key": TAG, "Value": text}])
    except UnusualAnswersInvalid as error:
        raise sqs._Err("InvalidParameterValue", str(error)) from error
