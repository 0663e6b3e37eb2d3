"""PaperBroker while its processes are stopped or killed, or AWS is unreachable: real processes and signals."""

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
from tests.paperbroker.paperbroker_rig import Answer, IntakeRig, Process, Stage, new_order, order_body, running
from tests.paperbroker.tcp_proxy import TcpProxy
from tests.polling import wait_until


@pytest.mark.parametrize("role", ["api", "matcher", "relay"])
def test_sigterm_ends_each_role_with_exit_code_0(stage: Stage, tmp_path: Path, role: str):
    """Within its stop timeout, with JSON log lines that carry the run id."""
    with running(role, stage.env, tmp_path) as process:
        started = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - started < 5
    lines = [json.loads(line) for line in process.log.read_text().splitlines()]
    assert {line["run_id"] for line in lines} == {stage.settings.run_id}
    assert lines[-1]["event"] == "task.stopped"


def test_draining_api_fails_readyz_but_finishes_accepted_requests(stage: Stage, tmp_path: Path):
    """Requests in flight at SIGTERM are all answered, and every acknowledged order reaches the queue."""
    with running("api", stage.env, tmp_path) as api, ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(api.call, "POST", "/orders", order_body(n)) for n in range(24)]
        api.popen.send_signal(signal.SIGTERM)
        wait_until(lambda: api.call("GET", "/readyz").status == 503, timeout_s=2, interval_s=0.01)
        late = api.call("POST", "/orders", order_body(99))
        assert late.status == 201 and late.headers["connection"] == "close"
        assert [future.result().status for future in answers] == [201] * 24
        assert api.popen.wait(5) == 0
    assert len(stage.queued()) == 25
    assert stage.outbox() == []


def test_api_serves_after_sigterm_until_requests_stop(stage: Stage, tmp_path: Path):
    """A load balancer sends requests until two of its health checks have failed; none of them may be refused."""
    numbers = itertools.count()

    def submit_until(end: float) -> int:
        """Submit orders one after another; return their number."""
        submitted = 0
        while time.monotonic() < end:
            assert api.call("POST", "/orders", order_body(next(numbers))).status == 201
            submitted += 1
        return submitted

    with running("api", stage.env, tmp_path) as api, ThreadPoolExecutor(4) as pool:
        api.popen.send_signal(signal.SIGTERM)
        clients = [pool.submit(submit_until, time.monotonic() + 4 * QUIET_S) for _ in range(4)]
        accepted = sum(client.result() for client in clients)
        assert api.call("GET", "/readyz").status == 503
        assert api.popen.wait(5) == 0, "health checks must not delay the shutdown"
    assert len(stage.queued()) == accepted


def test_api_stops_before_its_stop_timeout_even_if_requests_go_on():
    """It has time left to finish what it has accepted before ECS kills it."""
    requests = [100.0 + n / 10 for n in range(300)]
    assert max(stop_listening_at(100.0, at) for at in requests) == 100 + DRAIN_S_MAX
    assert stop_listening_at(100.0, float("-inf")) == 100.0 + QUIET_S
    assert stop_listening_at(100.0, 103.0) == 103.0 + QUIET_S
    assert api_stop_timeout_s() > DRAIN_S_MAX + FINISH_S + 2 * STOP_TIMEOUT_S


def api_stop_timeout_s() -> int:
    text = (Path(__file__).parents[2] / "paperbroker" / "deploy" / "stack.yaml").read_text()
    return int(text.partition("paperbroker.main, api]")[2].partition("StopTimeout:")[2].split()[0])


def test_relay_sends_the_order_of_an_api_that_was_killed_after_the_write(stage: Stage, tmp_path: Path):
    """The event was neither sent nor deleted from the outbox. The relay sends it once."""
    tables = OrderTables(stage.dynamodb, stage.settings.tables)
    rig = IntakeRig(stage)  # Not entered: its sender does not run, as if killed after the transaction.
    rig.intake.submit(new_order(1), "trace")
    assert len(stage.outbox()) == 1
    with running("relay", stage.env, tmp_path):
        wait_until(lambda: not stage.outbox(), timeout_s=12)
    assert [json.loads(body)["orderId"] for body in stage.queued()] == ["o1"]
    assert tables.find_order("o1") is not None


@pytest.mark.slow
def test_other_matcher_continues_after_one_is_killed(stage: Stage, tmp_path: Path):
    """After SIGKILL in the middle of a stream of orders, the other one matches the rest, each order once."""
    with (
        running("api", stage.env, tmp_path) as api,
        running("matcher", stage.env, tmp_path) as victim,
        running("matcher", stage.env, tmp_path),
    ):
        for n in range(30):
            body = order_body(n, side="BUY" if n % 2 else "SELL", clientId=f"c{n}")
            assert api.call("POST", "/orders", body).status == 201
            if n == 10:
                victim.stop(signal.SIGKILL)
        wait_until(lambda: len(stage.accepted_ids()) == 30, timeout_s=15)
    rows = stage.ledger("ACME")
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert len(set(stage.accepted_ids())) == 30
    assert len([row for row in rows if row["type"] == "fill"]) == 15


@pytest.mark.slow
def test_api_cut_off_from_aws_answers_503_quickly_and_recovers(stage: Stage, tmp_path: Path, aws_proxy: TcpProxy):
    """The outcome is unknown, so it answers 503 with Retry-After. The same key succeeds afterwards."""
    with running("api", stage.env | {"AWS_ENDPOINT_URL": aws_proxy.endpoint}, tmp_path) as api:
        assert api.call("POST", "/orders", order_body(1)).status == 201
        aws_proxy.blackholed.set()
        started = time.monotonic()
        cut = api.call("POST", "/orders", order_body(2))
        assert cut.status == 503 and cut.headers["retry-after"] == "1"
        assert time.monotonic() - started < 6
        assert api.call("GET", "/readyz").status == 503
        assert api.call("GET", "/healthz").status == 200
        aws_proxy.blackholed.clear()
        assert wait_until(lambda: api.call("POST", "/orders", order_body(2)).status in (200, 201), timeout_s=8)
        wait_until(lambda: api.call("GET", "/readyz").status == 200)


@pytest.mark.slow
def test_matcher_cut_off_from_aws_does_not_block_its_market(stage: Stage, tmp_path: Path, aws_proxy: TcpProxy):
    """Another matcher takes over within little more than the visibility timeout."""
    with (
        running("api", stage.env, tmp_path) as api,
        running("matcher", stage.env | {"AWS_ENDPOINT_URL": aws_proxy.endpoint}, tmp_path),
        running("matcher", stage.env, tmp_path),
    ):
        api.call("POST", "/orders", order_body(0))
        wait_until(lambda: len(stage.accepted_ids()) == 1)
        aws_proxy.blackholed.set()
        for n in range(1, 9):
            api.call("POST", "/orders", order_body(n))
        wait_until(lambda: len(stage.accepted_ids()) == 9, timeout_s=12)
        aws_proxy.blackholed.clear()
        for n in range(9, 20):
            api.call("POST", "/orders", order_body(n))
        wait_until(lambda: len(stage.accepted_ids()) == 20, timeout_s=12)
    assert len({row["orderId"] for row in stage.ledger("ACME")}) == 20


@pytest.mark.slow
def test_requests_beyond_the_bulkhead_are_shed_at_once(stage: Stage, tmp_path: Path, aws_proxy: TcpProxy):
    """Hanging requests hold the slots: a client with too many gets 429; with all slots held, others get 503."""
    with (
        running("api", stage.env | {"AWS_ENDPOINT_URL": aws_proxy.endpoint}, tmp_path) as api,
        ThreadPoolExecutor(80) as pool,
    ):
        aws_proxy.blackholed.set()
        for n in range(40):
            pool.submit(call_quietly, api, order_body(n))
        wait_until(lambda: api.call("POST", "/orders", order_body(1000)).status == 429, timeout_s=3)
        for n in range(40):
            pool.submit(call_quietly, api, order_body(2000 + n, clientId=f"c{2 + n}"))
        shed = wait_until(lambda: quick_refusal(api), timeout_s=3)
        assert shed.json == {"error": "Overloaded"} and shed.headers["retry-after"] == "1"
        aws_proxy.blackholed.clear()


def quick_refusal(api: Process) -> Answer | None:
    """Return the 503 answer of one more request; None if it got a slot and hangs."""
    try:
        answer = api.call("POST", "/orders", order_body(3000, clientId="c1000"), timeout_s=0.5)
    except TimeoutError:
        return None
    return answer if answer.status == 503 else None


def call_quietly(api: Process, body: dict[str, Any]) -> None:
    try:
        api.call("POST", "/orders", body, timeout_s=15)
    except OSError:
        return
