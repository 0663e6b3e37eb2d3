"""The relay and the sender: accepted events reach the queue in order, whatever the queue or an entry is like."""

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
from tests.paperbroker.paperbroker_rig import MARKETS, IntakeRig, Stage, new_order
from tests.polling import wait_until

LOG = Log(logging.getLogger("test"))
LATER_NS = int((LOST_AFTER_S + 1) * 1e9)


def relay(stage: Stage, commands: Any = None) -> Relay:
    """A relay to whom everything in the outbox looks lost."""
    commands = commands or CommandQueue(stage.sqs, stage.settings.queue_url)
    outbox = Outbox(stage.dynamodb, stage.settings.tables)
    late = lambda: time.time_ns() + LATER_NS  # noqa: E731
    return Relay(commands, outbox, MARKETS, Silent(), LOG, threading.Event(), now_ns=late)


def accept(stage: Stage, count: int, **changed: Any) -> list[str]:
    """Orders that stay in the outbox, by turns in each market; their ids in the order of their acceptance."""
    rig = IntakeRig(stage)  # not entered: its sender does not run
    for n in range(count):
        rig.intake.submit(new_order(n, symbol=MARKETS[n % len(MARKETS)], **changed), "trace")
    return [f"o{n}" for n in range(count)]


def queued_ids(stage: Stage) -> dict[str, list[str]]:
    """Order ids in the queue by market, in the order in which they come out."""
    found: dict[str, list[str]] = {market: [] for market in MARKETS}
    for body in map(json.loads, stage.queued()):
        found[body["market"]].append(body["orderId"])
    return found


def test_backlog_is_sent_in_the_order_of_acceptance(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """Over several pages and markets; then the outbox is empty and the next sweep finds nothing."""
    monkeypatch.setattr(outboxes, "PAGE_ENTRIES", 7)
    ids = accept(stage, 50)
    tested = relay(stage)
    assert tested.sweep() == 50
    assert queued_ids(stage) == {market: ids[n :: len(MARKETS)] for n, market in enumerate(MARKETS)}
    assert stage.items(stage.settings.tables.outbox) == []
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
def test_an_entry_that_holds_no_event_is_reported_and_passed_over(
    stage: Stage, body: dict[str, str] | None, caplog: pytest.LogCaptureFixture
):
    """The others are sent, the bad one is left where it is and named once."""
    bad = {"market": {"S": "ACME"}, "eventId": {"S": "0bad"}, "acceptedAtNs": {"N": "1"}}
    stage.dynamodb.put_item(TableName=stage.settings.tables.outbox, Item=bad | ({"body": body} if body else {}))
    accept(stage, 4)
    tested = relay(stage)
    assert tested.sweep() == 4
    assert tested.sweep() == 0
    assert [row["eventId"] for row in stage.items(stage.settings.tables.outbox)] == ["0bad"]
    assert caplog.messages.count("relay.unreadable_entry") == 1


def test_entries_of_another_version_are_sent_too(stage: Stage):
    """Their ids need not begin with a time, and their market need not be one of ours."""
    rig = IntakeRig(stage)
    rig.intake.submit(new_order(1, symbol="GONE"), "trace")
    (row,) = stage.dynamodb.scan(TableName=stage.settings.tables.outbox)["Items"]
    key = {name: row[name] for name in ("market", "eventId")}
    stage.dynamodb.delete_item(TableName=stage.settings.tables.outbox, Key=key)
    stage.dynamodb.put_item(TableName=stage.settings.tables.outbox, Item=row | {"eventId": {"S": "f" * 32}})
    assert relay(stage).sweep() == 1


@dataclass
class Flaky:
    """A queue that is away for a while, and then takes what it gets."""

    away: bool = True
    asked: int = 0
    taken: list[str] = field(default_factory=list)

    def send(self, events: Sequence[IntakeEvent]) -> list[IntakeEvent]:
        self.asked += 1
        if self.away:
            raise QueueUnavailable("away")
        self.taken += [event.order_id for event in events]
        return list(events)


def test_relay_forgets_only_what_the_queue_has(stage: Stage):
    """The queue goes away halfway: what it took leaves the outbox, the rest is sent by the next sweep, in order."""

    class Halfway(Flaky):
        def send(self, events: Sequence[IntakeEvent]) -> list[IntakeEvent]:
            if len(self.taken) >= 10:
                raise QueueUnavailable("away")
            return super().send(events)

    rig = IntakeRig(stage)
    for n in range(25):
        rig.intake.submit(new_order(n), "trace")
    halfway, whole = Halfway(away=False), Flaky(away=False)
    with pytest.raises(QueueUnavailable):
        relay(stage, halfway).sweep()
    assert len(stage.items(stage.settings.tables.outbox)) == 15
    assert relay(stage, whole).sweep() == 15
    assert halfway.taken + whole.taken == [f"o{n}" for n in range(25)]


def test_sender_holds_its_order_through_a_short_outage(stage: Stage):
    """What waited is sent first when the queue is back, then what came later."""
    commands = Flaky()
    tables = OrderTables(stage.dynamodb, stage.settings.tables)
    tested = Sender(commands, Outbox(stage.dynamodb, stage.settings.tables), LOG)  # pyright: ignore
    intake = Intake(tables, tested)
    tested.start()
    for n in range(12):
        intake.submit(new_order(n), "trace")
    wait_until(lambda: commands.asked >= 2)
    commands.away = False
    for n in range(12, 20):
        intake.submit(new_order(n), "trace")
    wait_until(lambda: len(commands.taken) == 20)
    tested.stop(5)
    assert commands.taken == [f"o{n}" for n in range(20)]
    assert stage.items(stage.settings.tables.outbox) == []


def test_sender_leaves_what_is_old_to_the_relay(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """After a long outage it holds almost nothing, and sends only what is young; the outbox still has the rest."""
    monkeypatch.setattr(sender, "LOST_AFTER_S", 0.3)
    commands = Flaky()
    tested = Sender(commands, Outbox(stage.dynamodb, stage.settings.tables), LOG)  # pyright: ignore
    intake = Intake(OrderTables(stage.dynamodb, stage.settings.tables), tested)
    tested.start()
    for n in range(5):
        intake.submit(new_order(n), "trace")
    time.sleep(0.3)
    asked = commands.asked
    wait_until(lambda: commands.asked > asked and not tested._held and tested._waiting.empty())
    commands.away = False
    intake.submit(new_order(9), "trace")
    wait_until(lambda: commands.taken == ["o9"])
    tested.stop(5)
    assert sorted(row["orderId"] for row in stage.items(stage.settings.tables.outbox)) == [f"o{n}" for n in range(5)]


def test_senders_buffer_is_bounded_and_offer_never_waits():
    """Nobody sends: the surplus is dropped without a wait or an error."""
    tested = Sender(Flaky(), None, LOG)  # pyright: ignore - never started
    event = IntakeEvent(
        event_id="e",
        type="OrderAccepted",
        market="ACME",
        order_id="o",
        client_id="c",
        idempotency_key="k",
        accepted_at_ns=0,
    )
    for _ in range(WAITING_MAX + 50):
        tested.offer(event)
    assert tested._waiting.qsize() == WAITING_MAX
