"""Choose the requests that follow an acknowledged order, beside resubmissions of its key.

Its client reads it several times, through whichever task answers, and much later reads or cancels it. Requests that
PaperBroker must refuse follow too: another client reads or cancels the order, its id is sent under a new key, and an
order, a read or a cancel is sent that breaks one rule of the contract. What was refused is corrected and sent again
under the same key. Some clients ask for an order before they send it, and some send two orders with one id at once.
Some orders and cancels of the past, before the load, are read, cancelled or sent again. Each choice is seeded by the
operation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kit.load.identifiers import client_name, is_client_name, renamed
from kit.load.malformed import broken_rule
from kit.load.malformed_requests import malformed_request
from kit.load.orders import (
    ASKED_FIRST,
    CONTESTED,
    LATE,
    PAST,
    READ_AGAIN,
    READ_BACK,
    TAKEN,
    UNAUTHORIZED,
    Draws,
    Operation,
)
from kit.load.past import PAST_BASE, past_operation
from kit.load.plan import LoadPlan
from kit.load.resubmissions import late_delay_s
from kit.model import (
    CANCEL,
    CONTESTED_ORDER_ID,
    FIRST,
    GET_ORDER,
    MALFORMED,
    ORDER,
    RESUBMIT_LATE,
    TAKEN_ORDER_ID,
)

READS_BACK = 3  # of one order, one after the other
READ_BACK_S_MAX = 1.0  # from one read to the next
LATE_CANCEL_RATIO = 0.4  # of orders with late requests; the others are only read, or their key is resubmitted
LATE_UNAUTHORIZED_RATIO = 0.2  # of orders with late requests
AFTER_CANCEL_S = 1.0  # from a late cancel to the read that follows it
# Of unauthorized clients: the name resembles that of the order's client, if there is such a client.
RESEMBLING_RATIO = 0.4
# Operations that follow operation i have op_ids far above those of the schedule, and below 2**48.
READ_BACK_BASE = 1 << 40  # read n of operation i is n · READ_BACK_BASE + i, n from 1
UNAUTHORIZED_BASE, TAKEN_BASE, MALFORMED_BASE = 1 << 44, 1 << 45, 1 << 46
LATE_BASE = 1 << 47
LATE_CANCEL_BASE, LATE_READ_BASE = LATE_BASE + READ_BACK_BASE, LATE_BASE + 2 * READ_BACK_BASE
LATE_UNAUTHORIZED_BASE = LATE_BASE + UNAUTHORIZED_BASE
OF_PAST_BASE = PAST_BASE + TAKEN_BASE
# Of requests for the past: the key is sent again (with another order id in every other case), or the order is read. The
# others cancel it.
OF_PAST_RESUBMIT_RATIO, OF_PAST_READ_RATIO = 0.4, 0.4
OF_PAST_S_MAX = 1.0

RUN_CHARS_MAX = 20  # of the run's id in the name of a malformed order, which also names what is wrong with it
# Longer than the longest time-out of the refused request. Its key must be as good as new then.
CORRECTED_S = 2.5
CORRECTED_EVERY = 4  # of malformed orders: the order is sent as it should have been
# A client asks for an order and cancels it, before it sends the order and afterwards.
ASKED_S, ASKED_AGAIN_S, READ_APART_S = 0.5, 1.2, 0.03
_BETWEEN = range(17, 32)  # in READ_BACK_BASE, between UNAUTHORIZED_BASE and TAKEN_BASE
ASKED_BASES = [n * READ_BACK_BASE for n in _BETWEEN[:7]]
CONTESTED_BASES = [n * READ_BACK_BASE for n in _BETWEEN[7:9]]
CORRECTED_TAKEN_BASE, CORRECTED_MALFORMED_BASE = (n * READ_BACK_BASE for n in _BETWEEN[9:11])
MALFORMED_REQUEST_BASE = _BETWEEN[11] * READ_BACK_BASE


class FollowUp(NamedTuple):
    """An operation that is sent `delay_s` after the acknowledgement, as an attempt of `kind`."""

    delay_s: float
    operation: Operation
    kind: str = FIRST


def scheduled_number(op_id: int) -> int:
    """Return the number of the scheduled operation that an operation follows; its own number if it is scheduled."""
    return op_id % READ_BACK_BASE


def follow_ups(plan: LoadPlan, operation: Operation, order_id: str) -> Iterator[FollowUp]:
    """Yield what follows the order `operation`, which was acknowledged under `order_id`.

    Nothing follows an order that itself followed another one.
    """
    if operation.op_id >= READ_BACK_BASE:
        return
    if Draws(plan.seed, operation.op_id, READ_BACK).unit() < plan.read_back_ratio:
        for number in range(1, READS_BACK + 1):
            delay_s = read_back_delay_s(plan, operation, number)
            yield FollowUp(delay_s, _read(operation, order_id, number * READ_BACK_BASE))
    yield from _unauthorized(plan, operation, order_id)
    yield from _taken_order_id(plan, operation, order_id)
    yield from _malformed(plan, operation)
    yield from _malformed_request(plan, operation, order_id)
    yield from _contested_order_id(plan, operation)
    yield from _asked_first(plan, operation)
    yield from _late(plan, operation, order_id)
    yield from _of_past(plan, operation)


def read_back_delay_s(plan: LoadPlan, operation: Operation, number: int) -> float:
    """Return how long after the acknowledgement read `number` is sent. The first is sent at once."""
    draws = Draws(plan.seed, operation.op_id, READ_AGAIN)
    return sum((draws.unit() * READ_BACK_S_MAX for _ in range(number - 1)), 0.0)


def _read(operation: Operation, order_id: str, base: int) -> Operation:
    return Operation(
        op_id=base + operation.op_id,
        op=GET_ORDER,
        client_id=operation.client_id,
        order_id=order_id,
        symbol=operation.symbol,
    )


def _cancel(plan: LoadPlan, read: Operation) -> Operation:
    """Return a cancel of the order that `read` reads, under a key of its own."""
    return read._replace(op=CANCEL, idempotency_key=f"{plan.run_id}-s{read.op_id}")


def _unauthorized(plan: LoadPlan, operation: Operation, order_id: str) -> Iterator[FollowUp]:
    """Let another client try to read or cancel the order."""
    draws = Draws(plan.seed, operation.op_id, UNAUTHORIZED)
    if draws.unit() >= plan.unauthorized_ratio:
        return
    if (client_id := _other_client(plan, operation.client_id, draws)) != operation.client_id:
        read = _read(operation, order_id, UNAUTHORIZED_BASE)._replace(client_id=client_id)
        yield FollowUp(0.0, read if draws.unit() < 0.5 else _cancel(plan, read))


def _other_client(plan: LoadPlan, owner: str, draws: Draws) -> str:
    """Choose a client, at times one whose name differs from the owner's in case only or is the beginning of it."""
    client_id = client_name(draws.below(plan.clients))
    names = (owner.swapcase(), owner[: len(client_name(0))])
    resembling = [name for name in names if name != owner and is_client_name(name, plan.clients)]
    return resembling[0] if draws.unit() < RESEMBLING_RATIO and resembling else client_id


def _taken_order_id(plan: LoadPlan, operation: Operation, order_id: str) -> Iterator[FollowUp]:
    """Send the order's id again under a new key, by its own or another client."""
    draws = Draws(plan.seed, operation.op_id, TAKEN)
    if draws.unit() < plan.taken_order_id_ratio:
        client_id = operation.client_id if draws.unit() < 0.5 else client_name(draws.below(plan.clients))
        key = f"{plan.run_id}-t{operation.op_id}"
        again = operation._replace(client_id=client_id, idempotency_key=key, order_id=order_id)
        delay_s = draws.unit()
        yield FollowUp(delay_s, again._replace(op_id=TAKEN_BASE + operation.op_id), TAKEN_ORDER_ID)
        corrected = again._replace(op_id=CORRECTED_TAKEN_BASE + operation.op_id, order_id=key)
        yield FollowUp(delay_s + CORRECTED_S, corrected)


def _malformed(plan: LoadPlan, operation: Operation) -> Iterator[FollowUp]:
    """Send an order that breaks one rule of the contract. The rules take turns, so that a short load breaks each."""
    number = _turn(operation.op_id, plan.malformed_ratio)
    if number is None:
        return
    name = _malformed_name(plan, operation)
    fresh = operation._replace(op_id=MALFORMED_BASE + operation.op_id, idempotency_key=name, order_id=name)
    broken = fresh._replace(**broken_rule(number, name))
    yield FollowUp(0.0, broken, MALFORMED)
    is_named = broken.client_id == fresh.client_id and broken.idempotency_key.startswith(name)
    if is_named and number % CORRECTED_EVERY == 1:
        key, op_id = broken.idempotency_key, CORRECTED_MALFORMED_BASE + operation.op_id
        yield FollowUp(CORRECTED_S, fresh._replace(op_id=op_id, idempotency_key=key))


def _malformed_request(plan: LoadPlan, operation: Operation, order_id: str) -> Iterator[FollowUp]:
    """Read or cancel the order in a way that breaks one rule of the contract. The rules take turns."""
    # Beside the orders that a malformed order follows.
    number = _turn(operation.op_id + 1, plan.malformed_request_ratio)
    if number is not None:
        asked = operation._replace(op_id=MALFORMED_REQUEST_BASE + operation.op_id, order_id=order_id)
        yield FollowUp(0.0, malformed_request(number, asked, _malformed_name(plan, operation)), MALFORMED)


def _turn(op_id: int, ratio: float) -> int | None:
    """Return the number of the turn that this operation has, if it is among that share of operations."""
    every = round(1 / ratio) if ratio else 0
    return op_id // every if every and op_id % every == every - 1 else None


def _malformed_name(plan: LoadPlan, operation: Operation) -> str:
    return f"{plan.run_id[:RUN_CHARS_MAX]}-m{operation.op_id}"


def _contested_order_id(plan: LoadPlan, operation: Operation) -> Iterator[FollowUp]:
    """Send two orders of one client with one id, under two keys, at once. One of them must be refused."""
    draws = Draws(plan.seed, operation.op_id, CONTESTED)
    if draws.unit() >= plan.contested_ratio:
        return
    delay_s, name = draws.unit(), f"{plan.run_id}-c{operation.op_id}"
    for base, key in zip(CONTESTED_BASES, (name, f"{name}-2"), strict=True):
        order = operation._replace(op_id=base + operation.op_id, idempotency_key=key, order_id=name)
        yield FollowUp(delay_s, order, CONTESTED_ORDER_ID)


def _asked_first(plan: LoadPlan, operation: Operation) -> Iterator[FollowUp]:
    """Read and cancel an order before it is sent, as a client does that has forgotten whether it was; then again."""
    draws = Draws(plan.seed, operation.op_id, ASKED_FIRST)
    if draws.unit() >= plan.asked_first_ratio:
        return
    name = f"{plan.run_id}-a{operation.op_id}"
    bases = iter(ASKED_BASES)
    for delay_s in (0.0, ASKED_AGAIN_S):
        reads = [_read(operation, name, next(bases)) for _ in range(2)]
        cancel = _read(operation, name, next(bases))._replace(op=CANCEL, idempotency_key=f"{name}-x")
        for number, one in enumerate((*reads, cancel)):
            yield FollowUp(delay_s + number * READ_APART_S, one)
    order = operation._replace(op_id=next(bases) + operation.op_id, idempotency_key=name, order_id=name)
    yield FollowUp(ASKED_S, order)


def _late(plan: LoadPlan, operation: Operation, order_id: str) -> Iterator[FollowUp]:
    """Read the order much later; let its client cancel it then, or another client try to."""
    delay_s = late_delay_s(plan, operation)
    if delay_s is None:
        return
    draws, read = Draws(plan.seed, LATE_BASE + operation.op_id, LATE), _read(operation, order_id, LATE_BASE)
    yield FollowUp(delay_s, read)
    if draws.unit() < LATE_CANCEL_RATIO:
        yield FollowUp(delay_s, _cancel(plan, _read(operation, order_id, LATE_CANCEL_BASE)))
        yield FollowUp(delay_s + AFTER_CANCEL_S, _read(operation, order_id, LATE_READ_BASE))
    if draws.unit() >= LATE_UNAUTHORIZED_RATIO:
        return
    if (client_id := _other_client(plan, operation.client_id, draws)) != operation.client_id:
        other = _read(operation, order_id, LATE_UNAUTHORIZED_BASE)._replace(client_id=client_id)
        yield FollowUp(delay_s, _cancel(plan, other) if draws.unit() < 0.5 else other)


def _of_past(plan: LoadPlan, operation: Operation) -> Iterator[FollowUp]:
    """Send a key of the past again, or let the client of an order of the past read or cancel it."""
    draws = Draws(plan.seed, operation.op_id, PAST)
    if not plan.past_seqs or draws.unit() >= plan.past_ratio:
        return
    past = past_operation(plan, draws.below(plan.past_orders))
    delay_s, what = draws.unit() * OF_PAST_S_MAX, draws.unit()
    if what < OF_PAST_RESUBMIT_RATIO:
        again = past._replace(op_id=OF_PAST_BASE + operation.op_id)
        if past.op == ORDER and operation.op_id % 2:
            again = again._replace(order_id=renamed(past.order_id, 1))
        yield FollowUp(delay_s, again, RESUBMIT_LATE)
        return
    read = _read(past._replace(op_id=operation.op_id), past.order_id, OF_PAST_BASE)
    is_read = what < OF_PAST_RESUBMIT_RATIO + OF_PAST_READ_RATIO
    yield FollowUp(delay_s, read if is_read else _cancel(plan, read))
