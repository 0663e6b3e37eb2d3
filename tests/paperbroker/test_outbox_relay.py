"""Sender and relay: accepted events reach the queue in order, through outages and unreadable outbox entries."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from paperbroker.domain.events import IntakeEvent
from paperbroker.errors import QueueUnavailable
from paperbroker.logs import Log
from paperbroker.services import sender
from paperbroker.services.intake import Intake
from paperbroker.services.relay import Relay
from paperbroker.services.sender import LOST_AFTER_S, WAITING_MAX, Sender
from paperbroker.services.telemetry import Silent
from paperbroker.storage import outbox as outboxes
from paperbroker.storage.outbox import Outbox
from paperbroker.storage.queues import CommandQueue
from paperbroker.storage.tables import OrderTables
from tests.paperbroker.paperbroker_rig import MARKETS, IntakeRig, Stage, new_order, order_event
from tests.polling import wait_until

LOG = Log(logging.getLogger("test"))
LATER_NS = int((LOST_AFTER_S + 1) * 1e9)


def relay(stage: Stage, commands: Any = None) -> Relay:
    """Make a relay whose clock is late enough that every outbox entry is due."""
    commands = commands or CommandQueue(stage.sqs, stage.settings.queue_url)
    outbox = Outbox(stage.dynamodb, stage.settings.tables)
    late = lambda: time.time_ns() + LATER_NS  # noqa: E731
    return Relay(commands, outbox, MARKETS, Silent(), LOG, threading.Event(), now_ns=late)


def accept(stage: Stage, count: int) -> list[str]:
    """Accept orders in alternating markets, leave them in the outbox, and return their ids in that order."""
    rig = IntakeRig(stage)  # Not entered, so its sender does not run.
    for n in range(count):
        rig.intake.submit(new_order(n, symbol=MARKETS[n % len(MARKETS)]), "trace")
    return [f"o{n}" for n in range(count)]


def queued_ids(stage: Stage) -> dict[str, list[str]]:
    """Receive all messages; return their order ids by market, in the order of the queue."""
    found: dict[str, list[str]] = {market: [] for market in MARKETS}
    for body in map(json.loads, stage.queued()):
        found[body["market"]].append(body["orderId"])
    return found


def test_backlog_is_sent_in_the_order_of_acceptance(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """Over several pages and markets. Then the outbox is empty and the next sweep finds nothing."""
    monkeypatch.setattr(outboxes, "PAGE_ENTRIES", 7)
    ids = accept(stage, 50)
    tested = relay(stage)
    assert tested.sweep() == 50
    assert queued_ids(stage) == {market: ids[n :: len(MARKETS)] for n, market in enumerate(MARKETS)}
    assert stage.outbox() == []
    assert tested.sweep() == 0


def test_two_relays_at_once_send_nothing_twice(stage: Stage):
    ids = accept(stage, 30)
    relays = [threading.Thread(target=relay(stage).sweep) for _ in range(2)]
    for each in relays:
        each.start()
    for each in relays:
        each.join(20)
    assert sorted(order_id for found in queued_ids(stage).values() for order_id in found) == sorted(ids)


@pytest.mark.parametrize("body", [None, {"S": "no json"}, {"S": "{}"}, {"N": "7"}])
def test_an_unreadable_entry_is_logged_once_and_skipped(
    stage: Stage, body: dict[str, str] | None, caplog: pytest.LogCaptureFixture
):
    """The others are sent, and the bad one stays in the outbox."""
    bad = {"market": {"S": "ACME"}, "eventId": {"S": "0bad"}, "acceptedAtNs": {"N": "1"}}
    stage.dynamodb.put_item(TableName=stage.settings.tables.outbox, Item=bad | ({"body": body} if body else {}))
    accept(stage, 4)
    tested = relay(stage)
    assert tested.sweep() == 4
    assert tested.sweep() == 0
    assert [row["eventId"] for row in stage.outbox()] == ["0bad"]
    assert caplog.messages.count("relay.unreadable_entry") == 1


def test_entries_of_another_version_are_sent(stage: Stage):
    """Their event ids may have another format, and their market may no longer be configured."""
    rig = IntakeRig(stage)
    rig.intake.submit(new_order(1, symbol="GONE"), "trace")
    (row,) = stage.dynamodb.scan(TableName=stage.settings.tables.outbox)["Items"]
    key = {name: row[name] for name in ("market", "eventId")}
    stage.dynamodb.delete_item(TableName=stage.settings.tables.outbox, Key=key)
    stage.dynamodb.put_item(TableName=stage.settings.tables.outbox, Item=row | {"eventId": {"S": "f" * 32}})
    assert relay(stage).sweep() == 1


@dataclass
class Queue:
    """A queue that fails while `down`, and keeps the order ids of what was sent."""

    down: bool = True
    calls: int = 0
    sent: list[str] = field(default_factory=list)

    def send(self, events: Sequence[IntakeEvent]) -> list[IntakeEvent]:
        self.calls += 1
        if self.down:
            raise QueueUnavailable("down")
        self.sent += [event.order_id for event in events]
        return list(events)


def test_relay_deletes_only_what_the_queue_accepted(stage: Stage):
    """The queue fails halfway: what it accepted leaves the outbox, and the next sweep sends the rest in order."""

    class Halfway(Queue):
        def send(self, events: Sequence[IntakeEvent]) -> list[IntakeEvent]:
            if len(self.sent) >= 10:
                raise QueueUnavailable("down")
            return super().send(events)

    rig = IntakeRig(stage)
    for n in range(25):
        rig.intake.submit(new_order(n), "trace")
    halfway, recovered = Halfway(down=False), Queue(down=False)
    with pytest.raises(QueueUnavailable):
        relay(stage, halfway).sweep()
    assert len(stage.outbox()) == 15
    assert relay(stage, recovered).sweep() == 15
    assert halfway.sent + recovered.sent == [f"o{n}" for n in range(25)]


def started_sender(stage: Stage, commands: Queue) -> tuple[Sender, Intake]:
    """Start a sender on `commands`; return it and the intake whose events it sends."""
    tested = Sender(commands, Outbox(stage.dynamodb, stage.settings.tables), LOG)  # pyright: ignore
    tested.start()
    return tested, Intake(OrderTables(stage.dynamodb, stage.settings.tables), tested)


def test_sender_keeps_the_order_through_a_short_outage(stage: Stage):
    """When the queue is back, waiting events are sent before later ones."""
    commands = Queue()
    tested, intake = started_sender(stage, commands)
    for n in range(12):
        intake.submit(new_order(n), "trace")
    wait_until(lambda: commands.calls >= 2)
    commands.down = False
    for n in range(12, 20):
        intake.submit(new_order(n), "trace")
    wait_until(lambda: len(commands.sent) == 20)
    tested.stop(5)
    assert commands.sent == [f"o{n}" for n in range(20)]
    assert stage.outbox() == []


def test_sender_leaves_old_events_to_the_relay(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """After a long outage it has dropped the old events, which the outbox still holds, and sends only new ones."""
    monkeypatch.setattr(sender, "LOST_AFTER_S", 0.3)
    commands = Queue()
    tested, intake = started_sender(stage, commands)
    for n in range(5):
        intake.submit(new_order(n), "trace")
    time.sleep(0.3)
    calls = commands.calls
    wait_until(lambda: commands.calls > calls and not tested._held and tested._waiting.empty())
    commands.down = False
    intake.submit(new_order(9), "trace")
    wait_until(lambda: commands.sent == ["o9"])
    tested.stop(5)
    assert sorted(row["orderId"] for row in stage.outbox()) == [f"o{n}" for n in range(5)]


def test_a_full_buffer_of_the_sender_drops_events_without_waiting():
    tested = Sender(Queue(), None, LOG)  # pyright: ignore - never started
    event = order_event(1)
    for _ in range(WAITING_MAX + 50):
        tested.offer(event)
    assert tested._waiting.qsize() == WAITING_MAX


class Unreachable:
    """A queue that cannot be reached for a while, and records what was done around it."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.steps: list[str] = []

    def send(self, events: Sequence[IntakeEvent]) -> list[IntakeEvent]:
        self.failures -= 1
        self.steps.append("fails" if self.failures >= 0 else "sent")
        if self.failures >= 0:
            raise QueueUnavailable("down")
        return list(events)


class NoOutbox:
    def forget(self, events: Sequence[IntakeEvent]) -> None:
        """Nothing to forget."""


def test_a_sender_waits_longer_after_each_failure_until_one_batch_was_sent(monkeypatch: pytest.MonkeyPatch):
    commands = Unreachable(failures=3)

    class Backoff:
        def __init__(self, **bounds: float) -> None:
            assert 0 < bounds["first_s"] < bounds["limit_s"]

        def next_s(self) -> float:
            commands.steps.append("longer")
            return 0.001

        def reset(self) -> None:
            commands.steps.append("reset")

    monkeypatch.setattr(sender, "Backoff", Backoff)
    tested = Sender(commands, NoOutbox(), LOG)  # type: ignore[arg-type]
    tested.offer(order_event(1, accepted_at_ns=time.time_ns()))
    tested.start()
    wait_until(lambda: "reset" in commands.steps)
    tested.stop(5)
    assert commands.steps == [*["fails", "longer"] * 3, "sent", "reset"]


def test_a_stopped_sender_has_ended_when_stop_returns():
    tested = Sender(Unreachable(0), NoOutbox(), LOG)  # type: ignore[arg-type]
    tested.start()
    begun = time.monotonic()
    tested.stop(5)
    assert not tested._thread.is_alive() and time.monotonic() - begun < 4


def test_a_sender_that_is_stopped_leaves_what_it_cannot_send_to_the_relay(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sender, "LOST_AFTER_S", 60.0)
    commands = Unreachable(failures=1_000_000)
    tested = Sender(commands, NoOutbox(), LOG)  # type: ignore[arg-type]
    tested.offer(order_event(1, accepted_at_ns=time.time_ns()))
    tested.start()
    wait_until(lambda: commands.steps)
    tested.stop(2)
    assert not tested._thread.is_alive() and set(commands.steps) == {"fails"}
