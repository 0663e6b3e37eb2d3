"""PaperBroker while parts of it die or what it stands on goes away: real signals, real processes."""

from __future__ import annotations

import itertools
import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from paperbroker.main import STOP_TIMEOUT_S
from paperbroker.serving import DRAIN_S_MAX, FINISH_S, QUIET_S, stop_listening_at
from paperbroker.storage.tables import OrderTables
from tests.paperbroker.paperbroker_rig import Answer, BlackHole, IntakeRig, Process, Stage, new_order, running
from tests.polling import wait_until


def order(n: int, **changed: Any) -> dict[str, Any]:
    base = {"clientId": "c1", "idempotencyKey": f"k{n}", "orderId": f"o{n}", "symbol": "ACME", "side": "BUY"}
    return base | {"type": "LIMIT", "qty": 1, "price": 100} | changed


@pytest.mark.parametrize("role", ["api", "matcher", "relay"])
def test_sigterm_ends_each_role_with_exit_code_0(stage: Stage, tmp_path: Path, role: str):
    """Within its stop time-out, logging JSON lines that carry the run id."""
    with running(role, stage.env, tmp_path) as process:
        started = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - started < 5
    lines = [json.loads(line) for line in process.log.read_text().splitlines()]
    assert {line["run_id"] for line in lines} == {stage.settings.run_id}
    assert lines[-1]["event"] == "task.stopped"


def test_draining_api_fails_readyz_but_finishes_what_it_accepted(stage: Stage, tmp_path: Path):
    """Requests in flight at SIGTERM are all answered, and every acknowledged order reaches the queue."""
    with running("api", stage.env, tmp_path) as api, ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(api.call, "POST", "/orders", order(n)) for n in range(24)]
        api.popen.send_signal(signal.SIGTERM)
        wait_until(lambda: api.call("GET", "/readyz").status == 503, timeout_s=2, interval_s=0.01)
        late = api.call("POST", "/orders", order(99))
        assert late.status == 201 and late.headers["connection"] == "close"
        assert [future.result().status for future in answers] == [201] * 24
        assert api.popen.wait(5) == 0
    assert len(stage.queued()) == 25
    assert stage.items(stage.settings.tables.outbox) == []


def test_api_that_is_told_to_leave_serves_until_nobody_asks_any_more(stage: Stage, tmp_path: Path):
    """A load balancer that was not told sends on until its checks have failed twice: no request may find nobody."""
    numbers = itertools.count()

    def ask_until(end: float) -> int:
        """How many orders were accepted, one right after the other."""
        asked = 0
        while time.monotonic() < end:
            assert api.call("POST", "/orders", order(next(numbers))).status == 201
            asked += 1
        return asked

    with running("api", stage.env, tmp_path) as api, ThreadPoolExecutor(4) as pool:
        api.popen.send_signal(signal.SIGTERM)
        crowd = [pool.submit(ask_until, time.monotonic() + 4 * QUIET_S) for _ in range(4)]
        accepted = sum(one.result() for one in crowd)
        assert api.call("GET", "/readyz").status == 503
        assert api.popen.wait(5) == 0, "a health check is nobody who asks"
    assert len(stage.queued()) == accepted


def test_api_leaves_in_time_even_if_somebody_goes_on_asking():
    """Before ECS kills it, with what it needs to finish what it has accepted."""
    asked = [100.0 + n / 10 for n in range(300)]
    assert max(stop_listening_at(100.0, at) for at in asked) == 100 + DRAIN_S_MAX
    assert stop_listening_at(100.0, float("-inf")) == 100.0 + QUIET_S
    assert stop_listening_at(100.0, 103.0) == 103.0 + QUIET_S
    assert api_stop_timeout_s() > DRAIN_S_MAX + FINISH_S + 2 * STOP_TIMEOUT_S


def api_stop_timeout_s() -> int:
    text = (Path(__file__).parents[2] / "paperbroker" / "deploy" / "stack.yaml").read_text()
    return int(text.partition("paperbroker.main, api]")[2].partition("StopTimeout:")[2].split()[0])


def test_order_acknowledged_by_an_api_that_is_killed_is_sent_by_the_relay(stage: Stage, tmp_path: Path):
    """Only the transaction happened: no send, no delete. The relay brings the event to the queue, once."""
    tables = OrderTables(stage.dynamodb, stage.settings.tables)
    rig = IntakeRig(stage)  # never entered: its sender does not run, as if killed after the transaction
    rig.intake.submit(new_order(1), "trace")
    assert len(stage.items(stage.settings.tables.outbox)) == 1
    with running("relay", stage.env, tmp_path):
        wait_until(lambda: not stage.items(stage.settings.tables.outbox), timeout_s=12)
    assert [json.loads(body)["orderId"] for body in stage.queued()] == ["o1"]
    assert tables.find_order("o1") is not None


@pytest.mark.slow
def test_killed_matcher_is_replaced_by_the_other_one(stage: Stage, tmp_path: Path):
    """SIGKILL in the middle of a stream of orders: the rest is matched by the survivor, each order once."""
    with (
        running("api", stage.env, tmp_path) as api,
        running("matcher", stage.env, tmp_path) as victim,
        running("matcher", stage.env, tmp_path),
    ):
        for n in range(30):
            assert (
                api.call("POST", "/orders", order(n, side="BUY" if n % 2 else "SELL", clientId=f"c{n}")).status == 201
            )
            if n == 10:
                victim.stop(signal.SIGKILL)
        wait_until(lambda: sequenced(stage) == 30, timeout_s=15)
    rows = stage.ledger("ACME")
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert len({row["orderId"] for row in rows if row["type"] == "accepted"}) == 30
    assert len([row for row in rows if row["type"] == "fill"]) == 15


def sequenced(stage: Stage) -> int:
    return len([row for row in stage.ledger("ACME") if row["type"] == "accepted"])


@pytest.mark.slow
def test_api_that_is_cut_off_from_aws_answers_503_in_time_and_recovers(stage: Stage, tmp_path: Path, hole: BlackHole):
    """The outcome is unknown: 503 with Retry-After, never a hang; the same key succeeds afterwards."""
    with running("api", stage.env | {"AWS_ENDPOINT_URL": hole.endpoint}, tmp_path) as api:
        assert api.call("POST", "/orders", order(1)).status == 201
        hole.cut.set()
        started = time.monotonic()
        cut = api.call("POST", "/orders", order(2))
        assert cut.status == 503 and cut.headers["retry-after"] == "1"
        assert time.monotonic() - started < 6
        assert api.call("GET", "/readyz").status == 503
        assert api.call("GET", "/healthz").status == 200
        hole.cut.clear()
        assert wait_until(lambda: api.call("POST", "/orders", order(2)).status in (200, 201), timeout_s=8)
        wait_until(lambda: api.call("GET", "/readyz").status == 200)


@pytest.mark.slow
def test_matcher_that_is_cut_off_does_not_block_its_market(stage: Stage, tmp_path: Path, hole: BlackHole):
    """A rival matches the orders that come meanwhile within little more than the visibility time-out."""
    with (
        running("api", stage.env, tmp_path) as api,
        running("matcher", stage.env | {"AWS_ENDPOINT_URL": hole.endpoint}, tmp_path),
        running("matcher", stage.env, tmp_path),
    ):
        api.call("POST", "/orders", order(0))
        wait_until(lambda: sequenced(stage) == 1)
        hole.cut.set()
        for n in range(1, 9):
            api.call("POST", "/orders", order(n))
        wait_until(lambda: sequenced(stage) == 9, timeout_s=12)
        hole.cut.clear()
        for n in range(9, 20):
            api.call("POST", "/orders", order(n))
        wait_until(lambda: sequenced(stage) == 20, timeout_s=12)
    assert len({row["orderId"] for row in stage.ledger("ACME")}) == 20


@pytest.mark.slow
def test_crowd_is_shed_at_once(stage: Stage, tmp_path: Path, hole: BlackHole):
    """With every place taken by requests that hang, one client's next one gets 429 and others' get 503, quickly."""
    with (
        running("api", stage.env | {"AWS_ENDPOINT_URL": hole.endpoint}, tmp_path) as api,
        ThreadPoolExecutor(80) as pool,
    ):
        hole.cut.set()
        for n in range(40):
            pool.submit(call_quietly, api, order(n))
        wait_until(lambda: api.call("POST", "/orders", order(1000)).status == 429, timeout_s=3)
        for n in range(40):
            pool.submit(call_quietly, api, order(2000 + n, clientId=f"c{2 + n}"))
        shed = wait_until(lambda: quick_refusal(api), timeout_s=3)
        assert shed.json == {"error": "Overloaded"} and shed.headers["retry-after"] == "1"
        hole.cut.clear()


def quick_refusal(api: Process) -> Answer | None:
    """The 503 of one more request, if it came at once; None if the request found a place and hangs with the others."""
    try:
        answer = api.call("POST", "/orders", order(3000, clientId="c1000"), timeout_s=0.5)
    except TimeoutError:
        return None
    return answer if answer.status == 503 else None


def call_quietly(api: Process, body: dict[str, Any]) -> None:
    try:
        api.call("POST", "/orders", body, timeout_s=15)
    except OSError:
        return
