"""Choose the requests that follow an acknowledged order, beside resubmissions of its key.

Its client reads it several times, through whichever task answers, and much later reads or cancels it. Requests that
PaperBroker must refuse follow too: another client reads or cancels the order, its id is sent under a new key, and an
order is sent that breaks one rule of the contract. Each choice is seeded by the operation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from kit.load.identifiers import LENGTH_MAX, client_name, is_client_name
from kit.load.orders import LATE, READ_AGAIN, READ_BACK, TAKEN, UNAUTHORIZED, Draws, Operation
from kit.load.plan import LoadPlan
from kit.load.resubmissions import late_delay_s
from kit.model import CANCEL, FIRST, GET_ORDER, MALFORMED, TAKEN_ORDER_ID

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

# What breaks the contract: a name that is empty, too long, or has a character that is not accepted …
BAD_NAMES = (
    "", "0" * (LENGTH_MAX + 1), "a b", "a/b", "a%2Fb", "a#b", "a|b", "a\n", "\tk", "caf\u00e9", "cafe\u0301",
    "\uff41\uff42", "\u0661", "a\u0000", "\u212a1",
)  # fmt: skip
NAMED = ("idempotency_key", "order_id", "client_id")
# … a number out of its bounds, or an unknown word.
BAD_VALUES: tuple[dict[str, Any], ...] = (
    *({"qty": qty} for qty in (0, -1, 1_000_000_001)),
    *({"type": "LIMIT", "tif": "GTC", "price": price} for price in (0, -1, 1_000_000_000_001)),
    *({"side": side} for side in ("", "buy", "HOLD")),
    *({"type": kind, "price": 1} for kind in ("", "limit", "STOP")),
    *({"tif": tif} for tif in ("gtc", "DAY")),
    {"type": "MARKET", "tif": "GTC", "price": 0},
    *({"symbol": symbol} for symbol in ("", "acme", "NO-SUCH")),
)
RULES = len(BAD_NAMES) + len(BAD_VALUES)


class FollowUp(NamedTuple):
    """An operation that is sent `delay_s` after the acknowledgement, as an attempt of `kind`."""

    delay_s: float
    operation: Operation
    kind: str = FIRST


def follow_ups(plan: LoadPlan, operation: Operation, order_id: str) -> Iterator[FollowUp]:
    """Yield what follows the order `operation`, which was acknowledged under `order_id`."""
    if Draws(plan.seed, operation.op_id, READ_BACK).unit() < plan.read_back_ratio:
        for number in range(1, READS_BACK + 1):
            delay_s = read_back_delay_s(plan, operation, number)
            yield FollowUp(delay_s, _read(operation, order_id, number * READ_BACK_BASE))
    yield from _unauthorized(plan, operation, order_id)
    yield from _taken_order_id(plan, operation, order_id)
    yield from _malformed(plan, operation)
    yield from _late(plan, operation, order_id)


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
        yield FollowUp(draws.unit(), again._replace(op_id=TAKEN_BASE + operation.op_id), TAKEN_ORDER_ID)


def _malformed(plan: LoadPlan, operation: Operation) -> Iterator[FollowUp]:
    """Send an order that breaks one rule of the contract. The rules take turns, so that a short load breaks each."""
    every = round(1 / plan.malformed_ratio) if plan.malformed_ratio else 0
    if every and operation.op_id % every == every - 1:
        name = f"{plan.run_id}-m{operation.op_id}"
        fresh = operation._replace(op_id=MALFORMED_BASE + operation.op_id, idempotency_key=name, order_id=name)
        yield FollowUp(0.0, fresh._replace(**broken_rule(operation.op_id // every)), MALFORMED)


def broken_rule(number: int) -> dict[str, Any]:
    """Return the fields that break rule `number`. A bad name is each time in another field."""
    turn, rule = divmod(number, RULES)
    if rule < len(BAD_NAMES):
        return {NAMED[(turn + rule) % len(NAMED)]: BAD_NAMES[rule]}
    return BAD_VALUES[rule - len(BAD_NAMES)]


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
