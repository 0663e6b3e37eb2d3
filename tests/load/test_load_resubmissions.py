"""Test the requests that follow an acknowledgement: resubmissions, reads, and unauthorized requests."""

from typing import Any

import pytest

from kit import model as kinds
from kit.load import follow_ups, resubmissions
from kit.load.http_attempt import Attempt
from tests.load.load_exchange import RESET, Request, run_engine

pytestmark = pytest.mark.usefixtures("short_delays")


def test_keys_are_resubmitted_sequentially_concurrently_and_with_other_content() -> None:
    """Two one after the other, three at the same time on three connections, or one that must get 409."""
    ran = run_engine(rate_per_s=60.0, duration_max_s=0.5, resubmit_ratio=1.0)
    by_op: dict[str, dict[int, list[Attempt]]] = {}
    for row in ran.attempts:
        by_op.setdefault(row.kind, {}).setdefault(row.content.op_id, []).append(row)
    assert all(
        len(attempts) == resubmissions.SEQUENTIAL_COUNT for attempts in by_op[kinds.RESUBMIT_SEQUENTIAL].values()
    )
    for attempts in by_op[kinds.RESUBMIT_SEQUENTIAL].values():
        earlier, later = sorted(attempts, key=lambda attempt: attempt.invoked_ns)
        assert later.invoked_ns >= earlier.completed_ns
    paths: dict[str, set[int]] = {}
    for request in ran.exchange.requests:
        paths.setdefault(request.headers["x-amzn-trace-id"], set()).add(request.connection)
    for attempts in by_op[kinds.RESUBMIT_CONCURRENT].values():
        assert len(attempts) == resubmissions.CONCURRENT_COUNT
        assert max(attempt.invoked_ns for attempt in attempts) < min(attempt.completed_ns for attempt in attempts)
    reused = [row for attempts in by_op[kinds.REUSE_KEY].values() for row in attempts]
    assert reused and {(row.outcome, row.status) for row in reused} == {("fail", 409)}
    assert len({len(connections) for connections in paths.values()}) == 1  # a trace id is never used twice
    total = sum(len(by_op[kind]) for kind in (kinds.RESUBMIT_SEQUENTIAL, kinds.RESUBMIT_CONCURRENT, kinds.REUSE_KEY))
    assert (
        len(by_op["first"]) - 2 <= total <= len(by_op["first"])
    )  # keys acknowledged after the end are not resubmitted


def test_acknowledged_orders_are_read_back_again_and_again() -> None:
    """The first read is sent right after the acknowledgement, for the acknowledged order id. Others follow."""
    ran = run_engine(rate_per_s=60.0, duration_max_s=0.4, read_back_ratio=1.0)
    acknowledged = {row.content.op_id: row for row in ran.attempts if row.content.op == "order"}
    reads = [row for row in ran.attempts if row.content.op == "get_order"]
    by_number: dict[int, int] = {}
    for read in reads:
        number, op_id = divmod(read.content.op_id, follow_ups.READ_BACK_BASE)
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


def test_unauthorized_clients_ask_for_acknowledged_orders() -> None:
    """Another client tries to read or cancel the order, under a key of its own."""
    ran = run_engine(rate_per_s=100.0, duration_max_s=0.5, unauthorized_ratio=1.0)
    orders = {row.content.order_id: row.content for row in ran.attempts if row.content.op == "order"}
    requests = [row.content for row in ran.attempts if row.content.op != "order"]
    assert len(requests) > 0.8 * len(orders)  # a few draw the order's own client
    owners = [orders[one.order_id].client_id for one in requests]
    assert all(owner != one.client_id for owner, one in zip(owners, requests, strict=True))
    assert any(owner.swapcase() == one.client_id for owner, one in zip(owners, requests, strict=True))
    assert {one.op for one in requests} == {"get_order", "cancel"}
    keys = [one.idempotency_key for one in requests if one.op == "cancel"]
    assert len(set(keys)) == len(keys) and not set(keys) & {one.idempotency_key for one in orders.values()}


def test_keys_of_cancels_are_resubmitted_and_reused_for_another_order_of_the_client() -> None:
    """The same cancel gets the same answer. The key is refused for another order."""
    ran = run_engine(rate_per_s=400.0, duration_max_s=0.6, cancel_ratio=0.4, resubmit_ratio=1.0, clients=4)
    cancels = {row.content.idempotency_key: row for row in ran.of_kind("first") if row.content.op == "cancel"}
    attempts = [row for row in ran.attempts if row.state.operation.op == "cancel" and row.kind != "first"]
    assert {row.kind for row in attempts} == {kinds.RESUBMIT_SEQUENTIAL, kinds.RESUBMIT_CONCURRENT, kinds.REUSE_KEY}
    for attempt in attempts:
        first = cancels[attempt.content.idempotency_key].content
        assert (attempt.content == first) is (attempt.kind != kinds.REUSE_KEY)
        assert attempt.status == (409 if attempt.kind == kinds.REUSE_KEY else 200)
    reused = [row.content for row in attempts if row.kind == kinds.REUSE_KEY]
    assert {content.op for content in reused} == {"cancel", "order"}
    owners = {row.content.order_id: row.content.client_id for row in ran.of_kind("first") if row.content.op == "order"}
    assert all(owners[content.order_id] == content.client_id for content in reused if content.op == "cancel")


def test_the_id_of_an_acknowledged_order_comes_again_under_a_new_key() -> None:
    """From its own client and from others, once each, without a retry."""
    ran = run_engine(rate_per_s=100.0, duration_max_s=0.8, taken_order_id_ratio=1.0, clients=4)
    orders = {row.content.order_id: row.content for row in ran.of_kind("first")}
    again = ran.of_kind(kinds.TAKEN_ORDER_ID)
    assert again and all(row.content.order_id in orders for row in again)
    assert {orders[row.content.order_id].client_id == row.content.client_id for row in again} == {True, False}
    keys = {row.content.idempotency_key for row in again}
    assert len(keys) == len(again) and not keys & {order.idempotency_key for order in orders.values()}


def test_malformed_orders_are_sent_with_every_character_and_never_repeated() -> None:
    """The exchange receives exactly the name that the history records. A request without an answer is not repeated."""

    async def hang_up_on_malformed(request: Request, reply: bytes) -> bytes:
        return RESET if "-m" in request.body["idempotencyKey"] else reply

    ran = run_engine(hang_up_on_malformed, rate_per_s=150.0, duration_max_s=0.8, malformed_ratio=1.0)
    sent = ran.of_kind(kinds.MALFORMED)
    assert len({row.content.op_id for row in sent}) == len(sent) > 50
    assert {row.kind for row in ran.attempts} == {"first", kinds.MALFORMED}
    received = {(request.body["clientId"], request.body["orderId"]) for request in ran.exchange.requests}
    whole = [row.content for row in sent if "." not in row.content.idempotency_key]
    assert whole and {(one.client_id, one.order_id) for one in whole} <= received
    assert any(not row.content.order_id.isascii() for row in sent)
    assert ran.engine.unknown == 0


def test_two_orders_of_one_client_contest_an_order_id() -> None:
    """They are sent at once, under two keys, and neither id nor key is that of another order."""
    ran = run_engine(rate_per_s=100.0, duration_max_s=0.6, contested_ratio=1.0)
    pairs: dict[str, list[Any]] = {}
    for row in ran.of_kind(kinds.CONTESTED_ORDER_ID):
        pairs.setdefault(row.content.order_id, []).append(row)
    assert pairs and not pairs.keys() & {row.content.order_id for row in ran.of_kind("first")}
    for pair in pairs.values():
        contents = [row.content for row in pair]
        assert len({one.idempotency_key for one in contents}) == 2 and len({one.client_id for one in contents}) == 1
        assert abs(pair[0].invoked_ns - pair[1].invoked_ns) < 50e6


def test_a_refused_order_is_corrected_and_sent_under_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an id that is free, or without its fault. It follows the refusal and nothing follows it."""
    monkeypatch.setattr(follow_ups, "CORRECTED_S", 0.3)
    ran = run_engine(rate_per_s=60.0, duration_max_s=1.5, taken_order_id_ratio=1.0, malformed_ratio=1.0)
    refused = {row.content.idempotency_key: row for row in ran.attempts if row.kind in kinds.PROBES}
    corrected = [row for row in ran.of_kind("first") if row.content.idempotency_key in refused]
    assert {refused[row.content.idempotency_key].kind for row in corrected} == {kinds.TAKEN_ORDER_ID, kinds.MALFORMED}
    taken = {row.content.order_id for row in ran.of_kind(kinds.TAKEN_ORDER_ID)}
    for row in corrected:
        before = refused[row.content.idempotency_key]
        assert row.invoked_ns - before.completed_ns > 0.25e9
        assert row.content.client_id == before.content.client_id and row.content.order_id not in taken
        assert row.content.qty >= 1 and row.content.type in ("LIMIT", "MARKET")


def test_some_clients_ask_for_an_order_before_they_send_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """They read and cancel it, send it, and read and cancel it again under the same key."""
    monkeypatch.setattr(follow_ups, "ASKED_S", 0.2)
    monkeypatch.setattr(follow_ups, "ASKED_AGAIN_S", 0.4)
    ran = run_engine(rate_per_s=60.0, duration_max_s=1.2, asked_first_ratio=1.0)
    orders = {row.content.order_id: row for row in ran.of_kind("first") if row.content.op == "order"}
    asked = [row for row in ran.attempts if row.content.op != "order" and row.content.order_id in orders]
    before = [row for row in asked if row.completed_ns < orders[row.content.order_id].invoked_ns]
    after = [row for row in asked if row.invoked_ns > orders[row.content.order_id].completed_ns]
    assert {row.content.op for row in before} == {row.content.op for row in after} == {"get_order", "cancel"}
    owners = {row.content.order_id: row.content.client_id for row in orders.values()}
    assert all(owners[row.content.order_id] == row.content.client_id for row in asked)
    keys = [{row.content.idempotency_key for row in rows if row.content.op == "cancel"} for rows in (before, after)]
    assert keys[0] & keys[1]


def test_late_requests_follow_an_acknowledgement_and_do_not_delay_the_end() -> None:
    """The order is read and its key resubmitted; some orders are cancelled. What is due after the end is not sent."""
    ran = run_engine(rate_per_s=100.0, duration_max_s=0.8, late_ratio=1.0, late_s_max=1.0)
    acknowledged = {row.content.order_id: row for row in ran.of_kind("first") if row.content.op == "order"}
    late = [row for row in ran.attempts if row.content.op == "get_order" or row.kind == kinds.RESUBMIT_LATE]
    cancels = [row for row in ran.attempts if row.content.op == "cancel"]
    assert {(row.content.op, row.kind) for row in late} >= {("get_order", "first"), ("order", kinds.RESUBMIT_LATE)}
    assert cancels
    by_op_id = {row.content.op_id: row for row in ran.of_kind("first")}
    for row in [*late, *cancels]:
        before = acknowledged[row.content.order_id] if row.kind == "first" else by_op_id[row.content.op_id]
        assert row.invoked_ns - before.completed_ns >= 290e6
    assert 0 < len(ran.of_kind(kinds.RESUBMIT_LATE)) < len(acknowledged)
    assert ran.engine.unsettled == 0
