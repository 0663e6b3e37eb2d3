"""Which operations are sent again on purpose, and what is asked once an order is acknowledged.

Owns the sampling, seeded by operation; must not know timers or answers. Clients alone cannot see a doubled order:
every answer of a doubled key may look right. So acknowledged keys are tapped again, in sequence, at once, and with
other content, and the ledger shows what became of them. Orders are read back more than once, through whichever task
answers; and somebody else asks for some, who must not be served.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kit.load.orders import (
    AGAIN,
    PROBE,
    QTY_MAX,
    READ_BACK,
    RESEND,
    REUSE,
    STRANGER,
    Draws,
    Operation,
    client_name,
)
from kit.load.plan import LoadPlan
from kit.model import CANCEL, GET_ORDER, RESUBMIT_CONCURRENT, RESUBMIT_SEQUENTIAL, REUSE_KEY

RESUBMIT_EARLY_S_MAX = 0.2  # an impatient second tap comes within this time of the first
PROBE_S_MAX = 3.0  # a probe follows its acknowledgement within this time
SEQUENTIAL_TAPS = 2
CONCURRENT_TAPS = 3
ATTEMPTS_A_KEY = 128  # more than one key is ever sent
CANCELS_TAPPED = 5  # times as many, for their number, as orders: there are few of them
READS_BACK = 3  # of one order, one after the other
READ_BACK_S_MAX = 1.0  # a read follows the one before within this time
# Operations that follow operation i have numbers of their own, far from those of the schedule.
READ_BACK_BASE = 1 << 40  # read n of operation i is n · READ_BACK_BASE + i, n from 1
STRANGER_BASE = 1 << 44


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """`kind` of resend, `delay_s` after the acknowledgement."""

    kind: str
    delay_s: float


def early_delay_s(plan: LoadPlan, operation: Operation) -> float | None:
    """When to send the operation a second time whatever the first answer is; None for most operations."""
    draws = Draws(plan.seed, operation.op_id * ATTEMPTS_A_KEY, RESEND)
    if draws.unit() >= plan.retry_ratio:
        return None
    return draws.unit() * RESUBMIT_EARLY_S_MAX


def probe(plan: LoadPlan, operation: Operation) -> Probe | None:
    """The double tap of an acknowledged order or cancel; None for most of them."""
    draws = Draws(plan.seed, operation.op_id, PROBE)
    if draws.unit() >= plan.probe_ratio * (CANCELS_TAPPED if operation.op == CANCEL else 1):
        return None
    kind = (RESUBMIT_SEQUENTIAL, RESUBMIT_CONCURRENT, REUSE_KEY)[draws.below(3)]
    return Probe(kind=kind, delay_s=draws.unit() * PROBE_S_MAX)


def reads_back(plan: LoadPlan, operation: Operation) -> bool:
    """Whether the acknowledged order is read right away (read your writes)."""
    return Draws(plan.seed, operation.op_id, READ_BACK).unit() < plan.get_ratio


def read_back(operation: Operation, order_id: str, number: int) -> Operation:
    """Read `number`, from 1, of an acknowledged order; `order_id` is the one that was acknowledged."""
    return Operation(
        op_id=number * READ_BACK_BASE + operation.op_id,
        op=GET_ORDER,
        client_id=operation.client_id,
        order_id=order_id,
        symbol=operation.symbol,
    )


def read_back_delay_s(plan: LoadPlan, operation: Operation, number: int) -> float:
    """How long after the acknowledgement read `number` is sent: the first at once."""
    draws = Draws(plan.seed, operation.op_id, AGAIN)
    return sum((draws.unit() * READ_BACK_S_MAX for _ in range(number - 1)), 0.0)


def by_stranger(plan: LoadPlan, operation: Operation, order_id: str) -> Operation | None:
    """What another client asks of an acknowledged order: to read or to cancel it; None for most orders."""
    draws = Draws(plan.seed, operation.op_id, STRANGER)
    stranger = client_name(draws.below(plan.clients))
    if draws.unit() >= plan.stranger_ratio or stranger == operation.client_id:
        return None
    asked = Operation(
        op_id=STRANGER_BASE + operation.op_id,
        op=GET_ORDER,
        client_id=stranger,
        order_id=order_id,
        symbol=operation.symbol,
    )
    if draws.unit() < 0.5:
        return asked
    return asked._replace(op=CANCEL, idempotency_key=f"{plan.run_id}-s{operation.op_id}")


def resend_content(plan: LoadPlan, operation: Operation, number: int) -> Operation:
    """What attempt `number` of the key carries: the same content, at times under a new order id (orders only)."""
    if operation.type == "":
        return operation
    draws = Draws(plan.seed, operation.op_id * ATTEMPTS_A_KEY + number, RESEND)
    if draws.unit() >= plan.new_order_id_ratio:
        return operation
    return operation._replace(order_id=f"{operation.order_id}-{number}")


def reuse_content(plan: LoadPlan, operation: Operation, number: int, other_order_id: str = "") -> Operation:
    """The key with other content: another market, quantity, side, price or time in force, and nothing else, since
    whoever compares content may have forgotten any of them. A new order id too, lest the refusal is about the order id
    and not the key. Of a cancel the content is the order that it is about: `other_order_id`, of the same client.
    """
    if operation.op == CANCEL:
        return operation._replace(order_id=other_order_id)
    others: list[dict[str, Any]] = [{"symbol": symbol} for symbol in plan.markets if symbol != operation.symbol][:1]
    others += [{"qty": operation.qty % QTY_MAX + 1}, {"side": "SELL" if operation.side == "BUY" else "BUY"}]
    if operation.type == "LIMIT":
        others += [{"price": operation.price + 1}, {"tif": "IOC" if operation.tif == "GTC" else "GTC"}]
    other = others[Draws(plan.seed, operation.op_id, REUSE).below(len(others))]
    return operation._replace(order_id=f"{operation.order_id}-{number}", **other)
