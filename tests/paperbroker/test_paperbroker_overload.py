"""PaperBroker in front of a slow or throttled store: quick and correct refusals, then recovery without help."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.paperbroker.feature_flags import FlagStore
from tests.paperbroker.paperbroker_rig import Answer, Process, Stage, order_body, running
from tests.polling import wait_until

CROWD = 24
SLOW_MS = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    answer: Answer
    took_s: float


def submit(api: Process, n: int) -> Timed:
    started = time.monotonic()
    answer = api.call("POST", "/orders", order_body(n, clientId=f"c{n}"))
    return Timed(answer=answer, took_s=time.monotonic() - started)


def crowd(api: Process, numbers: range) -> list[Timed]:
    with ThreadPoolExecutor(CROWD) as pool:
        return list(pool.map(lambda n: submit(api, n), numbers))


def all_accepted(answers: list[Timed]) -> bool:
    return {timed.answer.status for timed in answers} <= {200, 201}


@pytest.mark.slow
def test_slow_store_sheds_quickly_and_accepts_again_by_itself(stage: Stage, flag_store: FlagStore, tmp_path: Path):
    """With the delay flag, some slow answers make the API refuse further orders at once, while the task stays ready.

    The refusals carry Retry-After. Without the flag, everything is accepted again, each order once.
    """
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
        # The breaker first admits a few requests, and closes when they were fast.
        for start in (100, 200, 300):
            wait_until(lambda start=start: all_accepted(crowd(api, range(start, start + CROWD))), timeout_s=8)
    orders = Counter(item["orderId"] for item in stage.items(stage.settings.tables.orders) if "orderId" in item)
    assert set(orders.values()) == {1}


@pytest.mark.slow
def test_throttled_orders_are_refused_with_retry_after_and_none_is_lost_or_doubled(local_stage: Stage, tmp_path: Path):
    """With too little write capacity, some orders are accepted and the rest refused without effect.

    With the capacity back, all are accepted, and the matcher, which was throttled too, sequences each once.
    """
    stage = local_stage
    with running("api", stage.env, tmp_path) as api, running("matcher", stage.env, tmp_path):
        assert {timed.answer.status for timed in crowd(api, range(CROWD))} == {201}
        stage.limit_order_writes(4)
        during = [timed for start in (100, 200) for timed in crowd(api, range(start, start + CROWD))]
        refused = [timed for timed in during if timed.answer.status == 503]
        assert refused and {timed.answer.headers["retry-after"] for timed in refused} == {"1"}
        assert "StoreThrottled" in {timed.answer.json["error"] for timed in refused}
        assert max(timed.took_s for timed in during) < 4
        assert api.call("GET", "/readyz").status == 200
        stored = {item["orderId"] for item in stage.items(stage.settings.tables.orders) if "orderId" in item}
        acknowledged = {timed.answer.json["orderId"] for timed in during if timed.answer.status == 201}
        assert acknowledged == {name for name in stored if int(name[1:]) >= 100}
        stage.limit_order_writes(-1)
        again = [timed for start in (100, 200) for timed in crowd(api, range(start, start + CROWD))]
        assert {timed.answer.status for timed in again} <= {200, 201}
        wanted = 3 * CROWD
        wait_until(lambda: len(stage.accepted_ids()) >= wanted, timeout_s=20)
    assert len(stage.accepted_ids()) == len(set(stage.accepted_ids())) == wanted
