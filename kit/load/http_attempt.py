"""Record one request as a client saw it, and the state of the operation that it belongs to.

Times are monotonic ns. They become epoch ns when the history is written.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from kit.load.orders import READS, Operation


class OperationState:
    """Whether an operation is settled, over all of its attempts.

    `tries` counts the attempts that the retry budget limits (first, retry, reask), `sent` all attempts. `pending`
    counts attempts in flight and attempts that wait for their timer. `maybe_applied` is true once an attempt ended
    without an answer and may have had an effect. `answered` is true once a definite answer arrived: a 2xx or a refusal
    of the content.
    """

    __slots__ = (
        "acknowledged",
        "answered",
        "maybe_applied",
        "operation",
        "order_id",
        "pending",
        "sent",
        "sequential_left",
        "tries",
    )

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.order_id = operation.order_id  # of an acknowledged order: the id in the acknowledgement
        self.sent = 0
        self.tries = 0
        self.pending = 0
        self.sequential_left = 0  # sequential resubmissions still to be sent
        self.acknowledged = False
        self.answered = False
        self.maybe_applied = False

    @property
    def unknown(self) -> bool:
        """Whether the operation may or may not have been applied. Reads have no effect, so they are never unknown."""
        return self.maybe_applied and not self.answered and self.operation.op not in READS


class Droppable(Protocol):
    """The connection that carries an attempt."""

    def drop(self) -> None: ...


class Attempt:
    """One request. Mutable and slotted, because thousands a second are created and filled in."""

    __slots__ = (
        "completed_ns",
        "connection",
        "content",
        "dial",
        "error",
        "intended_ns",
        "invoked_ns",
        "kind",
        "late_ns",
        "late_status",
        "number",
        "outcome",
        "reply",
        "retry_after_s",
        "state",
        "status",
    )

    def __init__(self, state: OperationState, kind: str, content: Operation, intended_ns: int, invoked_ns: int) -> None:
        state.sent += 1
        self.state = state
        self.kind = kind
        self.number = state.sent
        self.content = content
        self.intended_ns = intended_ns
        self.invoked_ns = invoked_ns
        self.completed_ns = 0
        self.outcome = ""  # "" while the request is in flight
        self.status = 0
        self.error = ""
        self.reply = b""
        self.retry_after_s = 0.0  # the answer's Retry-After
        self.late_status = 0
        self.late_ns = 0
        self.connection: Droppable | None = None
        self.dial: asyncio.Task[None] | None = None

    def row(self, epoch_ns: int) -> tuple[object, ...]:
        """Return the row of `kit.model.ATTEMPT_COLUMNS`. `epoch_ns` is the epoch time of monotonic 0."""
        content = self.content
        return (
            content.op_id,
            content.op,
            self.kind,
            self.number,
            content.client_id,
            content.idempotency_key,
            content.order_id,
            content.symbol,
            content.side,
            content.type,
            content.tif,
            content.qty,
            content.price,
            content.depth,
            content.limit,
            content.after,
            self.intended_ns + epoch_ns,
            self.invoked_ns + epoch_ns,
            self.completed_ns + epoch_ns,
            self.outcome,
            self.status,
            self.error,
            self.reply.decode("utf-8", "replace"),
            int(self.retry_after_s),
            self.late_status,
            self.late_ns + epoch_ns if self.late_ns else 0,
        )
