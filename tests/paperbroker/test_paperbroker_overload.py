"""PaperBroker before a store that is slow or out of capacity: quick refusals, honest ones, and back by itself."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kit.aws import start_local
from paperbroker.storage.clients import Clients
from tests.paperbroker.feature_flags import FlagStore
from tests.paperbroker.paperbroker_rig import REGION, Answer, Process, Stage, running
from tests.polling import wait_until

CROWD = 24
SLOW_MS = 1500


def order(n: int, **changed: Any) -> dict[str, Any]:
    base = {"clientId": f"c{n}", "idempotencyKey": f"k{n}", "orderId": f"o{n}", "symbol": "ACME", "side": "BUY"}
    return base | {"type": "LIMIT", "qty": 1, "price": 100} | changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    answer: Answer
    took_s: float


def submit(api: Process, n: int) -> Timed:
    started = time.monotonic()
    answer = api.call("POST", "/orders", order(n))
    return Timed(answer=answer, took_s=time.monotonic() - started)


def crowd(api: Process, numbers: range) -> list[Timed]:
    with ThreadPoolExecutor(CROWD) as pool:
        return list(pool.map(lambda n: submit(api, n), numbers))


def all_taken(answers: list[Timed]) -> bool:
    return {timed.answer.status for timed in answers} <= {200, 201}


@pytest.mark.slow
def test_slow_store_is_shed_quickly_and_taken_back_by_itself(stage: Stage, flag_store: FlagStore, tmp_path: Path):
    """The flag slows intake's store calls down: after some slow answers the rest is refused at once, with a time to
    come back; the task stays ready; with the flag gone everything is accepted again, each order once."""
    flag_store.deploy(0)
    with running("api", stage.env | flag_store.env, tmp_path) as api:
        assert {timed.answer.status for timed in crowd(api, range(CROWD))} == {201}
        flag_store.deploy(SLOW_MS)
        slow = wait_until(
            lambda: timed if (timed := submit(api, time.monotonic_ns())).took_s > 1 else None, timeout_s=5
        )
        assert slow.answer.status == 201
        during = [timed for start in (100, 200, 300) for timed in crowd(api, range(start, start + CROWD))]
        shed = [timed for timed in during if timed.answer.status == 503 and timed.answer.json["error"] == "Overloaded"]
        assert len(shed) >= CROWD / 2
        assert all(timed.answer.headers["retry-after"] == "1" for timed in shed)
        assert sorted(timed.took_s for timed in shed)[len(shed) // 2] < SLOW_MS / 1000 / 3
        assert {timed.answer.status for timed in during} <= {201, 503}
        assert api.call("GET", "/readyz").status == 200
        flag_store.deploy(0)
        wait_until(lambda: submit(api, time.monotonic_ns()).answer.status == 201, timeout_s=8)
        # The breaker lets a few through first and opens wholly when they were quick: a crowd soon finds it so.
        for start in (100, 200, 300):
            wait_until(lambda start=start: all_taken(crowd(api, range(start, start + CROWD))), timeout_s=8)
    orders = Counter(item["orderId"] for item in stage.items(stage.settings.tables.orders) if "orderId" in item)
    assert set(orders.values()) == {1}


@pytest.fixture
def local_stage(new_stage: Callable[..., Stage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A stage in the kit's own local AWS, whose tables have a capacity."""
    with start_local(tmp_path / "cloud", log=tmp_path / "cloud.log") as cloud:
        env = {
            "AWS_ENDPOINT_URL": cloud.endpoint,
            "AWS_ACCESS_KEY_ID": "gameday",
            "AWS_SECRET_ACCESS_KEY": "gameday",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        yield new_stage(Clients(REGION).make("dynamodb"), Clients(REGION).make("sqs", read_timeout_s=4), env)


@pytest.mark.slow
def test_throttled_orders_are_refused_with_a_time_and_none_is_lost_or_doubled(local_stage: Stage, tmp_path: Path):
    """A write capacity far below the demand: what fits is accepted, the rest is told to come back and that nothing
    was done; with the capacity back all are accepted, and the matcher, throttled too, sequences each once."""
    stage = local_stage
    orders_table = stage.settings.tables.orders

    def limit(units: int) -> None:
        stage.dynamodb.update_table(TableName=orders_table, OnDemandThroughput={"MaxWriteRequestUnits": units})

    with running("api", stage.env, tmp_path) as api, running("matcher", stage.env, tmp_path):
        assert {timed.answer.status for timed in crowd(api, range(CROWD))} == {201}
        limit(4)
        during = [timed for start in (100, 200) for timed in crowd(api, range(start, start + CROWD))]
        refused = [timed for timed in during if timed.answer.status == 503]
        assert refused and {timed.answer.headers["retry-after"] for timed in refused} == {"1"}
        assert "StoreThrottled" in {timed.answer.json["error"] for timed in refused}
        assert max(timed.took_s for timed in during) < 4
        assert api.call("GET", "/readyz").status == 200
        stored = {item["orderId"] for item in stage.items(orders_table) if "orderId" in item}
        told = {timed.answer.json["orderId"] for timed in during if timed.answer.status == 201}
        assert told == {name for name in stored if int(name[1:]) >= 100}
        limit(-1)
        again = [timed for start in (100, 200) for timed in crowd(api, range(start, start + CROWD))]
        assert {timed.answer.status for timed in again} <= {200, 201}
        wanted = 3 * CROWD
        wait_until(lambda: len(accepted(stage)) >= wanted, timeout_s=20)
    assert Counter(accepted(stage)) == Counter(dict.fromkeys(set(accepted(stage)), 1))
    assert len(accepted(stage)) == wanted


def accepted(stage: Stage) -> list[str]:
    return [row["orderId"] for row in stage.ledger("ACME") if row["type"] == "accepted"]
