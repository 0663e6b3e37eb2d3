"""Reads and cancels that break a rule of the contract: PaperBroker's API refuses each, and names the field."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from kit.integrity.evidence.order_contract import broken_fields
from kit.load import LoadPlan, follow_ups
from kit.load.malformed_requests import RULES, malformed_request
from kit.load.orders import Operation, OrderFlow
from kit.load.requests import Requests
from kit.model import BOOK, CANCEL, GET_ORDER, MALFORMED, ORDER, TRADES
from tests.fuzz.paperbroker_connection import Broker, broker, parse_answers
from tests.load.load_exchange import run_engine

PLAN = LoadPlan(api_url="http://x", markets=("ACME", "BOLT"), seed=7)
ORDERS = [o for i in range(20) if (o := OrderFlow(PLAN).operation(i)).op == ORDER]
REQUESTS = Requests(host="h", port=80, seed=1, started_s=1)
DEPTH, LIMIT = 5, 50


@pytest.fixture(scope="module")
def api() -> Iterator[Broker]:
    with broker() as made:
        yield made


def asked(api: Broker, operation: Operation, kind: str = "") -> tuple[int, dict[str, str]]:
    """Send one request; return status and body of its answer."""
    conversation = api.converse([REQUESTS.encode(operation, 1, kind)], hang_up=False)
    [(status, body)], _ = parse_answers(conversation.written)
    return status, json.loads(body)


@pytest.mark.parametrize("number", range(len(RULES)), ids=[f"{op}.{fault}" for op, fault in RULES])
def test_each_rule_is_refused_with_its_field_and_is_the_only_fault(api: Broker, number: int):
    for order in ORDERS[:3]:
        broken = malformed_request(number, order, "run-m7")
        status, body = asked(api, broken, MALFORMED)
        assert (status, {body["field"]}) == (400, broken_fields(broken._asdict(), PLAN.markets))
        status, _ = asked(api, broken._replace(depth=DEPTH, limit=LIMIT))
        assert status == (202 if broken.op == CANCEL else 200)


def test_a_brief_load_breaks_every_rule_on_orders_that_exist() -> None:
    """Each request is of the order's own client, and has a key that names the fault."""
    orders = [o for i in range(1_300) if (o := OrderFlow(PLAN).operation(i)).op == ORDER]
    sent = [
        (order, one.operation)
        for order in orders
        for one in follow_ups.follow_ups(PLAN, order, order.order_id)
        if one.kind == MALFORMED and one.operation.op != ORDER
    ]
    assert {one.op for _, one in sent} == {GET_ORDER, CANCEL, BOOK, TRADES}
    assert len({(one.op, one.idempotency_key.partition(".")[2]) for _, one in sent}) >= 0.8 * len(RULES)
    for order, one in sent:
        assert one.client_id == order.client_id and one.symbol == order.symbol
        assert one.order_id == (order.order_id if one.op in (GET_ORDER, CANCEL) else "")


def test_malformed_requests_are_sent_once_and_leave_nothing_unknown() -> None:
    ran = run_engine(rate_per_s=150.0, duration_max_s=0.8, malformed_request_ratio=1.0)
    sent = ran.of_kind(MALFORMED)
    assert len({row.content.op_id for row in sent}) == len(sent) > 30
    assert {row.content.op for row in sent} == {GET_ORDER, CANCEL, BOOK, TRADES}
    assert ran.engine.unknown == 0
