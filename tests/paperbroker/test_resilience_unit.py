"""What keeps a task useful while its store is not: bounds of time, of tries, of places, and asking before promising."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from paperbroker import serving
from paperbroker.domain.events import IntakeEvent
from paperbroker.errors import ClientOverloaded, Overloaded, StoreThrottled, StoreUnavailable
from paperbroker.services.breaker import Breaker, State
from paperbroker.services.health import Readiness
from paperbroker.services.intake import Intake
from paperbroker.services.telemetry import Silent
from paperbroker.storage.clients import PROMPT_CONNECT_TIMEOUT_S, PROMPT_READ_TIMEOUT_S
from paperbroker.storage.tables import OrderTables
from tests.paperbroker.paperbroker_rig import new_order
from tests.paperbroker.scripted_aws import TABLES, Step, cancelled, scripted

# What the promises are measured by: a client hangs up after this time. Not taken from the code that must keep it.
CLIENT_S = 2.0
LOST = ReadTimeoutError(endpoint_url="http://nowhere")
THROTTLED = cancelled("None", "None", "ThrottlingError")
STARTED_S = 50.0
ASKED_MAX = 100


class Clock:
    """Moves when somebody sleeps, and with each call by what it takes."""

    def __init__(self) -> None:
        self.now_s = STARTED_S
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


class Nowhere:
    def offer(self, event: IntakeEvent) -> None:
        raise AssertionError("nothing was written")


def ask(step: Step, call_s: float) -> tuple[Clock, list[dict[str, Any]], Exception]:
    """One order before a store that always answers the same, so late; the clock, its requests, what the client is
    told."""
    clock = Clock()

    def answer(request: dict[str, Any]) -> Step:
        clock.now_s += call_s
        assert len(sent) <= ASKED_MAX, "asked without end"
        return step

    client, sent = scripted("dynamodb", answer, attempts=1)
    intake = Intake(OrderTables(client, TABLES), Nowhere(), now_s=lambda: clock.now_s, sleep=clock.sleep)
    with pytest.raises(StoreUnavailable) as told:
        intake.submit(new_order(1), "trace")
    return clock, sent, told.value


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


def test_store_that_does_not_answer_costs_no_more_than_a_client_waits():
    """Each call ends by its time-out, none starts when hardly anybody listens any more, and then comes the answer."""
    assert PROMPT_CONNECT_TIMEOUT_S + PROMPT_READ_TIMEOUT_S < CLIENT_S
    clock, _, _ = ask(LOST, PROMPT_READ_TIMEOUT_S)
    assert clock.now_s - PROMPT_READ_TIMEOUT_S - STARTED_S < CLIENT_S
    bulkhead = serving._bulkhead("tested", 1, Silent())  # pyright: ignore - only counts
    assert bulkhead.deadline() - time.monotonic() < CLIENT_S


def test_throttled_table_is_asked_few_times_and_not_at_once():
    """However quickly it refuses: another try is one more for it to refuse."""
    clock, sent, told = ask(THROTTLED, 0.001)
    assert isinstance(told, StoreThrottled)
    assert len(sent) <= 5
    assert len(clock.slept) == len(sent) - 1 and sum(clock.slept) > 0


@pytest.mark.parametrize("how", [{"failed": True, "took_s": 0.1}, {"failed": False, "took_s": CLIENT_S}])
def test_breaker_opens_when_calls_fail_or_take_too_long(how: dict[str, Any]):
    breaker = Breaker(4, now_s=lambda: STARTED_S)
    for _ in range(100):
        breaker.record_call(started_s=STARTED_S, **how)
    assert breaker.state is State.OPEN and not breaker.admits(0)


def test_lane_of_the_api_is_bounded():
    """More than twice its threads are not let in: who would wait longer than for one call is better told at once."""
    threads, gate = 2, threading.Event()

    async def main() -> list[Any]:
        bulkhead = serving._bulkhead("tested", threads, Silent())  # pyright: ignore - only counts
        calls = [bulkhead.run(f"c{n}", bulkhead.deadline(), gate.wait) for n in range(20 * threads)]
        asyncio.get_running_loop().call_later(0.05, gate.set)
        return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = asyncio.run(main())
    assert [type(outcome) for outcome in outcomes].count(Overloaded) == 18 * threads


def test_one_client_may_not_fill_the_api():
    threads, gate = 2, threading.Event()

    async def main() -> list[Any]:
        bulkhead = serving._bulkhead("tested", threads, Silent())  # pyright: ignore - only counts
        calls = [bulkhead.run("c1", bulkhead.deadline(), gate.wait) for _ in range(2 * threads)]
        asyncio.get_running_loop().call_later(0.05, gate.set)
        return await asyncio.gather(*calls, return_exceptions=True)

    assert ClientOverloaded in [type(outcome) for outcome in asyncio.run(main())]


def test_task_that_cannot_reach_its_store_is_not_ready():
    """It must not be given requests that it can only fail."""

    def away() -> None:
        raise StoreUnavailable("away")

    assert Readiness({"store": away}).answer()[0] == 503
    assert Readiness({"store": lambda: None}).answer()[0] == 200
