"""After a burst with retries, trades reconcile with orders: no order is filled twice."""

from __future__ import annotations

import random
from collections import Counter

from paperbroker.domain.orders import Side
from tests.paperbroker.paperbroker_rig import IntakeRig, Stage, new_order

ORDERS = 100
RETRY_PROBABILITY = 0.2
SEED = 7


def test_burst_with_retries_fills_no_order_twice(stage: Stage):
    """100 orders, each retried with probability 0.2: no order is overfilled and no pair of orders trades twice."""
    source = random.Random(SEED)
    orders = [
        new_order(n, side=Side.BUY if n % 2 else Side.SELL, client=f"c{n % 7}", symbol=source.choice(("ACME", "BOLT")))
        for n in range(1, ORDERS + 1)
    ]
    retried = 0
    with IntakeRig(stage) as rig:
        for order in orders:
            rig.intake.submit(order, "trace")
            if source.random() < RETRY_PROBABILITY:
                retried += 1
                rig.intake.submit(order, "trace of the retry")
    stage.match_all()
    ledger = [row for market in stage.settings.markets for row in stage.ledger(market)]
    filled: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for fill in (row for row in ledger if row["type"] == "fill"):
        pairs[fill["takerOrderId"], fill["makerOrderId"]] += 1
        for side in ("takerOrderId", "makerOrderId"):
            filled[fill[side]] += fill["qty"]
    doubled = {o.order_id: filled[o.order_id] for o in orders if filled[o.order_id] > o.qty}
    assert retried >= 10 and filled, "the burst has too few retries or no trades"
    assert doubled == {}
    assert [pair for pair, times in pairs.items() if times > 1] == []
    accepted = Counter(row["orderId"] for row in ledger if row["type"] == "accepted")
    assert accepted == Counter({order.order_id: 1 for order in orders})
