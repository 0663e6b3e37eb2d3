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


class IntakeRig:
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
    rig = IntakeRig(steps)
    assert rig.submit().first
    assert len(rig.offered) == 1
    assert rig.tokens == {rig.offered[0].event_id}


def test_throttling_to_the_end_is_said_to_have_done_nothing():
    """Few tries, each after a longer pause on average, then a refusal."""
    rig = IntakeRig([THROTTLED_WRITE] * 20)
    with pytest.raises(StoreThrottled):
        rig.submit()
    assert len(rig.sent) == THROTTLED_MAX and len(rig.slept) == THROTTLED_MAX - 1
    assert rig.offered == []


def test_rivals_to_the_end_are_said_to_have_left_nothing():
    rig = IntakeRig([CONFLICT, ABSENT] * 20)
    with pytest.raises(StoreContended):
        rig.submit()
    assert len(rig.sent) <= 2 * TRIES_MAX


@pytest.mark.parametrize("steps", [[LOST] * 9, [LOST, *[THROTTLED_WRITE] * 9], [LOST, *[CONFLICT, ABSENT] * 9]])
def test_one_lost_answer_makes_the_outcome_unknown(steps: list[Step]):
    """Whatever the later tries say: the first may have been written."""
    rig = IntakeRig(steps)
    with pytest.raises(StoreUnavailable, match="unknown") as caught:
        rig.submit()
    assert type(caught.value) is StoreUnavailable


@pytest.mark.parametrize(
    "trouble", [[THROTTLED_WRITE] * 20, [CONFLICT, ABSENT] * 20, [LOST] * 20], ids=["throttled", "rivals", "lost"]
)
def test_retry_of_what_failed_is_asked_of_the_store(trouble: list[Step]):
    """A 2xx stands on a transaction: a try that came to nothing has left no answer, neither an order's nor a
    cancel's."""
    rig = IntakeRig([])
    for ask in (rig.submit, rig.cancel):
        rig.answers = iter(trouble)
        with pytest.raises(StoreUnavailable):
            ask()
        rig.answers = iter([WRITTEN])
        assert ask().first
    assert [event.type for event in rig.offered] == [IntakeType.ORDER_ACCEPTED, IntakeType.CANCEL_REQUESTED]


def test_pauses_have_full_jitter():
    """Many clients' second tries are spread from at once to the limit."""
    first = [rig.slept[0] for rig in (IntakeRig([THROTTLED_WRITE, WRITTEN]) for _ in range(60)) if rig.submit()]
    assert min(first) < 0.2 * max(first) and len(set(first)) > 50


def test_no_call_is_made_that_could_not_be_answered_in_time():
    """Answers that take long use up the time; what is left of it is not spent on a call that would come too late."""
    rig = IntakeRig([LOST] * 20, call_s=1.2)
    started = rig.now_s
    with pytest.raises(StoreUnavailable):
        rig.submit()
    assert len(rig.sent) <= 2
    assert rig.now_s - 1.2 <= started + REQUEST_S - CALL_S_MIN


def test_slow_read_leaves_a_cancel_unwritten_and_says_so():
    """Its order was found too late: nothing was asked of the store that could have an effect."""
    found = {"pk": {"S": "order#o1"}, "clientId": {"S": "c1"}, "market": {"S": "ACME"}}
    rig = IntakeRig([(200, {"Item": found})], call_s=1.5)
    with pytest.raises(Overloaded):
        rig.cancel()
    assert len(rig.sent) == 1


def test_order_that_cannot_be_read_is_no_unknown_outcome():
    with pytest.raises(Overloaded):
        IntakeRig([LOST] * 9, call_s=0.5).cancel()
    with pytest.raises(StoreThrottled):
        IntakeRig([THROTTLED] * 9).cancel()


def test_cancel_that_follows_its_order_here_is_one_call():
    """Client and market are known; a stranger is refused without any."""
    rig = IntakeRig([WRITTEN, WRITTEN])
    rig.submit()
    assert rig.cancel().first
    assert len(rig.sent) == 2 and rig.offered[1].market == "ACME"
    with pytest.raises(NotOwner):
        rig.intake.cancel(CancelOrder(client_id="c2", idempotency_key="k9", order_id="o1"), "t")


def test_orders_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(intake, "OWNERS_MAX", 2)
    rig = IntakeRig([WRITTEN] * 4)
    for n in range(4):
        rig.intake.submit(new_order(n), "t")
    assert list(rig.intake._owners._found) == ["o2", "o3"]
