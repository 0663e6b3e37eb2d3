"""The matcher's loop without AWS: what it leaves in the queue, its start, its pace, and what it measures."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Sequence

import pytest

from paperbroker.domain.events import IntakeEvent, LedgerEvent
from paperbroker.errors import LedgerCorrupt, StoreUnavailable
from paperbroker.logs import Log
from paperbroker.services.matcher import PACE_S, Matcher
from paperbroker.services.sequencer import Sequencer
from paperbroker.services.telemetry import Silent
from paperbroker.storage.ledger import Commit
from paperbroker.storage.queues import BATCH_MAX, Message
from tests.paperbroker.memory_ledger import MemoryLedger
from tests.paperbroker.paperbroker_rig import RecordedTelemetry, order_event

LOG = Log(logging.getLogger("test"))
MS = 1_000_000


class Queue:
    """Returns each of its batches once; then stops the matcher."""

    def __init__(self, stopping: threading.Event, *batches: list[Message]) -> None:
        self._stopping, self._batches = stopping, list(batches)
        self._lock = threading.Lock()
        self.deleted: list[str] = []

    def receive(self) -> list[Message]:
        with self._lock:
            if self._batches:
                return self._batches.pop(0)
        self._stopping.set()
        return []

    def delete(self, messages: Sequence[Message]) -> None:
        self.deleted += [message.receipt for message in messages]


class LongPolling(Queue):
    """Has no message after its batches, as long as the matcher runs. The bound ends a test whose matcher does not."""

    RUNS_S_MAX = 5.0

    def receive(self) -> list[Message]:
        with self._lock:
            if self._batches:
                return self._batches.pop(0)
        threading.Event.wait(self._stopping, self.RUNS_S_MAX)
        return super().receive()


class Failing(MemoryLedger):
    """Raises these errors, one for each read, before it answers."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors, self.reads = list(errors), list[str]()

    def read_after(self, market: str, seq: int, limit: int = 0) -> list[LedgerEvent]:
        self.reads.append(market)
        if self.errors:
            raise self.errors.pop(0)
        return super().read_after(market, seq, limit)


class RecordedWaits(threading.Event):
    """Records how long somebody wanted to wait for it, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        return self.is_set()


def message(event: IntakeEvent | None, receipt: str) -> Message:
    return Message(event=event, receipt=receipt, body="?")


def orders(count: int) -> list[Message]:
    return [message(order_event(n), f"r{n}") for n in range(count)]


def test_a_message_that_is_no_event_stays_in_the_queue_and_holds_up_no_other():
    stopping = threading.Event()
    queue, ledger = Queue(stopping), MemoryLedger()
    batch = [message(order_event(1), "r1"), message(None, "bad"), message(order_event(2, market="BOLT"), "r2")]
    Matcher(queue, ledger, Silent(), LOG, stopping).handle(batch, until=float("inf"))
    assert sorted(queue.deleted) == ["r1", "r2"]
    assert [len(ledger.events[market]) for market in ("ACME", "BOLT")] == [1, 1]


def test_a_matcher_reads_every_ledger_again_until_it_answers_and_then_receives():
    stopping = RecordedWaits()
    queue, ledger = Queue(stopping, orders(2)), Failing(StoreUnavailable("down"), StoreUnavailable("down"))
    tested = Matcher(queue, ledger, Silent(), LOG, stopping)
    tested.run(["ACME", "BOLT"])
    assert tested.ready.is_set() and queue.deleted == ["r0", "r1"]
    assert ledger.reads[:4] == ["ACME", "ACME", "ACME", "BOLT"]
    first, second = stopping.waits[:2]
    assert 0 < first < second


def test_a_corrupt_ledger_ends_the_task():
    """Waiting would not repair it, and a matcher that goes on would extend it."""
    stopping = threading.Event()
    tested = Matcher(Queue(stopping), Failing(LedgerCorrupt("seq 3 follows 1")), Silent(), LOG, stopping)
    with pytest.raises(LedgerCorrupt):
        tested.run(["ACME"])
    assert not tested.ready.is_set()


@pytest.mark.parametrize(("count", "pauses"), [(1, True), (BATCH_MAX, False)])
def test_a_matcher_pauses_after_a_batch_that_is_not_full(count: int, pauses: bool):
    stopping = RecordedWaits()
    Matcher(Queue(stopping, orders(count)), MemoryLedger(), Silent(), LOG, stopping)._turn()
    assert [0 < wait <= PACE_S for wait in stopping.waits] == ([True] if pauses else [])


def test_lag_and_time_to_first_fill_are_measured_from_acceptance():
    """Only the first fill of a taker in this commit counts; the fills of its makers do not."""
    telemetry = RecordedTelemetry()
    tested = Sequencer(MemoryLedger(), telemetry, now_ns=lambda: 100 * MS)
    sells = [order_event(n, side="SELL", accepted_at_ns=(10 + n) * MS) for n in (1, 2)]
    tested.apply("ACME", [*sells, order_event(3, qty=2, accepted_at_ns=60 * MS)])
    values: dict[str, list[float]] = defaultdict(list)
    for name, value in telemetry.values:
        values[name].append(value)
    assert values == {"MatcherLagMs": [89.0, 88.0, 40.0], "TimeToFirstFillMs": [40.0]}
    assert telemetry.counts == {"Fills": 2}


def test_the_fill_of_an_order_that_was_accepted_earlier_gives_no_time_to_first_fill():
    """Its acceptance is in another commit, so its waiting time would be that of the other side."""
    telemetry = RecordedTelemetry()
    tested = Sequencer(MemoryLedger(), telemetry, now_ns=lambda: 100 * MS)
    tested.apply("ACME", [order_event(1, side="SELL", accepted_at_ns=10 * MS)])
    tested.apply("ACME", [order_event(2, accepted_at_ns=70 * MS)])
    assert [value for name, value in telemetry.values if name == "TimeToFirstFillMs"] == [30.0]


class Asked(MemoryLedger):
    """Records for which orders the store was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def unsequenced_order(self, order_id: str) -> IntakeEvent | None:
        self.asked.append(order_id)
        return super().unsequenced_order(order_id)


def test_the_store_is_asked_for_the_order_of_a_cancel_only_if_the_book_does_not_know_it():
    """Otherwise every cancel would cost a read."""
    ledger = Asked()
    tested = Sequencer(ledger, Silent())
    tested.apply("ACME", [order_event(1)])
    tested.apply("ACME", [order_event(2, type="CancelRequested", order_id="o1", client_id="c1")])
    tested.apply("ACME", [order_event(3, type="CancelRequested", order_id="o9", client_id="c1")])
    assert ledger.asked == ["o9"]
    assert [event.type for event in ledger.events["ACME"]] == ["accepted", "cancelled", "rejected"]


class Down(MemoryLedger):
    """Cannot be written, and fails its probe in a way that nobody expects."""

    def commit(self, commit: Commit) -> None:
        raise StoreUnavailable("down")

    def probe(self) -> None:
        raise ZeroDivisionError


def test_an_unexpected_error_ends_the_task_while_it_waits_for_the_ledger():
    """ECS starts a new one; a loop that goes on would hide the error."""
    stopping = RecordedWaits()
    tested = Matcher(LongPolling(stopping, orders(1)), Down(), Silent(), LOG, stopping)
    with pytest.raises(ZeroDivisionError):
        tested.run(["ACME"])
    assert stopping.is_set()


class TwoAtOnce(Queue):
    """Answers a receive only while another one is under way."""

    def __init__(self, stopping: threading.Event) -> None:
        super().__init__(stopping)
        self._both = threading.Barrier(2, timeout=5)

    def receive(self) -> list[Message]:
        self._both.wait()
        return super().receive()


def test_two_loops_receive_at_once():
    """One market's commit does not wait for another market's messages."""
    stopping = threading.Event()
    Matcher(TwoAtOnce(stopping), MemoryLedger(), Silent(), LOG, stopping).run(["ACME"])
    assert stopping.is_set()


def test_a_market_is_changed_under_its_lock():
    """A batch whose receipts have expired may still be in work when another loop receives it again."""
    tested, done = Sequencer(MemoryLedger(), Silent()), threading.Event()
    thread = threading.Thread(target=lambda: (tested.apply("ACME", [order_event(1)]), done.set()))
    with tested._locks["ACME"]:
        thread.start()
        assert not done.wait(0.05)
    assert done.wait(5)
    thread.join()
