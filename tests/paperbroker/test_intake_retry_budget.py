"""Intake before a store in trouble: it asks again while there is time, and never says more than it knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from paperbroker.domain.events import IntakeEvent, IntakeType
from paperbroker.domain.orders import CancelOrder
from paperbroker.errors import NotOwner, Overloaded, StoreContended, StoreThrottled, StoreUnavailable
from paperbroker.services import intake
from paperbroker.services.intake import Intake, Receipt
from paperbroker.services.retry_budget import CALL_S_MIN, REQUEST_S, THROTTLED_MAX, TRIES_MAX
from paperbroker.storage.tables import OrderTables
from tests.paperbroker.paperbroker_rig import new_order
from tests.paperbroker.scripted_aws import TABLES, Step, cancelled, refusal, scripted

WRITTEN: Step = (200, {})
ABSENT: Step = (200, {})
THROTTLED = refusal("ProvisionedThroughputExceededException")
THROTTLED_WRITE = cancelled("None", "None", "ThrottlingError")
CONFLICT = cancelled("TransactionConflict", "None", "None")
LOST = ReadTimeoutError(endpoint_url="http://nowhere")


class Desk:
    """Intake on scripted answers, with a clock that moves only when it sleeps or a call takes time."""

    def __init__(self, steps: Sequence[Step], call_s: float = 0.0) -> None:
        self.now_s = 50.0
        self.slept: list[float] = []
        self.offered: list[IntakeEvent] = []
        self.answers = iter(steps)

        def step(request: dict[str, Any]) -> Step:
            self.now_s += call_s
            return next(self.answers)

        client, self.sent = scripted("dynamodb", step, attempts=1)
        self.intake = Intake(OrderTables(client, TABLES), self, now_s=lambda: self.now_s, sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds

    def offer(self, event: IntakeEvent) -> None:
        self.offered.append(event)

    def submit(self) -> Receipt:
        return self.intake.submit(new_order(1), "t", self.now_s + REQUEST_S)

    def cancel(self) -> Receipt:
        cancel = CancelOrder(client_id="c1", idempotency_key="k9", order_id="o1")
        return self.intake.cancel(cancel, "t", self.now_s + REQUEST_S)

    @property
    def tokens(self) -> set[str]:
        return {request["ClientRequestToken"] for request in self.sent if "ClientRequestToken" in request}


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@pytest.mark.parametrize(
    "steps",
    [
        [THROTTLED_WRITE, WRITTEN],
        [THROTTLED, THROTTLED_WRITE, WRITTEN],
        [LOST, WRITTEN],
        [CONFLICT, ABSENT, WRITTEN],
        [CONFLICT, ABSENT, CONFLICT, ABSENT, LOST, WRITTEN],
    ],
)
def test_trouble_that_passes_is_not_the_clients(steps: list[Step]):
    """The same transaction is tried again, under one token, and the order is handed on once."""
    desk = Desk(steps)
    assert desk.submit().first
    assert len(desk.offered) == 1
    assert desk.tokens == {desk.offered[0].event_id}


def test_throttling_to_the_end_is_said_to_have_done_nothing():
    """Few tries, each after a longer pause on average, then a refusal."""
    desk = Desk([THROTTLED_WRITE] * 20)
    with pytest.raises(StoreThrottled):
        desk.submit()
    assert len(desk.sent) == THROTTLED_MAX and len(desk.slept) == THROTTLED_MAX - 1
    assert desk.offered == []


def test_rivals_to_the_end_are_said_to_have_left_nothing():
    desk = Desk([CONFLICT, ABSENT] * 20)
    with pytest.raises(StoreContended):
        desk.submit()
    assert len(desk.sent) <= 2 * TRIES_MAX


@pytest.mark.parametrize("steps", [[LOST] * 9, [LOST, *[THROTTLED_WRITE] * 9], [LOST, *[CONFLICT, ABSENT] * 9]])
def test_one_lost_answer_makes_the_outcome_unknown(steps: list[Step]):
    """Whatever the later tries say: the first may have been written."""
    desk = Desk(steps)
    with pytest.raises(StoreUnavailable, match="unknown") as caught:
        desk.submit()
    assert type(caught.value) is StoreUnavailable


@pytest.mark.parametrize(
    "trouble", [[THROTTLED_WRITE] * 20, [CONFLICT, ABSENT] * 20, [LOST] * 20], ids=["throttled", "rivals", "lost"]
)
def test_retry_of_what_failed_is_asked_of_the_store(trouble: list[Step]):
    """A 2xx stands on a transaction: a try that came to nothing has left no answer, neither an order's nor a
    cancel's."""
    desk = Desk([])
    for ask in (desk.submit, desk.cancel):
        desk.answers = iter(trouble)
        with pytest.raises(StoreUnavailable):
            ask()
        desk.answers = iter([WRITTEN])
        assert ask().first
    assert [event.type for event in desk.offered] == [IntakeType.ORDER_ACCEPTED, IntakeType.CANCEL_REQUESTED]


def test_pauses_have_full_jitter():
    """Many clients' second tries are spread from at once to the limit."""
    first = [desk.slept[0] for desk in (Desk([THROTTLED_WRITE, WRITTEN]) for _ in range(60)) if desk.submit()]
    assert min(first) < 0.2 * max(first) and len(set(first)) > 50


def test_no_call_is_made_that_could_not_be_answered_in_time():
    """Answers that take long use up the time; what is left of it is not spent on a call that would come too late."""
    desk = Desk([LOST] * 20, call_s=1.2)
    started = desk.now_s
    with pytest.raises(StoreUnavailable):
        desk.submit()
    assert len(desk.sent) <= 2
    assert desk.now_s - 1.2 <= started + REQUEST_S - CALL_S_MIN


def test_slow_read_leaves_a_cancel_unwritten_and_says_so():
    """Its order was found too late: nothing was asked of the store that could have an effect."""
    found = {"pk": {"S": "order#o1"}, "clientId": {"S": "c1"}, "market": {"S": "ACME"}}
    desk = Desk([(200, {"Item": found})], call_s=1.5)
    with pytest.raises(Overloaded):
        desk.cancel()
    assert len(desk.sent) == 1


def test_order_that_cannot_be_read_is_no_unknown_outcome():
    with pytest.raises(Overloaded):
        Desk([LOST] * 9, call_s=0.5).cancel()
    with pytest.raises(StoreThrottled):
        Desk([THROTTLED] * 9).cancel()


def test_cancel_that_follows_its_order_here_is_one_call():
    """Client and market are known; a stranger is refused without any."""
    desk = Desk([WRITTEN, WRITTEN])
    desk.submit()
    assert desk.cancel().first
    assert len(desk.sent) == 2 and desk.offered[1].market == "ACME"
    with pytest.raises(NotOwner):
        desk.intake.cancel(CancelOrder(client_id="c2", idempotency_key="k9", order_id="o1"), "t")


def test_orders_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(intake, "OWNERS_MAX", 2)
    desk = Desk([WRITTEN] * 4)
    for n in range(4):
        desk.intake.submit(new_order(n), "t")
    assert list(desk.intake._owners._found) == ["o2", "o3"]
