"""The rules of the contract that judge refusals agree with PaperBroker, for every malformed order of the load."""

from __future__ import annotations

import pytest

from kit.integrity.evidence.order_contract import broken_fields
from kit.load import LoadPlan, malformed
from kit.load.orders import Operation, OrderFlow
from kit.load.requests import Requests
from kit.model import MALFORMED, ORDER
from paperbroker.domain.orders import parse_order
from paperbroker.errors import InvalidRequest
from paperbroker.request_content import parse_json

PLAN = LoadPlan(api_url="http://x", markets=("ACME", "BOLT"), seed=7)
ORDERS = [o for i in range(40) if (o := OrderFlow(PLAN).operation(i)).op == ORDER]


def parsed(order: Operation, kind: str = "") -> object:
    body = Requests(host="h", port=80, seed=1, started_s=1).encode(order, 1, kind).partition(b"\r\n\r\n")[2]
    return parse_order(parse_json(body), PLAN.markets)


@pytest.mark.parametrize("number", range(3 * malformed.RULES))
def test_the_field_that_paperbroker_names_is_the_only_broken_one(number: int):
    key = f"run-m{number}"
    for order in ORDERS[:6]:
        broken = order._replace(idempotency_key=key, order_id=key)._replace(**malformed.broken_rule(number, key))
        with pytest.raises(InvalidRequest) as refused:
            parsed(broken, MALFORMED)
        assert broken_fields(broken._asdict(), PLAN.markets) == {refused.value.field}


def test_no_field_of_an_accepted_order_is_broken():
    for order in ORDERS:
        parsed(order)
        assert broken_fields(order._asdict(), PLAN.markets) == set()
