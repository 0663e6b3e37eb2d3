"""Test what was sent before a load, and that the load starts behind it."""

from dataclasses import replace

import pytest

from kit.errors import UsageError
from kit.load import LoadPlan, past_operations
from kit.load.follow_ups import follow_ups
from kit.load.ledger_cursor import LedgerCursors
from kit.load.orders import Operation, OrderFlow
from kit.load.past import PAST_BASE
from kit.load.subscriber_habits import replay, roles
from kit.model import CANCEL, FIRST, GET_ORDER, ORDER, RESUBMIT_LATE

PLAN = LoadPlan(api_url="http://x", markets=("ACME", "BOLT"), run_id="ab12", clients=12, past_orders=300)


def test_the_past_has_as_many_orders_as_asked_and_cancels_of_some() -> None:
    """The same plan has the same past."""
    operations = list(past_operations(PLAN))
    assert sum(one.op == ORDER for one in operations) == 300
    assert {one.op for one in operations} == {ORDER, CANCEL}
    assert operations == list(past_operations(PLAN))
    assert {one.order_id for one in operations if one.op == CANCEL} <= {one.order_id for one in operations}


def test_no_key_order_id_or_number_of_the_past_is_of_the_load() -> None:
    """Otherwise PaperBroker would take orders of the load for repeated ones."""
    flow = OrderFlow(PLAN)
    load = [flow.operation(number) for number in range(600)]
    past = list(past_operations(PLAN))
    for column in ("idempotency_key", "op_id"):
        assert not {getattr(one, column) for one in past} & {getattr(one, column) for one in load}
    assert not {one.order_id for one in past} & {one.order_id for one in load if one.op == ORDER}
    assert min(one.op_id for one in past) >= PAST_BASE


def test_all_but_those_who_read_the_whole_ledger_start_behind_the_past() -> None:
    """Steady and absent subscribers, and three of four reads of trades."""
    plan = replace(PLAN, past_seqs=(120, 90), absent_s=5.0, slow_pause_s=5.0, trickle_share=0.5, reconnect_every_s=4.0)
    assert {(role.symbol, role.after) for role in roles(plan)} == {("ACME", 120), ("BOLT", 90)}
    assert replay(plan, 0, 100).after == 0
    cursors = LedgerCursors(plan)
    read = [cursors.with_cursor(Operation(op_id=i, op="trades", client_id="c", symbol="BOLT")).after for i in range(99)]
    assert set(read) == {0, 90}
    assert read.count(0) < read.count(90)


def test_clients_ask_for_orders_of_the_past_in_every_way() -> None:
    """Their keys come again, also with another order id; their orders are read and cancelled."""
    plan = replace(PLAN, past_seqs=(9, 9), past_ratio=1.0, unauthorized_ratio=0, read_back_ratio=0, late_ratio=0)
    plan = replace(
        plan,
        taken_order_id_ratio=0,
        malformed_ratio=0,
        malformed_request_ratio=0,
        contested_ratio=0,
        asked_first_ratio=0,
    )
    flow, past = OrderFlow(plan), {(one.client_id, one.idempotency_key): one for one in past_operations(plan)}
    orders = [one for one in map(flow.operation, range(400)) if one.op == ORDER]
    asked = [one for order in orders for one in follow_ups(plan, order, order.order_id)]
    again = [one.operation for one in asked if one.kind == RESUBMIT_LATE]
    same = [one for one in again if one.order_id == past[one.client_id, one.idempotency_key].order_id]
    assert {one.op for one in again} == {one.op for one in same} == {ORDER, CANCEL}
    assert 0 < len(same) < len(again)
    others = [one.operation for one in asked if one.kind == FIRST]
    assert {one.op for one in others} == {GET_ORDER, CANCEL}
    assert {one.order_id for one in others} <= {one.order_id for one in past.values()}
    numbers = [one.operation.op_id for one in asked]
    assert len(set(numbers)) == len(numbers) == len(orders)
    assert max(numbers) < 1 << 48
    assert not list(follow_ups(replace(plan, past_seqs=()), orders[0], "o"))


@pytest.mark.parametrize(
    ("seqs", "message"), [((1,), "one number for each of 2 markets"), ((1, -1), "has -1"), ((1, True), "has True")]
)
def test_bad_seqs_are_named(seqs: tuple[int, ...], message: str) -> None:
    """The error names the value."""
    with pytest.raises(UsageError, match=message):
        replace(PLAN, past_seqs=seqs)


def test_a_plan_with_a_past_survives_json() -> None:
    """Its numbers come back as they were."""
    plan = replace(PLAN, past_seqs=(3, 4))
    assert LoadPlan.from_json(plan.to_json()) == plan
