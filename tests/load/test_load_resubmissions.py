"""What is asked about acknowledged keys and orders: again, with other content, by others."""

import pytest

from kit import model as kinds
from kit.load import resubmissions
from kit.load.http_attempt import Attempt
from tests.load.load_exchange import run_engine


@pytest.fixture(autouse=True)
def probes_come_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds after the acknowledgement are right for a run and long for a test."""
    monkeypatch.setattr(resubmissions, "RESUBMIT_S_MAX", 0.2)
    monkeypatch.setattr(resubmissions, "READ_BACK_S_MAX", 0.1)


def test_probes_tap_in_sequence_at_once_and_with_other_content() -> None:
    """Two taps one after the other, three at the same time on three connections, and one that must get 409."""
    ran = run_engine(rate_per_s=60.0, duration_max_s=0.5, resubmit_ratio=1.0)
    by_op: dict[str, dict[int, list[Attempt]]] = {}
    for row in ran.attempts:
        by_op.setdefault(row.kind, {}).setdefault(row.content.op_id, []).append(row)
    assert all(len(taps) == resubmissions.SEQUENTIAL_COUNT for taps in by_op[kinds.RESUBMIT_SEQUENTIAL].values())
    for taps in by_op[kinds.RESUBMIT_SEQUENTIAL].values():
        earlier, later = sorted(taps, key=lambda tap: tap.invoked_ns)
        assert later.invoked_ns >= earlier.completed_ns
    paths: dict[str, set[int]] = {}
    for request in ran.exchange.requests:
        paths.setdefault(request.headers["x-amzn-trace-id"], set()).add(request.connection)
    for taps in by_op[kinds.RESUBMIT_CONCURRENT].values():
        assert len(taps) == resubmissions.CONCURRENT_COUNT
        assert max(tap.invoked_ns for tap in taps) < min(tap.completed_ns for tap in taps)
    reused = [row for taps in by_op[kinds.REUSE_KEY].values() for row in taps]
    assert reused and {(row.outcome, row.status) for row in reused} == {("fail", 409)}
    assert len({len(connections) for connections in paths.values()}) == 1  # a trace id is never used twice
    total = sum(len(by_op[kind]) for kind in (kinds.RESUBMIT_SEQUENTIAL, kinds.RESUBMIT_CONCURRENT, kinds.REUSE_KEY))
    assert len(by_op["first"]) - 2 <= total <= len(by_op["first"])  # those answered after the end are not tapped


def test_acknowledged_orders_are_read_back_again_and_again() -> None:
    """The first read goes out right after the acknowledgement, for the order that was acknowledged; others follow."""
    ran = run_engine(rate_per_s=60.0, duration_max_s=0.4, read_back_ratio=1.0)
    acknowledged = {row.content.op_id: row for row in ran.attempts if row.content.op == "order"}
    reads = [row for row in ran.attempts if row.content.op == "get_order"]
    by_number: dict[int, int] = {}
    for read in reads:
        number, op_id = divmod(read.content.op_id, resubmissions.READ_BACK_BASE)
        order = acknowledged[op_id]
        by_number[number] = by_number.get(number, 0) + 1
        assert read.content.order_id == order.content.order_id
        assert 0 <= read.invoked_ns - order.completed_ns < 150e6 + (number - 1) * 100e6
        assert read.outcome == "ok"
    assert sorted(by_number) == [1, 2, 3]
    assert len(acknowledged) - 2 <= by_number[1] <= len(acknowledged)  # not those answered after the end
    assert by_number[3] >= len(acknowledged) / 4
    paths = {request.path for request in ran.exchange.requests if request.method == "GET"}
    assert f"/orders/{reads[0].content.order_id}?clientId={reads[0].content.client_id}" in paths


def test_strangers_ask_for_acknowledged_orders() -> None:
    """Each acknowledged order is read or cancelled by a client that is not its own, under a key of its own."""
    ran = run_engine(rate_per_s=100.0, duration_max_s=0.5, unauthorized_ratio=1.0)
    orders = {row.content.order_id: row.content for row in ran.attempts if row.content.op == "order"}
    asked = [row.content for row in ran.attempts if row.content.op != "order"]
    assert len(asked) > 0.8 * len(orders)  # a few draw the order's own client
    assert all(orders[one.order_id].client_id != one.client_id for one in asked)
    assert {one.op for one in asked} == {"get_order", "cancel"}
    keys = [one.idempotency_key for one in asked if one.op == "cancel"]
    assert len(set(keys)) == len(keys) and not set(keys) & {one.idempotency_key for one in orders.values()}


def test_keys_of_cancels_are_tapped_too_and_reused_for_another_order_of_the_client() -> None:
    """The same cancel again is the same answer; the key for another order is refused."""
    ran = run_engine(rate_per_s=400.0, duration_max_s=0.6, cancel_ratio=0.4, resubmit_ratio=1.0, clients=4)
    cancels = {row.content.idempotency_key: row for row in ran.of_kind("first") if row.content.op == "cancel"}
    taps = [row for row in ran.attempts if row.content.op == "cancel" and row.kind != "first"]
    assert {row.kind for row in taps} == {kinds.RESUBMIT_SEQUENTIAL, kinds.RESUBMIT_CONCURRENT, kinds.REUSE_KEY}
    for tap in taps:
        first = cancels[tap.content.idempotency_key].content
        assert (tap.content == first) is (tap.kind != kinds.REUSE_KEY)
        assert tap.content._replace(order_id=first.order_id) == first
        assert tap.status == (409 if tap.kind == kinds.REUSE_KEY else 200)
    owners = {row.content.order_id: row.content.client_id for row in ran.of_kind("first") if row.content.op == "order"}
    assert all(owners[tap.content.order_id] == tap.content.client_id for tap in taps)
