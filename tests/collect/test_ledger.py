"""The ledger of a real exchange, read back."""

from __future__ import annotations

import json
import time
import urllib.request
from dataclasses import replace

import pandas as pd

from kit import aws
from kit.collect import ledger
from kit.model import (
    LEDGER_EVENT_COLUMNS,
    MARK_COLUMNS,
    ORDER_COLUMNS,
    OUTBOX_COLUMNS,
    POSITION_COLUMNS,
    Deployment,
)

QUIET_S_MAX = 40


def trade(deployment: Deployment, key: str) -> None:
    """A resting buy of 5 and a sell of 3 that hits it."""
    for client, side, qty, price in (("ledger-buyer", "BUY", 5, 100), ("ledger-seller", "SELL", 3, 90)):
        body = {
            "clientId": client, "idempotencyKey": key, "orderId": f"{key}-{side}", "symbol": "BOLT",
            "side": side, "type": "LIMIT", "qty": qty, "price": price,
        }  # fmt: skip
        request = urllib.request.Request(
            f"{deployment.api_url}/orders", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 201


def records(table: pd.DataFrame) -> list[dict]:
    return table.to_dict("records")


def test_a_trade_is_read_back_with_both_its_sides(local_session: aws.Session, deployment: Deployment):
    trade(deployment, "ledger-1")
    assert ledger.quiesce(local_session, deployment, QUIET_S_MAX).quiet
    snapshot = ledger.read_ledger(local_session, deployment)
    events = snapshot.events.query("market == 'BOLT'")
    fill = {"type": "fill", "seq": 3, "maker_order_id": "ledger-1-BUY", "taker_order_id": "ledger-1-SELL",
            "qty": 3, "price": 100, "taker_side": "SELL"}  # fmt: skip
    assert [event["type"] for event in records(events)] == ["accepted", "accepted", "fill"]
    assert fill.items() <= records(events)[2].items()
    orders = {order["order_id"]: order for order in records(snapshot.orders)}
    assert orders["ledger-1-BUY"]["filled_qty"] == 3
    assert orders["ledger-1-SELL"]["status"] == "FILLED"
    positions = {position["client_id"]: position for position in records(snapshot.positions)}
    assert (positions["ledger-buyer"]["qty"], positions["ledger-buyer"]["cash"]) == (3, -300)
    assert snapshot.outbox.empty
    left_s = snapshot.marks.set_index("event_id")["expires_s"][list(events["event_id"])] - time.time()
    assert left_s.between(14 * 86_400, 16 * 86_400).all()


def test_the_tables_have_exactly_the_columns_and_types_of_the_model(local_session: aws.Session, deployment: Deployment):
    snapshot = ledger.read_ledger(local_session, deployment)
    for table, columns in (
        (snapshot.events, LEDGER_EVENT_COLUMNS),
        (snapshot.orders, ORDER_COLUMNS),
        (snapshot.positions, POSITION_COLUMNS),
        (snapshot.outbox, OUTBOX_COLUMNS),
        (snapshot.marks, MARK_COLUMNS),
    ):
        assert {name: str(dtype) for name, dtype in table.dtypes.items()} == columns


def test_an_exchange_that_does_not_come_to_rest_is_reported_in_time(local_session: aws.Session, deployment: Deployment):
    trade(deployment, "ledger-2")
    # Positions never empty, as an outbox does that no relay looks after.
    stuck = replace(deployment, outputs={**deployment.outputs, "OutboxTable": deployment.outputs["PositionsTable"]})
    seen = ledger.quiesce(local_session, stuck, 1.0)
    assert not seen.quiet
    assert seen.outbox > 0
