"""Messages of a dead-letter queue are moved back by a task that can be listed and cancelled."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from kit.local.sqs import move_tasks
from kit.local.sqs.move_tasks import MoveRefused, MoveTask, MoveTasks, Queues, dead_letter_target
from tests.polling import wait_until


class Store:
    """Queues in memory: the messages of a source, and those of each destination that exists."""

    def __init__(self, count: int, *destinations: str, source: str | None = "arn:orders") -> None:
        system = {} if source is None else {"DeadLetterQueueSourceArn": source}
        self.waiting = [{"id": number, "sys": system} for number in range(count)]
        self.moved: dict[str, list[int]] = {arn: [] for arn in destinations}
        self.slept: list[float] = []

    def put(self, arn: str, message: dict[str, Any]) -> bool:
        if arn not in self.moved:
            return False
        self.moved[arn].append(message["id"])
        return True

    def run(self, **task: Any) -> MoveTask:
        moving = MoveTask(source_arn="arn:dead", to_move=len(self.waiting), **task)

        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)

        queues = Queues(
            take=lambda _: self.waiting.pop(0) if self.waiting else None,
            give_back=lambda _, message: self.waiting.insert(0, message),
            put=self.put,
        )
        asyncio.run(move_tasks.move(moving, queues, sleep))
        return moving


def test_messages_go_back_where_they_came_from_in_order() -> None:
    store = Store(25, "arn:orders")
    task = store.run()
    assert (task.status, task.moved, store.moved["arn:orders"]) == ("COMPLETED", 25, list(range(25)))


def test_a_rate_is_kept() -> None:
    """Five messages at two a second take two seconds and a half, but for the last wait."""
    store = Store(5, "arn:other")
    task = store.run(destination_arn="arn:other", rate=2)
    assert (task.moved, store.slept) == (5, [0.5] * 4)


@pytest.mark.parametrize(
    ("source", "destination", "reason"),
    [(None, "", move_tasks.NO_SOURCE), ("arn:gone", "", move_tasks.NO_QUEUE), (None, "arn:gone", move_tasks.NO_QUEUE)],
)
def test_a_message_that_has_nowhere_to_go_fails_the_task_and_stays(
    source: str | None, destination: str, reason: str
) -> None:
    store = Store(2, source=source)
    task = store.run(destination_arn=destination)
    assert (task.status, task.failure, task.moved) == ("FAILED", reason, 0)
    assert [message["id"] for message in store.waiting] == [0, 1]
    assert task.describe()["FailureReason"] == reason


def test_one_task_runs_at_a_time_and_ten_are_remembered() -> None:
    tasks = MoveTasks()
    for number in range(12):
        task = MoveTask(source_arn="arn:dead", to_move=number)
        tasks.add(task)
        with pytest.raises(MoveRefused, match="already a task running"):
            tasks.add(MoveTask(source_arn="arn:dead"))
        task.status = move_tasks.COMPLETED
    assert [each["ApproximateNumberOfMessagesToMove"] for each in tasks.latest("arn:dead", 10)] == list(
        range(11, 1, -1)
    )
    assert len(tasks.latest("arn:dead", None)) == 1
    for refused in (0, 11):
        with pytest.raises(MoveRefused, match="MaxResults"):
            tasks.latest("arn:dead", refused)


def test_only_a_running_task_can_be_cancelled() -> None:
    tasks, task = MoveTasks(), MoveTask(source_arn="arn:dead")
    tasks.add(task)
    assert tasks.cancel(task.handle).status == "CANCELLING"
    with pytest.raises(MoveRefused, match="CANCELLING"):
        tasks.cancel(task.handle)
    with pytest.raises(MoveRefused, match="does not exist"):
        tasks.cancel("guessed")


@pytest.mark.parametrize("rate", [0, 501])
def test_a_rate_that_aws_refuses_is_refused(rate: int) -> None:
    with pytest.raises(MoveRefused, match="MaxNumberOfMessagesPerSecond"):
        MoveTasks().add(MoveTask(source_arn="arn:dead", rate=rate))


@pytest.mark.parametrize("text", ["", "not json", "[]", '{"maxReceiveCount": 1}'])
def test_attributes_without_a_target_name_none(text: str) -> None:
    assert dead_letter_target({"RedrivePolicy": text}) == ""


class Pair:
    """A queue and its dead-letter queue."""

    def __init__(self, cloud: Any, poison: int) -> None:
        self.sqs, name = cloud.client("sqs"), f"redrive-{uuid.uuid4().hex[:6]}"
        self.dead_url = self.sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        self.dead = self.arn(self.dead_url)
        policy = json.dumps({"deadLetterTargetArn": self.dead, "maxReceiveCount": 1})
        attributes = {"RedrivePolicy": policy, "VisibilityTimeout": "0"}
        self.url = self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        for number in range(poison):
            self.sqs.send_message(QueueUrl=self.url, MessageBody=str(number))
        received = 0
        while received < poison:
            received += len(self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages", []))
        # The next receive moves them.
        self.sqs.receive_message(QueueUrl=self.url)

    def arn(self, url: str) -> str:
        return self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def count(self, url: str) -> int:
        name = "ApproximateNumberOfMessages"
        return int(self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])

    def latest(self) -> dict[str, Any]:
        return self.sqs.list_message_move_tasks(SourceArn=self.dead)["Results"][0]


def test_a_task_moves_all_messages_back(cloud: Any) -> None:
    pair = Pair(cloud, 12)
    assert (pair.count(pair.url), pair.count(pair.dead_url)) == (0, 12)
    handle = pair.sqs.start_message_move_task(SourceArn=pair.dead)["TaskHandle"]
    assert handle
    wait_until(lambda: pair.latest()["Status"] == "COMPLETED", "the task has ended")
    assert (pair.count(pair.url), pair.count(pair.dead_url)) == (12, 0)
    assert pair.latest()["ApproximateNumberOfMessagesMoved"] == 12 and "TaskHandle" not in pair.latest()
    message = pair.sqs.receive_message(QueueUrl=pair.url, AttributeNames=["All"])["Messages"][0]
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"


def test_a_cancelled_task_leaves_the_rest(cloud: Any) -> None:
    pair = Pair(cloud, 5)
    handle = pair.sqs.start_message_move_task(SourceArn=pair.dead, MaxNumberOfMessagesPerSecond=1)["TaskHandle"]
    with pytest.raises(ClientError, match="already a task running"):
        pair.sqs.start_message_move_task(SourceArn=pair.dead)
    moved = pair.sqs.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"]
    wait_until(lambda: pair.latest()["Status"] == "CANCELLED", "the task has ended")
    assert moved < 5 and pair.count(pair.dead_url) == 5 - pair.latest()["ApproximateNumberOfMessagesMoved"]


def test_only_a_dead_letter_queue_has_sources_and_tasks(cloud: Any) -> None:
    pair = Pair(cloud, 0)
    assert pair.sqs.list_dead_letter_source_queues(QueueUrl=pair.dead_url)["queueUrls"] == [pair.url]
    assert pair.sqs.list_dead_letter_source_queues(QueueUrl=pair.url)["queueUrls"] == []
    for source, code in (
        (pair.arn(pair.url), "InvalidParameterValue"),
        ("arn:aws:sqs:us-east-1:000000000000:gone", "ResourceNotFoundException"),
    ):
        with pytest.raises(ClientError) as caught:
            pair.sqs.start_message_move_task(SourceArn=source)
        assert caught.value.response["Error"]["Code"] == code
