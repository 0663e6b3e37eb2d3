"""Send each operation at its scheduled time, regardless of earlier responses (open loop).

The engine follows each operation until its outcome is known. It handles time-outs, late answers, retries and
resubmissions. At the end it drains: it repeats requests whose outcome is unknown, under the same key.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from kit import model
from kit.load import resubmissions, retry
from kit.load.counts import Counts
from kit.load.follow_ups import FollowUp, follow_ups
from kit.load.http_attempt import Attempt, OperationState
from kit.load.ledger_cursor import LedgerCursors
from kit.load.orders import POSTPONED, READS, Draws, Operation
from kit.load.pacer import Pacer
from kit.load.plan import LoadPlan
from kit.load.pool import Pool
from kit.load.requests import Requests
from kit.load.shards import Shard
from kit.model import CANCEL, NS_PER_MS, NS_PER_S, ORDER, TRADES, Outcome

SWEEP_S = 0.01  # between two searches for timed-out requests
LATE_S_MAX = 10.0  # how long after the time-out a late answer is still recorded
REASKS_AT_ONCE = 32  # operations that the drain repeats in parallel
REASK_ATTEMPTS_MAX = 60  # attempts of one operation, including its first one and its retries
DRAIN_S_MAX = 30.0  # from the last operation to the end of the drain
SETTLE_POLL_S = 0.02
POSTPONED_S_MAX = 60.0  # after an idle time, over which requests that were due in it are spread

ORDER_ID = re.compile(r"[A-Za-z0-9_.:-]{1,100}")  # safe in a path

Record = Callable[[Attempt], None]


class Engine:
    """Run one plan once, or one shard of it, by `await run()`.

    `stop_issuing()` and `cut_short()` may be called at any time.
    """

    def __init__(
        self, plan: LoadPlan, loop: asyncio.AbstractEventLoop, *, record: Record, shard: Shard | None = None
    ) -> None:
        self._plan = plan
        self._loop = loop
        self._record = record
        self.pacer = Pacer(plan, loop, issue=self._issue, shard=shard or Shard())
        self._pool = Pool(loop, host=plan.host, port=plan.port, connections_max=plan.connections_max)
        self._pool.listener = self
        self._cursors = LedgerCursors(plan)
        self._requests = Requests(host=plan.host, port=plan.port, seed=plan.seed, started_s=int(time.time()))
        self._timeout_ns = plan.timeout_ms * NS_PER_MS
        self._waiting: deque[Attempt] = deque()  # in flight; ordered by deadline, since all have the same time-out
        self._late: deque[Attempt] = deque()  # timed out, but not recorded yet, because a late answer may still come
        self._unknown: dict[int, OperationState] = {}
        self._last_orders: dict[str, tuple[str, str]] = {}  # the last two acknowledged orders of each client
        self._open = 0  # operations with an attempt in flight, or with a timer for the next attempt
        self._cut_short = False
        self.counts = Counts()

    @property
    def inflight(self) -> int:
        return self.counts.sent - self.counts.completed

    @property
    def unknown(self) -> int:
        """The number of operations whose outcome is not known yet."""
        return len(self._unknown)

    @property
    def unsettled(self) -> int:
        """The number of operations with a request in flight, or with a timer for the next one."""
        return self._open

    @property
    def connections_opened(self) -> int:
        return self._pool.opened

    @property
    def issuing(self) -> bool:
        return not self.pacer.ended.is_set()

    @property
    def intended(self) -> int:
        """The number of operations whose scheduled time has passed."""
        return self.pacer.intended

    def stop_issuing(self) -> None:
        """Start no new operation or resubmission, but finish those that have begun."""
        self.pacer.stop()

    def cut_short(self) -> None:
        """End the drain as soon as possible and leave unknown outcomes unknown."""
        self.stop_issuing()
        self._cut_short = True

    async def run(self, zero_ns: int = 0) -> None:
        """Send the whole schedule, then finish and drain; bounded by the plan's duration and `DRAIN_S_MAX`.

        `zero_ns` is the monotonic time at which the schedule begins; 0: soon.
        """
        sweeper = self._loop.create_task(self._sweep())
        sweeper.add_done_callback(self._report_sweeper_error)
        try:
            self.pacer.start(zero_ns)
            await self.pacer.ended.wait()
            deadline_ns = time.monotonic_ns() + int(DRAIN_S_MAX * NS_PER_S)
            await self._wait_until_settled(deadline_ns)
            await self._reask(deadline_ns)
            await self._wait_for_late_answers(deadline_ns)
        finally:
            sweeper.cancel()
            self.pacer.stop()
            self._close_all()

    # Sending.

    def _issue(self, operation: Operation, intended_ns: int = 0, kind: str = model.FIRST) -> None:
        if operation.op == TRADES:
            operation = self._cursors.with_cursor(operation)
        state = OperationState(operation)
        state.pending = 1  # keeps the operation open until the calls below have sent or scheduled its attempts
        self._open += 1
        sent = self._send(state, kind, operation, intended_ns)
        may_repeat = operation.op not in READS and kind == model.FIRST
        delay_s = resubmissions.early_delay_s(self._plan, operation) if may_repeat else None
        if sent and delay_s is not None:
            self._send_later(delay_s, state, model.RESUBMIT_EARLY)
        self._release(state)

    def _send(self, state: OperationState, kind: str, content: Operation, intended_ns: int = 0) -> bool:
        """Send one attempt now; False if it was dropped because all connections are in use."""
        now = time.monotonic_ns()
        attempt = Attempt(state, kind, content, intended_ns or now, now)
        payload = self._requests.encode(content, attempt.number, kind)
        if intended_ns:
            self.counts.record_lag(now - intended_ns)
        if kind in (model.FIRST, model.RETRY, model.REASK):
            state.tries += 1
        if not self._pool.send(attempt, payload) and not (self._make_room() and self._pool.send(attempt, payload)):
            self.counts.dropped += 1
            return False
        state.pending += 1
        self.counts.sent += 1
        self._waiting.append(attempt)
        return True

    def _make_room(self) -> bool:
        """Close the connection that has waited longest for a late answer; False if there is none."""
        if not self._late:
            return False
        self._stop_waiting(self._late.popleft())
        return True

    def _send_later(self, delay_s: float, state: OperationState, kind: str) -> None:
        state.pending += 1
        self._loop.call_later(delay_s, self._send_due, state, kind)

    def _send_due(self, state: OperationState, kind: str) -> None:
        is_settled = state.answered and kind in (model.RETRY, model.REASK)
        if not (self._cut_short or is_settled):
            for _ in range(resubmissions.CONCURRENT_COUNT if kind == model.RESUBMIT_CONCURRENT else 1):
                self._send(state, kind, self._content(state, kind))
        self._release(state)

    def _content(self, state: OperationState, kind: str) -> Operation:
        operation, number = state.operation, state.sent + 1
        if kind == model.REASK:
            return operation
        if kind == model.REUSE_KEY:
            named = self._other_order(operation) if operation.op == CANCEL else state.order_id
            return resubmissions.reuse_content(self._plan, operation, number, named)
        return resubmissions.resend_content(self._plan, operation, number)

    # Answers.

    def answered(self, attempt: Attempt, status: int, body: bytes) -> None:
        """Handle a complete answer, which arrived before or after the time-out."""
        attempt.reply = body
        if attempt.outcome:
            attempt.late_status, attempt.late_ns = status, time.monotonic_ns()
            self.counts.late += 1
            self._late.remove(attempt)
            self._settle(attempt, status, "")
            self._record(attempt)
            return
        attempt.status = status
        self._complete(attempt, retry.outcome(status, ""))

    def lost(self, attempt: Attempt, error: str) -> None:
        """Handle an attempt whose connection failed before a complete answer arrived."""
        if attempt.outcome:
            self._late.remove(attempt)
            self._record(attempt)
            return
        attempt.error = error
        self._complete(attempt, retry.outcome(0, error))

    def _complete(self, attempt: Attempt, outcome: Outcome) -> None:
        attempt.completed_ns = time.monotonic_ns()
        attempt.outcome = outcome.value
        if outcome is Outcome.INFO and attempt.kind not in model.PROBES:
            attempt.state.maybe_applied = True
        self.counts.record(attempt)
        if attempt.error == retry.TIMEOUT and attempt.connection is not None:
            self._late.append(attempt)
        else:
            self._record(attempt)
        self._settle(attempt, attempt.status, attempt.error)
        self._send_next(attempt)
        self._release(attempt.state)

    def _settle(self, attempt: Attempt, status: int, error: str) -> None:
        """Update the operation if the answer is definite.

        The answer to a request that must be refused does not show what happened to the operation itself.
        """
        state = attempt.state
        if attempt.kind in model.PROBES or not retry.settles(status, error):
            return
        state.answered = True
        self._unknown.pop(state.operation.op_id, None)
        if 200 <= status < 300 and not state.acknowledged:
            state.acknowledged = True
            if state.operation.op == TRADES:
                self._cursors.advance(state.operation.symbol, attempt.reply)
            if state.operation.op == ORDER:
                state.order_id = _acknowledged_order_id(attempt)
            if attempt.kind == model.RESUBMIT_LATE:
                return  # a key of the past, whose first attempt was before the load
            if state.operation.op not in READS and self.issuing:
                self._resubmit(state)
            if state.operation.op == ORDER and self.issuing:
                self._send_follow_ups(state.operation, state.order_id)

    def _resubmit(self, state: OperationState) -> None:
        """Resubmit an acknowledged key, soon and much later, if the plan selects it for that."""
        late_s = resubmissions.late_delay_s(self._plan, state.operation)
        if late_s is not None:
            self._loop.call_later(late_s, self._resubmit_late, state)
        planned = resubmissions.resubmission(self._plan, state.operation)
        if planned is None or (planned.kind == model.REUSE_KEY and not self._may_reuse(state.operation)):
            return
        if planned.kind == model.RESUBMIT_SEQUENTIAL:
            state.sequential_left = resubmissions.SEQUENTIAL_COUNT - 1
        self._reopen(state)
        self._send_later(planned.delay_s, state, planned.kind)

    def _reopen(self, state: OperationState) -> None:
        """Count an operation as open again that had no attempt and no timer left."""
        if state.pending == 0:
            self._open += 1

    def _resubmit_late(self, state: OperationState) -> None:
        """Resubmit now. The timer before this call does not keep the operation open, because the drain would wait."""
        if self.issuing and not self._postpone(state.operation, self._resubmit_late, state):
            self._reopen(state)
            self._send_later(0.0, state, model.RESUBMIT_LATE)

    def _postpone(self, operation: Operation, call: Callable[..., None], *args: Any) -> bool:
        """Repeat the call when an idle time is over; False in a busy time. The calls are spread, so as not to burst."""
        idle_s = self.pacer.idle_left_s()
        if idle_s:
            spread_s = Draws(self._plan.seed, operation.op_id, POSTPONED).unit() * POSTPONED_S_MAX
            self._loop.call_later(idle_s + spread_s, call, *args)
        return idle_s > 0

    def _send_follow_ups(self, operation: Operation, order_id: str) -> None:
        """Schedule what follows an acknowledged order."""
        last = self._last_orders.get(operation.client_id, ("", ""))[0]
        self._last_orders[operation.client_id] = order_id, last
        for one in follow_ups(self._plan, operation, order_id):
            self._loop.call_later(one.delay_s, self._issue_follow_up, one)

    def _issue_follow_up(self, one: FollowUp) -> None:
        if self.issuing and not self._postpone(one.operation, self._issue_follow_up, one):
            self._issue(one.operation, kind=one.kind)

    def _may_reuse(self, operation: Operation) -> bool:
        """Return whether the key can be sent with other content. A cancel needs another order of the same client."""
        return operation.op != CANCEL or self._other_order(operation) != ""

    def _other_order(self, operation: Operation) -> str:
        """Return the client's last acknowledged order that is not the operation's own order; "" if there is none."""
        known = self._last_orders.get(operation.client_id, ())
        return next((order_id for order_id in known if order_id not in ("", operation.order_id)), "")

    def _send_next(self, attempt: Attempt) -> None:
        """Schedule the next attempt of the operation, if a sequential resubmission or a retry is due."""
        state = attempt.state
        if attempt.kind == model.RESUBMIT_SEQUENTIAL and state.sequential_left:
            state.sequential_left -= 1
            self._send_later(0.0, state, model.RESUBMIT_SEQUENTIAL)
        elif attempt.kind in (model.FIRST, model.RETRY) and self._may_retry(state):
            seed, after_s = self._plan.seed, attempt.retry_after_s
            self._send_later(retry.backoff_s(seed, state.operation.op_id, state.tries, after_s), state, model.RETRY)

    def _may_retry(self, state: OperationState) -> bool:
        has_budget = state.tries < self._plan.attempts_max
        return has_budget and not state.answered and state.operation.op not in READS

    def _release(self, state: OperationState) -> None:
        """Count one attempt or timer as finished. The operation is closed when none is left."""
        state.pending -= 1
        if state.pending == 0:
            self._open -= 1
            if state.unknown:
                self._unknown[state.operation.op_id] = state

    # Time-outs.

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._time_out(time.monotonic_ns() - self._timeout_ns)
            self._expire(time.monotonic_ns() - self._timeout_ns - int(LATE_S_MAX * NS_PER_S))

    def _report_sweeper_error(self, sweeper: asyncio.Task[None]) -> None:
        """Pass an error of the sweeper to the loop's handler. Without the sweeper no request would time out."""
        if not sweeper.cancelled() and (error := sweeper.exception()) is not None:
            self._loop.call_exception_handler({"message": "time-out sweeper failed", "exception": error})

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
            self._stop_waiting(self._late.popleft())

    def _stop_waiting(self, attempt: Attempt) -> None:
        self._pool.give_up(attempt)
        self._record(attempt)

    # Drain.

    def _may_wait(self, deadline_ns: int) -> bool:
        return not self._cut_short and time.monotonic_ns() < deadline_ns

    async def _wait_until_settled(self, deadline_ns: int) -> None:
        while self._open and self._may_wait(deadline_ns):  # noqa: ASYNC110 - the deadline ends the loop too
            await asyncio.sleep(SETTLE_POLL_S)

    async def _reask(self, deadline_ns: int) -> None:
        """Send operations of unknown outcome again under their keys, until they are known or a limit is reached."""
        while self._unknown and self._may_wait(deadline_ns):
            left = [state for state in self._unknown.values() if state.tries < REASK_ATTEMPTS_MAX]
            if not left:
                return
            for state in left[:REASKS_AT_ONCE]:
                del self._unknown[state.operation.op_id]
                self._open += 1
                delay_s = retry.backoff_s(self._plan.seed, state.operation.op_id, state.tries + 1)
                self._send_later(delay_s, state, model.REASK)
            await self._wait_until_settled(deadline_ns)

    async def _wait_for_late_answers(self, deadline_ns: int) -> None:
        """Wait as long as a late answer could still settle an unknown outcome."""
        while self._late and self._unknown and self._may_wait(deadline_ns):  # noqa: ASYNC110 - as above
            await asyncio.sleep(SETTLE_POLL_S)

    def _close_all(self) -> None:
        """Record every attempt that is still open. Requests in flight end as time-outs (`info`)."""
        self._cut_short = True
        self._time_out(time.monotonic_ns() + 1)
        while self._late:
            self._stop_waiting(self._late.popleft())
        self._pool.close()


def _acknowledged_order_id(attempt: Attempt) -> str:
    """Return the order id in the acknowledgement, or the id that was sent if the acknowledgement has none."""
    try:
        reply = json.loads(attempt.reply)
    except ValueError:
        return attempt.content.order_id
    named = reply.get("orderId") if isinstance(reply, dict) else None
    return named if isinstance(named, str) and ORDER_ID.fullmatch(named) else attempt.content.order_id
