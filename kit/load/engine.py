"""The open loop: each operation is sent when its time has come, whatever became of those before it.

Owns the life of an operation from its intended start to a known outcome: time-outs, late answers, retries, probes,
and the drain that asks unknown outcomes again. Must not know files, processes or the stream.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import Callable

from kit import model as kinds
from kit.load import resubmissions, retry
from kit.load.counts import Counts
from kit.load.http_attempt import Attempt, Course
from kit.load.ledger_cursor import Places
from kit.load.orders import READS, Operation
from kit.load.pacer import Pace
from kit.load.plan import LoadPlan
from kit.load.pool import Pool
from kit.load.requests import Requests
from kit.model import CANCEL, NS_PER_MS, NS_PER_S, ORDER, TRADES, Outcome

SWEEP_S = 0.01  # how often time-outs are looked for
LATE_S_MAX = 10.0  # how long an answer is still waited for after its time-out
REASK_AT_ONCE = 32  # operations asked again side by side
REASK_ATTEMPTS_MAX = 60  # for each operation
DRAIN_S_MAX = 30.0  # from the last operation to the end of the drain
SETTLE_POLL_S = 0.02

ORDER_ID = re.compile(r"[A-Za-z0-9_.-]{1,100}")  # what may stand in a path

Record = Callable[[Attempt], None]


class Engine:
    """Runs one plan once: `await run()`; `stop_issuing()` and `cut_short()` may be called at any time."""

    def __init__(
        self,
        plan: LoadPlan,
        loop: asyncio.AbstractEventLoop,
        *,
        record: Record,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._plan = plan
        self._loop = loop
        self._record = record
        self._clock = clock
        self._pace = Pace(plan, loop, issue=self._issue, clock=clock)
        self._pool = Pool(loop, host=plan.host, port=plan.port, connections_max=plan.connections_max)
        self._pool.listener = self
        self._places = Places(plan)
        self._requests = Requests(host=plan.host, port=plan.port, seed=plan.seed, started_s=int(time.time()))
        self._timeout_ns = plan.timeout_ms * NS_PER_MS
        self._waiting: deque[Attempt] = deque()  # in the order of their deadlines: all wait equally long
        self._late: deque[Attempt] = deque()  # timed out, their rows still open for a late answer
        self._unknown: dict[int, Course] = {}
        self._orders: dict[str, tuple[str, str]] = {}  # by client the last two orders that were acknowledged
        self._open = 0  # courses that are not settled
        self._cut_short = False
        self.counts = Counts()

    @property
    def inflight(self) -> int:
        return self.counts.sent - self.counts.completed

    @property
    def unknown(self) -> int:
        """Operations whose outcome no answer has settled."""
        return len(self._unknown)

    @property
    def unsettled(self) -> int:
        """Operations that the end of the run caught with a request or a retry still to come."""
        return self._open

    @property
    def connections_opened(self) -> int:
        return self._pool.opened

    @property
    def issuing(self) -> bool:
        return not self._pace.ended.is_set()

    @property
    def intended(self) -> int:
        """Operations whose time has come."""
        return self._pace.intended

    def stop_issuing(self) -> None:
        """Start no new operation or probe; those under way are finished."""
        self._pace.stop()

    def cut_short(self) -> None:
        """End the drain as soon as possible; what is unknown stays unknown."""
        self.stop_issuing()
        self._cut_short = True

    async def run(self) -> None:
        """Send the whole schedule, then finish and drain; bounded by the plan's duration and `DRAIN_S_MAX`."""
        sweeper = self._loop.create_task(self._sweep())
        sweeper.add_done_callback(self._swept)
        try:
            self._pace.start()
            await self._pace.ended.wait()
            deadline_ns = self._clock() + int(DRAIN_S_MAX * NS_PER_S)
            await self._settled(deadline_ns)
            await self._reask(deadline_ns)
            await self._late_answers(deadline_ns)
        finally:
            sweeper.cancel()
            self._pace.stop()
            self._abandon()

    # Sending.

    def _issue(self, operation: Operation, intended_ns: int = 0) -> None:
        if operation.op == TRADES:
            operation = self._places.begun(operation)
        course = Course(operation)
        course.pending = 1  # held, so that the course is not settled before all of this is under way
        self._open += 1
        sent = self._send(course, kinds.FIRST, operation, intended_ns)
        delay_s = None if operation.op in READS else resubmissions.early_delay_s(self._plan, operation)
        if sent and delay_s is not None:
            self._later(delay_s, course, kinds.RESUBMIT_EARLY)
        self._leave(course)

    def _send(self, course: Course, kind: str, content: Operation, intended_ns: int = 0) -> bool:
        """Send one request of the course now; False if it was dropped for want of a connection."""
        now = self._clock()
        attempt = Attempt(course, kind, content, intended_ns or now, now)
        payload = self._requests.encode(content, attempt.number)
        if intended_ns:
            self.counts.saw_lag(now - intended_ns)
        if kind in (kinds.FIRST, kinds.RETRY, kinds.REASK):
            course.tries += 1
        if not self._pool.send(attempt, payload) and not (self._make_room() and self._pool.send(attempt, payload)):
            self.counts.dropped += 1
            return False
        course.pending += 1
        self.counts.sent += 1
        self._waiting.append(attempt)
        return True

    def _make_room(self) -> bool:
        """Free the connection that has waited longest for a late answer; False if none does."""
        if not self._late:
            return False
        self._close_row(self._late.popleft())
        return True

    def _later(self, delay_s: float, course: Course, kind: str) -> None:
        course.pending += 1
        self._loop.call_later(delay_s, self._fire, course, kind)

    def _fire(self, course: Course, kind: str) -> None:
        moot = course.answered and kind in (kinds.RETRY, kinds.REASK)
        if not (self._cut_short or moot):
            for _ in range(resubmissions.CONCURRENT_TAPS if kind == kinds.RESUBMIT_CONCURRENT else 1):
                self._send(course, kind, self._content(course, kind))
        self._leave(course)

    def _content(self, course: Course, kind: str) -> Operation:
        operation, number = course.operation, course.sent + 1
        if kind == kinds.REASK:
            return operation
        if kind == kinds.REUSE_KEY:
            return resubmissions.reuse_content(self._plan, operation, number, self._other_order(operation))
        return resubmissions.resend_content(self._plan, operation, number)

    # What became of it.

    def answered(self, attempt: Attempt, status: int, body: bytes) -> None:
        """A whole answer came, in time or late."""
        attempt.reply = body
        if attempt.outcome:
            attempt.late_status, attempt.late_ns = status, self._clock()
            self.counts.late += 1
            self._late.remove(attempt)
            self._learn(attempt, status, "")
            self._record(attempt)
            return
        attempt.status = status
        self._complete(attempt, retry.outcome(status, ""))

    def lost(self, attempt: Attempt, error: str) -> None:
        """No whole answer will come."""
        if attempt.outcome:
            self._late.remove(attempt)
            self._record(attempt)
            return
        attempt.error = error
        self._complete(attempt, retry.outcome(0, error))

    def _complete(self, attempt: Attempt, outcome: Outcome) -> None:
        attempt.completed_ns = self._clock()
        attempt.outcome = outcome.value
        course = attempt.course
        if outcome is Outcome.INFO:
            course.doubtful = True
        self.counts.saw(attempt)
        if attempt.error == retry.TIMEOUT and attempt.connection is not None:
            self._late.append(attempt)
        else:
            self._record(attempt)
        self._learn(attempt, attempt.status, attempt.error)
        self._follow(attempt)
        self._leave(course)

    def _learn(self, attempt: Attempt, status: int, error: str) -> None:
        """Take over what the answer settles. A probe with other content settles nothing about the key."""
        course = attempt.course
        if attempt.kind == kinds.REUSE_KEY or not retry.answers(status, error):
            return
        course.answered = True
        self._unknown.pop(course.operation.op_id, None)
        if 200 <= status < 300 and not course.acknowledged:
            course.acknowledged = True
            if course.operation.op == TRADES:
                self._places.learn(course.operation.symbol, attempt.reply)
            if course.operation.op not in READS and self.issuing:
                self._tap(course)
            if course.operation.op == ORDER and self.issuing:
                self._acknowledged(course.operation, _order_id_of(attempt))

    def _tap(self, course: Course) -> None:
        """Send an acknowledged key again, if it is one of those."""
        probe = resubmissions.probe(self._plan, course.operation)
        if probe is None or (probe.kind == kinds.REUSE_KEY and not self._may_reuse(course.operation)):
            return
        if probe.kind == kinds.RESUBMIT_SEQUENTIAL:
            course.taps_left = resubmissions.SEQUENTIAL_TAPS - 1
        if course.pending == 0:  # a late acknowledgement reopens a course that was settled
            self._open += 1
        self._later(probe.delay_s, course, probe.kind)

    def _acknowledged(self, operation: Operation, order_id: str) -> None:
        """Ask for an acknowledged order: its client, again and again, and a stranger."""
        plan, last = self._plan, self._orders.get(operation.client_id, ("", ""))[0]
        self._orders[operation.client_id] = order_id, last
        if resubmissions.reads_back(plan, operation):
            for number in range(1, resubmissions.READS_BACK + 1):
                read = resubmissions.read_back(operation, order_id, number)
                self._issue_later(resubmissions.read_back_delay_s(plan, operation, number), read)
        if (asked := resubmissions.by_stranger(plan, operation, order_id)) is not None:
            self._issue(asked)

    def _issue_later(self, delay_s: float, operation: Operation) -> None:
        self._loop.call_later(delay_s, lambda: self._issue(operation) if self.issuing else None)

    def _may_reuse(self, operation: Operation) -> bool:
        """Whether there is other content to send: a cancel needs another order of its client."""
        return operation.op != CANCEL or self._other_order(operation) != ""

    def _other_order(self, operation: Operation) -> str:
        """The last acknowledged order of the client that the operation is not about."""
        known = self._orders.get(operation.client_id, ())
        return next((order_id for order_id in known if order_id not in ("", operation.order_id)), "")

    def _follow(self, attempt: Attempt) -> None:
        """Ask again after an attempt that settled nothing; tap on after a tap."""
        course = attempt.course
        if attempt.kind == kinds.RESUBMIT_SEQUENTIAL and course.taps_left:
            course.taps_left -= 1
            self._later(0.0, course, kinds.RESUBMIT_SEQUENTIAL)
        elif attempt.kind in (kinds.FIRST, kinds.RETRY) and self._may_retry(course):
            seed, after_s = self._plan.seed, attempt.retry_after_s
            self._later(retry.backoff_s(seed, course.operation.op_id, course.tries, after_s), course, kinds.RETRY)

    def _may_retry(self, course: Course) -> bool:
        again = course.tries < self._plan.attempts_max
        return again and not course.answered and course.operation.op not in READS

    def _leave(self, course: Course) -> None:
        """One attempt or timer of the course is done; the last one settles it."""
        course.pending -= 1
        if course.pending == 0:
            self._open -= 1
            if course.unknown:
                self._unknown[course.operation.op_id] = course

    # Time-outs.

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._time_out(self._clock() - self._timeout_ns)
            self._expire(self._clock() - self._timeout_ns - int(LATE_S_MAX * NS_PER_S))

    def _swept(self, sweeper: asyncio.Task[None]) -> None:
        """A sweeper that dies would leave time-outs unseen: hand its error to the loop's handler."""
        if not sweeper.cancelled() and (error := sweeper.exception()) is not None:
            self._loop.call_exception_handler({"message": "sweeper died", "exception": error})

    def _time_out(self, invoked_before_ns: int) -> None:
        while self._waiting and (self._waiting[0].outcome or self._waiting[0].invoked_ns < invoked_before_ns):
            attempt = self._waiting.popleft()
            if attempt.outcome:
                continue
            if attempt.dial is not None:
                self._pool.give_up(attempt)
            attempt.error = retry.TIMEOUT
            self._complete(attempt, retry.outcome(0, retry.TIMEOUT))

    def _expire(self, invoked_before_ns: int) -> None:
        while self._late and self._late[0].invoked_ns < invoked_before_ns:
            self._close_row(self._late.popleft())

    def _close_row(self, attempt: Attempt) -> None:
        self._pool.give_up(attempt)
        self._record(attempt)

    # The end.

    def _in_time(self, deadline_ns: int) -> bool:
        return not self._cut_short and self._clock() < deadline_ns

    async def _settled(self, deadline_ns: int) -> None:
        while self._open and self._in_time(deadline_ns):  # noqa: ASYNC110 - a clock ends it too
            await asyncio.sleep(SETTLE_POLL_S)

    async def _reask(self, deadline_ns: int) -> None:
        """Ask every unknown outcome again under its key, a few at once, until known or out of bounds."""
        while self._unknown and self._in_time(deadline_ns):
            left = [course for course in self._unknown.values() if course.tries < REASK_ATTEMPTS_MAX]
            if not left:
                return
            for course in left[:REASK_AT_ONCE]:
                del self._unknown[course.operation.op_id]
                self._open += 1
                delay_s = retry.backoff_s(self._plan.seed, course.operation.op_id, course.tries + 1)
                self._later(delay_s, course, kinds.REASK)
            await self._settled(deadline_ns)

    async def _late_answers(self, deadline_ns: int) -> None:
        """An operation may still be in the dark only because its answer is late: give that its time."""
        while self._late and self._unknown and self._in_time(deadline_ns):  # noqa: ASYNC110
            await asyncio.sleep(SETTLE_POLL_S)

    def _abandon(self) -> None:
        """Close every row that is still open. What is in flight now timed out by our own impatience: `info`."""
        self._cut_short = True
        self._time_out(self._clock() + 1)
        while self._late:
            self._close_row(self._late.popleft())
        self._pool.close()


def _order_id_of(attempt: Attempt) -> str:
    """The order id that the acknowledgement names; the one that was sent if it names none."""
    try:
        reply = json.loads(attempt.reply)
    except ValueError:
        return attempt.content.order_id
    named = reply.get("orderId") if isinstance(reply, dict) else None
    return named if isinstance(named, str) and ORDER_ID.fullmatch(named) else attempt.content.order_id
