"""Choose what clients sent in the past, before a load: the orders and cancels that a run's ledger begins with.

They are operations of the same order flow as the load's own, under other keys and order ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import count

from kit.load.orders import Operation, OrderFlow
from kit.load.plan import LoadPlan
from kit.model import ORDER
from kit.parameter_specs import SEED_MAX

# Added to the operations' numbers. No operation of a load, and none that follows one, has such a number.
PAST_BASE = (1 << 47) + (1 << 46)


def past_operations(plan: LoadPlan) -> Iterator[Operation]:
    """Yield orders and cancels until they are `plan.past_orders` orders."""
    orders = 0
    for number in count():
        if orders == plan.past_orders:
            return
        operation = past_operation(plan, number)
        orders += operation.op == ORDER
        yield operation


def past_operation(plan: LoadPlan, number: int) -> Operation:
    """Return one operation of the past. Those with numbers below `plan.past_orders` are all part of it."""
    return _flow(plan).operation(number)._replace(op_id=PAST_BASE + number)


@lru_cache(maxsize=1)
def _flow(plan: LoadPlan) -> OrderFlow:
    """Return a flow without reads, whose keys and order ids no load has."""
    return OrderFlow(
        replace(
            plan, run_id=f"{plan.run_id}-past", seed=(plan.seed + 1) % (SEED_MAX + 1), book_ratio=0.0, trades_ratio=0.0
        )
    )
