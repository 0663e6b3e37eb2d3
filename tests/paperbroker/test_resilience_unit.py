"""A task stays useful while its store does not: bounded time, tries and concurrency, and an honest readiness."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from paperbroker import serving
from paperbroker.errors import ClientOverloaded, Overloaded, StoreThrottled, StoreUnavailable
from paperbroker.services.breaker import Breaker, State
from paperbroker.services.health import Readiness
from paperbroker.services.telemetry import Silent
from paperbroker.storage.clients import PROMPT_CONNECT_TIMEOUT_S, PROMPT_READ_TIMEOUT_S
from tests.paperbroker.paperbroker_rig import new_order
from tests.paperbroker.scripted_aws import ScriptedIntake, Step, cancelled

# A client gives up after this time. Deliberately not taken from the code under test.
CLIENT_S = 2.0
LOST = ReadTimeoutError(endpoint_url="http://nowhere")
THROTTLED = cancelled("None", "None", "ThrottlingError")
CALLS_MAX = 100


def submit_in_vain(step: Step, call_s: float) -> tuple[ScriptedIntake, Exception]:
    """Submit an order to a store that gives the same answer to every call; return intake and the error."""
    rig = ScriptedIntake([step] * CALLS_MAX, call_s)
    with pytest.raises(StoreUnavailable) as caught:
        rig.intake.submit(new_order(1), "trace")
    assert rig.offered == []
    return rig, caught.value


def test_request_ends_within_the_clients_timeout_when_the_store_does_not_answer():
    """Each call is bounded by its timeout, and no call starts when too little time is left."""
    assert PROMPT_CONNECT_TIMEOUT_S + PROMPT_READ_TIMEOUT_S < CLIENT_S
    rig, _ = submit_in_vain(LOST, PROMPT_READ_TIMEOUT_S)
    assert rig.now_s - PROMPT_READ_TIMEOUT_S - rig.started_s < CLIENT_S
    bulkhead = serving._bulkhead("tested", 1, Silent())  # pyright: ignore - only counts
    assert bulkhead.deadline() - time.monotonic() < CLIENT_S


def test_throttled_write_is_retried_a_few_times_with_pauses():
    """Even when the table refuses quickly, because each retry adds to its load."""
    rig, error = submit_in_vain(THROTTLED, 0.001)
    assert isinstance(error, StoreThrottled)
    assert len(rig.sent) <= 5
    assert len(rig.slept) == len(rig.sent) - 1 and sum(rig.slept) > 0


@pytest.mark.parametrize("how", [{"failed": True, "took_s": 0.1}, {"failed": False, "took_s": CLIENT_S}])
def test_breaker_opens_when_calls_fail_or_take_too_long(how: dict[str, Any]):
    breaker = Breaker(4, now_s=lambda: 50.0)
    for _ in range(100):
        breaker.record_call(started_s=50.0, **how)
    assert breaker.state is State.OPEN and not breaker.admits(0)


def outcomes_of(clients: list[str]) -> list[type]:
    """Send one request per client at once through a bulkhead with two threads; return the types of the outcomes."""
    gate = threading.Event()

    async def main() -> list[Any]:
        bulkhead = serving._bulkhead("tested", 2, Silent())  # pyright: ignore - only counts
        calls = [bulkhead.run(client, bulkhead.deadline(), gate.wait) for client in clients]
        asyncio.get_running_loop().call_later(0.05, gate.set)
        return await asyncio.gather(*calls, return_exceptions=True)

    return [type(outcome) for outcome in asyncio.run(main())]


def test_api_admits_twice_as_many_requests_as_it_has_threads():
    """A request that would wait for more than one call is refused at once."""
    assert outcomes_of([f"c{n}" for n in range(40)]).count(Overloaded) == 36


def test_one_client_cannot_take_all_slots_of_the_api():
    assert ClientOverloaded in outcomes_of(["c1"] * 4)


def test_task_that_cannot_reach_its_store_is_not_ready():
    """The load balancer must not send it requests that it cannot serve."""

    def unreachable() -> None:
        raise StoreUnavailable("unreachable")

    assert Readiness({"store": unreachable}).answer()[0] == 503
    assert Readiness({"store": lambda: None}).answer()[0] == 200
