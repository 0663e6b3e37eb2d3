"""PaperBroker while SQS is unreachable or a matcher is frozen, with real processes and signals."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.paperbroker.paperbroker_rig import Process, Stage, order_body, running
from tests.paperbroker.tcp_proxy import TcpProxy
from tests.polling import wait_until

pytestmark = pytest.mark.slow
DRAIN_S_MAX = 30.0
ORDERS_MAX = 1000
PAUSE_S = 0.08


def order(n: int) -> dict[str, Any]:
    side = "BUY" if n % 2 else "SELL"
    return order_body(n, clientId=f"c{n % 5}", side=side, qty=1)


def submit(api: Process, numbers: range) -> None:
    assert {api.call("POST", "/orders", order(n)).status for n in numbers} == {201}


def assert_each_once(stage: Stage, wanted: int) -> None:
    """Assert that each order is in the ledger once, without gaps, and is filled for at most its quantity."""
    rows = stage.ledger("ACME")
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert Counter(stage.accepted_ids()) == Counter({f"o{n}": 1 for n in range(wanted)})
    filled: Counter[str] = Counter()
    for row in rows:
        if row["type"] == "fill":
            filled.update({row["takerOrderId"]: row["qty"], row["makerOrderId"]: row["qty"]})
    assert max(filled.values()) == 1
    stored = {item["orderId"]: item for item in stage.items(stage.settings.tables.orders) if "orderId" in item}
    assert {name: item["filledQty"] for name, item in stored.items()} == {name: filled[name] for name in stored}


def test_orders_accepted_while_sqs_is_unreachable_are_sequenced_once_it_is_back(
    stage: Stage, tmp_path: Path, aws_proxy: TcpProxy
):
    """Orders and cancels are accepted and the API stays ready.

    Afterwards the backlog drains, and new orders do not wait for all of it.
    """
    env = stage.env | {"AWS_ENDPOINT_URL_SQS": aws_proxy.endpoint}
    with (
        running("api", env, tmp_path) as api,
        running("matcher", env, tmp_path),
        running("matcher", env, tmp_path),
        running("relay", env, tmp_path),
        running("relay", env, tmp_path),
    ):
        submit(api, range(4))
        wait_until(lambda: len(stage.accepted_ids()) == 4)
        aws_proxy.blackholed.set()
        submit(api, range(4, 60))
        cancel = api.call("POST", "/orders/o50/cancel", {"clientId": "c0", "idempotencyKey": "cancel-50"})
        assert cancel.status == 202
        time.sleep(4)  # Longer than the sender keeps events, so the relay has to send all of them.
        assert len(stage.accepted_ids()) == 4
        assert api.call("GET", "/readyz").status == 200
        aws_proxy.blackholed.clear()
        submit(api, range(60, 64))
        wait_until(lambda: len(stage.accepted_ids()) == 64, timeout_s=DRAIN_S_MAX)
        wait_until(lambda: not stage.outbox(), timeout_s=DRAIN_S_MAX)
        wait_until(lambda: [row for row in stage.ledger("ACME") if row.get("idempotencyKey") == "cancel-50"])
    assert_each_once(stage, 64)
    assert [row for row in stage.ledger("ACME") if row.get("reason") == "UnknownOrder"] == []


def test_relay_of_another_zone_sends_the_orders_of_a_zone_without_sqs(
    stage: Stage, tmp_path: Path, aws_proxy: TcpProxy
):
    """Only the API and one matcher lose SQS: the orders arrive late, through the relay."""
    cut = stage.env | {"AWS_ENDPOINT_URL_SQS": aws_proxy.endpoint}
    with (
        running("api", cut, tmp_path) as api,
        running("matcher", cut, tmp_path),
        running("matcher", stage.env, tmp_path),
        running("relay", stage.env, tmp_path),
    ):
        aws_proxy.blackholed.set()
        submit(api, range(20))
        wait_until(lambda: len(stage.accepted_ids()) == 20, timeout_s=DRAIN_S_MAX)
        wait_until(lambda: not stage.outbox(), timeout_s=DRAIN_S_MAX)
        aws_proxy.blackholed.clear()
    assert_each_once(stage, 20)


@contextmanager
def load(api: Process) -> Iterator[list[int]]:
    """Send orders 0, 1, … one by one while the body runs; yield the growing list of statuses."""
    statuses: list[int] = []
    over = threading.Event()

    def send() -> None:
        while len(statuses) < ORDERS_MAX and not over.is_set():
            statuses.append(api.call("POST", "/orders", order(len(statuses))).status)
            over.wait(PAUSE_S)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield statuses
    finally:
        over.set()
        thread.join(60)
    assert not thread.is_alive() and 0 < len(statuses) < ORDERS_MAX and set(statuses) == {201}


@pytest.mark.parametrize("matchers", [1, 2])
def test_matcher_that_resumes_after_a_freeze_neither_doubles_nor_loses_orders(
    stage: Stage, tmp_path: Path, matchers: int
):
    """It is suspended twice for longer than its receipts are valid.

    A second matcher carries on meanwhile; without one, the resumed matcher catches up.
    """
    with ExitStack() as tasks:
        api, frozen, *_ = [
            tasks.enter_context(running(role, stage.env, tmp_path)) for role in ("api", *["matcher"] * matchers)
        ]
        with load(api) as statuses:
            for _ in range(2):
                time.sleep(0.5)
                frozen.popen.send_signal(signal.SIGSTOP)
                before = len(stage.accepted_ids())
                time.sleep(7)
                if matchers > 1:
                    assert len(stage.accepted_ids()) > before, "the other matcher sequenced nothing"
                frozen.popen.send_signal(signal.SIGCONT)
        wait_until(lambda: len(stage.accepted_ids()) == len(statuses), timeout_s=DRAIN_S_MAX)
        assert frozen.popen.poll() is None
    assert_each_once(stage, len(statuses))
