"""Intake in front of a failing store: it retries within its budget, and its error tells whether a write may exist."""

from __future__ import annotations

import json
import threading

import pytest
from botocore.exceptions import ReadTimeoutError

from paperbroker.domain.events import IntakeType
from paperbroker.domain.orders import CancelOrder
from paperbroker.errors import NotOwner, Overloaded, StoreContended, StoreThrottled, StoreUnavailable, UnknownOrder
from paperbroker.services import intake
from paperbroker.services.intake import Receipt
from paperbroker.services.retry_budget import CALL_S_MIN, REQUEST_S, THROTTLED_MAX, TRIES_MAX
from tests.paperbroker.paperbroker_rig import new_order
from tests.paperbroker.scripted_aws import OK, ScriptedIntake, Step, cancelled, refusal

WRITTEN = ABSENT = OK
THROTTLED = refusal("ProvisionedThroughputExceededException")
THROTTLED_WRITE = cancelled("None", "None", "ThrottlingError")
CONFLICT = cancelled("TransactionConflict", "None", "None")
LOST = ReadTimeoutError(endpoint_url="http://nowhere")


def submit(rig: ScriptedIntake) -> Receipt:
    return rig.intake.submit(new_order(1), "t")


def cancel(rig: ScriptedIntake, client: str = "c1") -> Receipt:
    return rig.intake.cancel(CancelOrder(client_id=client, idempotency_key="k9", order_id="o1"), "t")


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
def test_a_passing_failure_is_hidden_from_the_client(steps: list[Step]):
    """The same transaction is retried under one token, and the event is sent once."""
    rig = ScriptedIntake(steps)
    assert submit(rig).first
    assert len(rig.offered) == 1
    tokens = {request["ClientRequestToken"] for request in rig.sent if "ClientRequestToken" in request}
    assert tokens == {rig.offered[0].event_id}


def test_lasting_throttling_is_reported_as_a_write_without_effect():
    """After few tries with pauses in between."""
    rig = ScriptedIntake([THROTTLED_WRITE] * 20)
    with pytest.raises(StoreThrottled):
        submit(rig)
    assert len(rig.sent) == THROTTLED_MAX and len(rig.slept) == THROTTLED_MAX - 1
    assert rig.offered == []


def test_lasting_conflicts_are_reported_as_a_write_without_effect():
    rig = ScriptedIntake([CONFLICT, ABSENT] * 20)
    with pytest.raises(StoreContended):
        submit(rig)
    assert len(rig.sent) <= 2 * TRIES_MAX


def test_tries_are_bounded_even_if_they_take_no_time():
    """Each try is a transaction and a read of the key."""
    rig = ScriptedIntake([CONFLICT, ABSENT] * 20)
    rig.intake._sleep = rig.slept.append
    with pytest.raises(StoreContended):
        submit(rig)
    assert len(rig.sent) == 2 * TRIES_MAX and len(rig.slept) == TRIES_MAX - 1


def test_a_cancel_of_an_unknown_order_is_refused_after_one_read():
    rig = ScriptedIntake([ABSENT])
    with pytest.raises(UnknownOrder, match="o1"):
        cancel(rig)
    assert len(rig.sent) == 1 and rig.offered == []


def test_the_answer_to_a_cancel_names_the_order_and_the_request():
    rig = ScriptedIntake([WRITTEN, WRITTEN])
    submit(rig)
    answer = json.loads(cancel(rig).answer)
    accepted_at = rig.offered[1].accepted_at_ns
    assert answer == {
        "orderId": "o1", "clientId": "c1", "idempotencyKey": "k9", "symbol": "ACME", "status": "CANCEL_REQUESTED",
        "acceptedAt": accepted_at,
    }  # fmt: skip


@pytest.mark.parametrize("steps", [[LOST] * 9, [LOST, *[THROTTLED_WRITE] * 9], [LOST, *[CONFLICT, ABSENT] * 9]])
def test_one_lost_answer_makes_the_outcome_unknown(steps: list[Step]):
    """Whatever later tries return: the first one may have been written."""
    rig = ScriptedIntake(steps)
    with pytest.raises(StoreUnavailable, match="unknown") as caught:
        submit(rig)
    assert type(caught.value) is StoreUnavailable


@pytest.mark.parametrize(
    "failures", [[THROTTLED_WRITE] * 20, [CONFLICT, ABSENT] * 20, [LOST] * 20], ids=["throttled", "conflict", "lost"]
)
def test_retry_of_a_failed_request_goes_to_the_store(failures: list[Step]):
    """A 2xx needs a transaction: a failed try of an order or a cancel leaves no answer in memory."""
    rig = ScriptedIntake([])
    for request in (submit, cancel):
        rig.steps = iter(failures)
        with pytest.raises(StoreUnavailable):
            request(rig)
        rig.steps = iter([WRITTEN])
        assert request(rig).first
    assert [event.type for event in rig.offered] == [IntakeType.ORDER_ACCEPTED, IntakeType.CANCEL_REQUESTED]


def test_pauses_have_full_jitter():
    """The first retries of many clients are spread from zero to the limit."""
    first = [rig.slept[0] for rig in (ScriptedIntake([THROTTLED_WRITE, WRITTEN]) for _ in range(60)) if submit(rig)]
    assert min(first) < 0.2 * max(first) and len(set(first)) > 50


def test_no_call_is_made_that_could_not_be_answered_before_the_deadline():
    """Slow answers use up the request's time; what is left is not spent on a call that would end too late."""
    rig = ScriptedIntake([LOST] * 20, call_s=1.2)
    with pytest.raises(StoreUnavailable):
        submit(rig)
    assert len(rig.sent) <= 2
    assert rig.now_s - 1.2 <= rig.started_s + REQUEST_S - CALL_S_MIN


def test_cancel_whose_order_is_read_too_late_has_no_effect():
    """Nothing is written, and the error says so."""
    found = {"pk": {"S": "order#o1"}, "clientId": {"S": "c1"}, "market": {"S": "ACME"}}
    rig = ScriptedIntake([(200, {"Item": found})], call_s=1.5)
    with pytest.raises(Overloaded):
        cancel(rig)
    assert len(rig.sent) == 1


def test_cancel_whose_order_cannot_be_read_is_refused_without_effect():
    with pytest.raises(Overloaded):
        cancel(ScriptedIntake([LOST] * 9, call_s=0.5))
    with pytest.raises(StoreThrottled):
        cancel(ScriptedIntake([THROTTLED] * 9))


def test_cancel_on_the_task_that_accepted_the_order_is_one_call():
    """Client and market are in memory. Another client is refused without a call."""
    rig = ScriptedIntake([WRITTEN, WRITTEN])
    submit(rig)
    assert cancel(rig).first
    assert len(rig.sent) == 2 and rig.offered[1].market == "ACME"
    with pytest.raises(NotOwner):
        cancel(rig, client="c2")


def test_memory_of_accepted_orders_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(intake, "OWNERS_MAX", 2)
    rig = ScriptedIntake([WRITTEN] * 4)
    for n in range(4):
        rig.intake.submit(new_order(n), "t")
    assert list(rig.intake._owners._found) == ["o2", "o3"]


def test_owners_are_remembered_under_their_lock():
    """Requests run in many threads, and an eviction may not meet another one."""
    owners, done = intake._Owners(), threading.Event()
    thread = threading.Thread(target=lambda: (owners.put("o1", "c1", "ACME"), done.set()))
    with owners._lock:
        thread.start()
        assert not done.wait(0.05)
    assert done.wait(5) and owners.get("o1") == ("c1", "ACME")
    thread.join()
