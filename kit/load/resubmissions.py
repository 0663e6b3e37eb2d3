"""Choose which operations are sent again on purpose, and which reads follow an acknowledged order.

Clients alone cannot detect a doubled order, because every answer of a doubled key may look right. So acknowledged keys
are resubmitted sequentially, concurrently, and with another payload, and the ledger shows the effect. Acknowledged
orders are also read several times, through whichever task answers, and another client tries to read or cancel some of
them, which must be refused. Each choice is seeded by the operation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kit.load.orders import (
    QTY_MAX,
    READ_AGAIN,
    READ_BACK,
    RESEND,
    RESUBMIT,
    REUSE,
    UNAUTHORIZED,
    Draws,
    Operation,
    client_name,
)
from kit.load.plan import LoadPlan
from kit.model import CANCEL, GET_ORDER, RESUBMIT_CONCURRENT, RESUBMIT_SEQUENTIAL, REUSE_KEY

EARLY_S_MAX = 0.2  # from the first attempt to its early resubmission
RESUBMIT_S_MAX = 3.0  # from the acknowledgement to the resubmission of its key
SEQUENTIAL_COUNT = 2
CONCURRENT_COUNT = 3
ATTEMPTS_PER_KEY = 128  # larger than the number of attempts of any key
CANCELS_FACTOR = 5  # cancels are few, so their keys are resubmitted five times as often as those of orders
READS_BACK = 3  # of one order, one after the other
READ_BACK_S_MAX = 1.0  # from one read to the next
# Operations that follow operation i have op_ids far above those of the schedule.
READ_BACK_BASE = 1 << 40  # read n of operation i is n · READ_BACK_BASE + i, n from 1
UNAUTHORIZED_BASE = 1 << 44


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


def is_read_back(plan: LoadPlan, operation: Operation) -> bool:
    """Return whether the acknowledged order is read at once (read your writes)."""
    return Draws(plan.seed, operation.op_id, READ_BACK).unit() < plan.read_back_ratio


def read_back(operation: Operation, order_id: str, number: int) -> Operation:
    """Return read `number`, from 1, of an order that was acknowledged under `order_id`."""
    return Operation(
        op_id=number * READ_BACK_BASE + operation.op_id,
        op=GET_ORDER,
        client_id=operation.client_id,
        order_id=order_id,
        symbol=operation.symbol,
    )


def read_back_delay_s(plan: LoadPlan, operation: Operation, number: int) -> float:
    """Return how long after the acknowledgement read `number` is sent. The first is sent at once."""
    draws = Draws(plan.seed, operation.op_id, READ_AGAIN)
    return sum((draws.unit() * READ_BACK_S_MAX for _ in range(number - 1)), 0.0)


def unauthorized_request(plan: LoadPlan, operation: Operation, order_id: str) -> Operation | None:
    """Return another client's attempt to read or cancel an acknowledged order; None for most orders."""
    draws = Draws(plan.seed, operation.op_id, UNAUTHORIZED)
    client_id = client_name(draws.below(plan.clients))
    if draws.unit() >= plan.unauthorized_ratio or client_id == operation.client_id:
        return None
    read = Operation(
        op_id=UNAUTHORIZED_BASE + operation.op_id,
        op=GET_ORDER,
        client_id=client_id,
        order_id=order_id,
        symbol=operation.symbol,
    )
    if draws.unit() < 0.5:
        return read
    return read._replace(op=CANCEL, idempotency_key=f"{plan.run_id}-s{operation.op_id}")


def resend_content(plan: LoadPlan, operation: Operation, number: int) -> Operation:
    """Return the content of attempt `number` of the key: the same, but a share of orders gets a new order id."""
    if operation.type == "":
        return operation
    draws = Draws(plan.seed, operation.op_id * ATTEMPTS_PER_KEY + number, RESEND)
    if draws.unit() >= plan.new_order_id_ratio:
        return operation
    return operation._replace(order_id=f"{operation.order_id}-{number}")


def reuse_content(plan: LoadPlan, operation: Operation, number: int, other_order_id: str = "") -> Operation:
    """Return other content for the key of the operation.

    One field differs (market, quantity, side, price or time in force), because an implementation may forget to compare
    any one of them. An order also gets a new order id, so that the key is the only reason to refuse it. The content of
    a cancel is the order that it names: `other_order_id`, an order of the same client.
    """
    if operation.op == CANCEL:
        return operation._replace(order_id=other_order_id)
    others: list[dict[str, Any]] = [{"symbol": symbol} for symbol in plan.markets if symbol != operation.symbol][:1]
    others += [{"qty": operation.qty % QTY_MAX + 1}, {"side": "SELL" if operation.side == "BUY" else "BUY"}]
    if operation.type == "LIMIT":
        others += [{"price": operation.price + 1}, {"tif": "IOC" if operation.tif == "GTC" else "GTC"}]
    other = others[Draws(plan.seed, operation.op_id, REUSE).below(len(others))]
    return operation._replace(order_id=f"{operation.order_id}-{number}", **other)
