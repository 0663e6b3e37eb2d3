"""Serve the operations on dead-letter queues and their move tasks. On the event loop only, as MiniStack's stores."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from typing import Any

from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import sqs

from kit.local.patching import Patches, require
from kit.local.sqs.move_tasks import Message, MoveRefused, MoveTask, MoveTasks, Queues, dead_letter_target, move

SOURCES_MAX = 1_000

Request = dict[str, Any]


class Redrive:
    """The four operations."""

    def __init__(self) -> None:
        self._tasks = MoveTasks()
        self._running: set[asyncio.Task[None]] = set()

    def install(self, patches: Patches) -> None:
        """Add the operations to MiniStack's."""
        require(sqs, "_queues", "_queue_by_arn", "_get_q", "_dlq_sweep", "_expire_retained", "queue_delay", "esm_wake")
        for name, operation in (
            ("StartMessageMoveTask", self._start),
            ("ListMessageMoveTasks", self._list),
            ("CancelMessageMoveTask", self._cancel),
            ("ListDeadLetterSourceQueues", self._list_sources),
        ):
            patches.add_entry(sqs, "_HANDLERS", name, _with_error_codes(operation))

    async def stop(self) -> None:
        """Stop all tasks where they are."""
        for task in tuple(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _start(self, request: Request) -> dict[str, Any]:
        source = _existing(request["SourceArn"], "SourceArn")
        if not any(_sources_of(request["SourceArn"])):
            raise MoveRefused("InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue.")
        destination = request.get("DestinationArn") or ""
        if destination and _existing(destination, "DestinationArn")["is_fifo"] != source["is_fifo"]:
            raise MoveRefused("InvalidParameterValue", "Source and destination must be queues of the same type.")
        rate = request.get("MaxNumberOfMessagesPerSecond")
        sqs._expire_retained(source)
        task = MoveTask(
            source_arn=request["SourceArn"], destination_arn=destination, rate=None if rate is None else int(rate),
            started_ms=int(time.time() * 1000), to_move=sum(map(_is_visible, source["messages"])),
        )  # fmt: skip
        self._tasks.add(task)
        running = asyncio.create_task(self._move(task, get_account_id(), get_region()), name="sqs-move")
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return {"TaskHandle": task.handle}

    async def _move(self, task: MoveTask, account: str, region: str) -> None:
        with request_scope(account, region):
            await move(task, Queues(take=_take, give_back=_give_back, put=_put), asyncio.sleep)

    def _list(self, request: Request) -> dict[str, Any]:
        _existing(request["SourceArn"], "SourceArn")
        count = request.get("MaxResults")
        return {"Results": self._tasks.latest(request["SourceArn"], None if count is None else int(count))}

    def _cancel(self, request: Request) -> dict[str, Any]:
        return {"ApproximateNumberOfMessagesMoved": self._tasks.cancel(request["TaskHandle"]).moved}

    def _list_sources(self, request: Request) -> dict[str, Any]:
        queue = sqs._get_q(request["QueueUrl"])
        urls = [each["url"] for each in _sources_of(queue["attributes"]["QueueArn"])]
        limit = request.get("MaxResults")
        start, size = int(request.get("NextToken") or 0), SOURCES_MAX if limit is None else int(limit)
        page = {"queueUrls": urls[start : start + size]}
        return {**page, "NextToken": str(start + size)} if limit is not None and start + size < len(urls) else page


def _with_error_codes(operation: Any) -> Any:
    def serve(request: Request, _url: str) -> dict[str, Any]:
        try:
            return operation(request)
        except MoveRefused as refused:
            status = 404 if refused.code == "ResourceNotFoundException" else 400
            raise sqs._Err(refused.code, str(refused), status) from refused

    return serve


def _existing(arn: str, member: str) -> dict[str, Any]:
    queue = sqs._queue_by_arn(arn)
    if queue is None:
        words = f"The resource that you specified for the {member} parameter doesn't exist."
        raise MoveRefused("ResourceNotFoundException", words)
    return queue


def _sources_of(arn: str) -> Iterator[dict[str, Any]]:
    """Yield the queues whose dead letters go to the queue with this ARN."""
    for queue in sqs._queues.values():
        # What is due moves before anything is counted.
        if dead_letter_target(queue["attributes"]) == arn:
            sqs._dlq_sweep(queue)
            yield queue


def _is_visible(message: Message) -> bool:
    return message.get("visible_at", 0) <= time.time()


def _take(arn: str) -> Message | None:
    """Remove and return the oldest message that is not in flight."""
    queue = sqs._queue_by_arn(arn)
    for index, message in enumerate(queue["messages"] if queue is not None else ()):
        if _is_visible(message):
            return queue["messages"].pop(index) if queue is not None else None
    return None


def _give_back(arn: str, message: Message) -> None:
    """Make a message the oldest one again, as it was."""
    queue = sqs._queue_by_arn(arn)
    if queue is not None:
        queue["messages"].insert(0, message)


def _put(arn: str, message: Message) -> bool:
    """Send a message anew: with another id, another time of arrival, and never received."""
    queue = sqs._queue_by_arn(arn)
    if queue is None:
        return False
    now = time.time()
    system = {**message.get("sys", {}), "SentTimestamp": str(int(now * 1000))}
    system.pop("DeadLetterQueueSourceArn", None)
    anew = {
        **message, "id": str(uuid.uuid4()), "receipt_handle": None, "receive_count": 0, "first_receive_at": None,
        "sent_at": now, "visible_at": now + sqs.queue_delay(queue), "sys": system,
    }  # fmt: skip
    anew.pop("enqueued_at", None)
    if queue["is_fifo"]:
        queue["fifo_seq"] += 1
        anew["seq"] = str(queue["fifo_seq"]).zfill(20)
    queue["messages"].append(anew)
    sqs.esm_wake.set()
    return True
