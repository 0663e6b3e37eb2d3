"""PaperBroker while SQS is away, or a matcher is frozen: real processes, real signals, a route that can be cut."""

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

from tests.paperbroker.paperbroker_rig import BlackHole, Process, Stage, running
from tests.polling import wait_until

pytestmark = pytest.mark.slow
DRAIN_S_MAX = 30.0
ORDERS_MAX = 1000
PAUSE_S = 0.08


def order(n: int, **changed: Any) -> dict[str, Any]:
    side = "BUY" if n % 2 else "SELL"
    base = {"clientId": f"c{n % 5}", "idempotencyKey": f"k{n}", "orderId": f"o{n}", "symbol": "ACME", "side": side}
    return base | {"type": "LIMIT", "qty": 1, "price": 100} | changed


def submit(api: Process, numbers: range) -> None:
    assert {api.call("POST", "/orders", order(n)).status for n in numbers} == {201}


def assert_each_once(stage: Stage, wanted: int) -> None:
    """Every order sequenced once, without a gap, nobody filled beyond its quantity, nothing left on the way."""
    rows = stage.ledger("ACME")
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    accepted = Counter(row["orderId"] for row in rows if row["type"] == "accepted")
    assert accepted == Counter({f"o{n}": 1 for n in range(wanted)})
    filled: Counter[str] = Counter()
    for row in rows:
        if row["type"] == "fill":
            filled.update({row["takerOrderId"]: row["qty"], row["makerOrderId"]: row["qty"]})
    assert max(filled.values()) == 1
    stored = {item["orderId"]: item for item in stage.items(stage.settings.tables.orders) if "orderId" in item}
    assert {name: item["filledQty"] for name, item in stored.items()} == {name: filled[name] for name in stored}


def sequenced(stage: Stage) -> int:
    return len([row for row in stage.ledger("ACME") if row["type"] == "accepted"])


def emptied(stage: Stage) -> bool:
    return stage.items(stage.settings.tables.outbox) == []


def test_orders_taken_while_sqs_is_away_for_all_are_sequenced_once_it_is_back(
    stage: Stage, tmp_path: Path, hole: BlackHole
):
    """No answer fails, the API stays ready, cancels too; afterwards the backlog drains by itself, and fresh orders do
    not wait for all of it."""
    env = stage.env | {"AWS_ENDPOINT_URL_SQS": hole.endpoint}
    with (
        running("api", env, tmp_path) as api,
        running("matcher", env, tmp_path),
        running("matcher", env, tmp_path),
        running("relay", env, tmp_path),
        running("relay", env, tmp_path),
    ):
        submit(api, range(4))
        wait_until(lambda: sequenced(stage) == 4)
        hole.cut.set()
        submit(api, range(4, 60))
        cancel = api.call("POST", "/orders/o50/cancel", {"clientId": "c0", "idempotencyKey": "cancel-50"})
        assert cancel.status == 202
        time.sleep(4)  # longer than the sender keeps anything: all of it is the relay's
        assert sequenced(stage) == 4
        assert api.call("GET", "/readyz").status == 200
        hole.cut.clear()
        submit(api, range(60, 64))
        wait_until(lambda: sequenced(stage) == 64, timeout_s=DRAIN_S_MAX)
        wait_until(lambda: emptied(stage), timeout_s=DRAIN_S_MAX)
        wait_until(lambda: [row for row in stage.ledger("ACME") if row.get("idempotencyKey") == "cancel-50"])
    assert_each_once(stage, 64)
    assert [row for row in stage.ledger("ACME") if row.get("reason") == "UnknownOrder"] == []


def test_zone_without_sqs_is_served_by_the_other_zones_relay(stage: Stage, tmp_path: Path, hole: BlackHole):
    """Only the API's and one matcher's way is cut: its orders arrive late, by the relay, not never."""
    cut = stage.env | {"AWS_ENDPOINT_URL_SQS": hole.endpoint}
    with (
        running("api", cut, tmp_path) as api,
        running("matcher", cut, tmp_path),
        running("matcher", stage.env, tmp_path),
        running("relay", stage.env, tmp_path),
    ):
        hole.cut.set()
        submit(api, range(20))
        wait_until(lambda: sequenced(stage) == 20, timeout_s=DRAIN_S_MAX)
        wait_until(lambda: emptied(stage), timeout_s=DRAIN_S_MAX)
        hole.cut.clear()
    assert_each_once(stage, 20)


@contextmanager
def load(api: Process) -> Iterator[list[int]]:
    """Orders 0, 1, … one after the other for as long as the body runs; what it gives are the answers' statuses."""
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
def test_frozen_matcher_wakes_and_neither_doubles_nor_loses(stage: Stage, tmp_path: Path, matchers: int):
    """SIGSTOP under load for longer than its receipts hold, again and again: with a rival the market goes on
    meanwhile, alone it catches up; in the end each order is there once."""
    with ExitStack() as tasks:
        api, frozen, *_ = [
            tasks.enter_context(running(role, stage.env, tmp_path)) for role in ("api", *["matcher"] * matchers)
        ]
        with load(api) as statuses:
            for _ in range(2):
                time.sleep(0.5)
                frozen.popen.send_signal(signal.SIGSTOP)
                asleep_at = sequenced(stage)
                time.sleep(7)
                if matchers > 1:
                    assert sequenced(stage) > asleep_at, "the market stood still although a rival was awake"
                frozen.popen.send_signal(signal.SIGCONT)
        wait_until(lambda: sequenced(stage) == len(statuses), timeout_s=DRAIN_S_MAX)
        assert frozen.popen.poll() is None
    assert_each_once(stage, len(statuses))
