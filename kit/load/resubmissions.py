"""Choose which operations are sent again on purpose, when, and with which content.

Clients alone cannot detect a doubled order, because every answer of a doubled key may look right. So acknowledged keys
are resubmitted sequentially, concurrently, much later, and with another payload, and the ledger shows the effect. Each
choice is seeded by the operation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kit.load.identifiers import renamed
from kit.load.orders import (
    LATE,
    PRICE_MIDS,
    RESEND,
    RESUBMIT,
    REUSE,
    Draws,
    Operation,
)
from kit.load.plan import LoadPlan
from kit.model import CANCEL, ORDER, RESUBMIT_CONCURRENT, RESUBMIT_SEQUENTIAL, REUSE_KEY

EARLY_S_MAX = 0.2  # from the first attempt to its early resubmission
RESUBMIT_S_MAX = 3.0  # from the acknowledgement to the resubmission of its key
SEQUENTIAL_COUNT = 2
CONCURRENT_COUNT = 3
ATTEMPTS_PER_KEY = 128  # larger than the number of attempts of any key
CANCELS_FACTOR = 5  # cancels are few, so their keys are resubmitted five times as often as those of orders
LATE_SHARE_MIN = 0.3  # of `late_s_max`: the earliest time of a late request
OTHER_KIND_RATIO = 0.3  # of reused keys: the key of an order is sent with a cancel, that of a cancel with an order


@dataclass(frozen=True, slots=True, kw_only=True)
class Resubmission:
    """A resubmission of `kind`, `delay_s` after the acknowledgement."""

    kind: str
    delay_s: float


def early_delay_s(plan: LoadPlan, operation: Operation) -> float | None:
    """Return when to resubmit the operation whether or not it is answered; None for most operations."""
    draws = Draws(plan.seed, operation.op_id * ATTEMPTS_PER_KEY, RESEND)
    if draws.unit() >= plan.resubmit_early_ratio:
        return None
    return draws.unit() * EARLY_S_MAX


def resubmission(plan: LoadPlan, operation: Operation) -> Resubmission | None:
    """Return the resubmission of an acknowledged order or cancel; None for most of them."""
    draws = Draws(plan.seed, operation.op_id, RESUBMIT)
    if draws.unit() >= plan.resubmit_ratio * (CANCELS_FACTOR if operation.op == CANCEL else 1):
        return None
    kind = (RESUBMIT_SEQUENTIAL, RESUBMIT_CONCURRENT, REUSE_KEY)[draws.below(3)]
    return Resubmission(kind=kind, delay_s=draws.unit() * RESUBMIT_S_MAX)


def late_delay_s(plan: LoadPlan, operation: Operation) -> float | None:
    """Return how long after the acknowledgement late requests follow; None for most operations."""
    draws = Draws(plan.seed, operation.op_id, LATE)
    if draws.unit() >= plan.late_ratio:
        return None
    return plan.late_s_max * (LATE_SHARE_MIN + (1 - LATE_SHARE_MIN) * draws.unit())


def resend_content(plan: LoadPlan, operation: Operation, number: int) -> Operation:
    """Return the content of attempt `number` of the key: the same, but a share of orders gets a new order id."""
    if operation.type == "":
        return operation
    draws = Draws(plan.seed, operation.op_id * ATTEMPTS_PER_KEY + number, RESEND)
    if draws.unit() >= plan.new_order_id_ratio:
        return operation
    return operation._replace(order_id=renamed(operation.order_id, number))


def reuse_content(plan: LoadPlan, operation: Operation, number: int, order_id: str) -> Operation:
    """Return other content for the key of the operation.

    At times it is a cancel under the key of an order, or an order under that of a cancel. Otherwise one field differs
    (market, quantity, side, price, time in force, or both quantity and price so that their joined digits are the
    same), because an implementation may forget to compare any one of them. An order also gets a new order id, so that
    the key is the only reason to refuse it. The content of a cancel is the order that it names: `order_id`, another
    order of the same client, or the acknowledged order itself if the key is that of an order.
    """
    draws = Draws(plan.seed, operation.op_id, REUSE)
    other_kind = draws.unit() < OTHER_KIND_RATIO
    if operation.op == CANCEL:
        return _order_under(operation, number) if other_kind else operation._replace(order_id=order_id)
    if other_kind:
        return operation._replace(op=CANCEL, order_id=order_id, side="", type="", tif="", qty=0, price=0)
    others: list[dict[str, Any]] = [{"symbol": symbol} for symbol in plan.markets if symbol != operation.symbol][:1]
    others += [{"qty": operation.qty + 1}, {"side": "SELL" if operation.side == "BUY" else "BUY"}]
    if operation.type == "LIMIT":
        others += [{"price": operation.price + 1}, {"tif": "IOC" if operation.tif == "GTC" else "GTC"}]
        others += _same_digits(operation)
    other = others[draws.below(len(others))]
    return operation._replace(order_id=renamed(operation.order_id, number), **other)


def _order_under(cancel: Operation, number: int) -> Operation:
    """Return a small order under the key of a cancel."""
    return cancel._replace(
        op=ORDER,
        order_id=renamed(cancel.order_id, number),
        side="BUY",
        type="LIMIT",
        tif="GTC",
        qty=1,
        price=PRICE_MIDS[0],
    )


def _same_digits(operation: Operation) -> list[dict[str, Any]]:
    """Move the first digit of the price to the end of the quantity, if a price is left that does not begin with 0."""
    price = str(operation.price)
    if len(price) < 2 or price[1] == "0":
        return []
    return [{"qty": int(f"{operation.qty}{price[0]}"), "price": int(price[1:])}]
