"""One request as a client saw it, and the course of the operation that it belongs to.

Owns what is known, attempt by attempt; must not know sockets, schedules or files. Times are monotonic ns; the history
turns them into epoch ns when it writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.load.orders import READS, Operation

if TYPE_CHECKING:
    import asyncio

    from kit.load.pool import Connection


class Course:
    """An operation on its way: how often it was sent and what the answers have settled.

    `pending` counts attempts in flight and attempts that wait for their timer. `doubtful` says that an attempt may
    have had an effect without an answer; `answered` that a definite answer (2xx, or a refusal of the content) came.
    """

    __slots__ = ("acknowledged", "answered", "doubtful", "operation", "pending", "sent", "taps_left", "tries")

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.sent = 0
        self.tries = 0
        self.pending = 0
        self.taps_left = 0
        self.acknowledged = False
        self.answered = False
        self.doubtful = False

    @property
    def unknown(self) -> bool:
        """Whether the operation may or may not have happened, and asking again could tell."""
        return self.doubtful and not self.answered and self.operation.op not in READS


class Attempt:
    """One request. Mutable and slotted: it is filled in while it happens, thousands of times a second."""

    __slots__ = (
        "completed_ns",
        "connection",
        "content",
        "course",
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
        "status",
    )

    def __init__(self, course: Course, kind: str, content: Operation, intended_ns: int, invoked_ns: int) -> None:
        course.sent += 1
        self.course = course
        self.kind = kind
        self.number = course.sent
        self.content = content
        self.intended_ns = intended_ns
        self.invoked_ns = invoked_ns
        self.completed_ns = 0
        self.outcome = ""  # "" = in flight
        self.status = 0
        self.error = ""
        self.reply = b""
        self.retry_after_s = 0.0  # what the answer asked for
        self.late_status = 0
        self.late_ns = 0
        self.connection: Connection | None = None
        self.dial: asyncio.Task[None] | None = None

    def row(self, epoch_ns: int) -> tuple[object, ...]:
        """The attempt in the order of `kit.model.ATTEMPT_COLUMNS`; `epoch_ns` is the epoch time of monotonic 0."""
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
            self.late_status,
            self.late_ns + epoch_ns if self.late_ns else 0,
        )
