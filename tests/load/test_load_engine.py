"""Test the open loop against a server that stalls, refuses, resets connections and answers late."""

import asyncio
import time
from dataclasses import dataclass

import pytest

from kit.load.engine import Engine
from kit.load.http_attempt import Attempt
from kit.model import NS_PER_MS, NS_PER_S
from tests.load.load_exchange import EOF, HANG, RESET, Exchange, Ran, Request, answer, plan_of, run_engine, within

pytestmark = pytest.mark.usefixtures("short_delays")


def latencies_ms(attempts: list[Attempt]) -> list[float]:
    return [(attempt.completed_ns - attempt.intended_ns) / NS_PER_MS for attempt in attempts]


def test_latency_counts_from_the_intended_send() -> None:
    """A stall of 300 ms adds to the latency of every operation scheduled in it (no coordinated omission)."""
    stall: dict[str, int] = {}

    async def stall_once(request: Request, reply: bytes) -> bytes:
        if request.number == 20:
            stall["from_ns"] = time.monotonic_ns()
            time.sleep(0.3)  # noqa: ASYNC251 - blocks the generator's loop too, the worst case
            stall["to_ns"] = time.monotonic_ns()
        return reply

    ran = run_engine(stall_once, rate_per_s=200.0, duration_max_s=1.0, timeout_ms=2_000)
    scheduled = [a for a in ran.of_kind("first") if stall["from_ns"] <= a.intended_ns <= stall["to_ns"]]
    assert len(scheduled) >= 30  # 200/s × 0.3 s = 60, Poisson
    # Each waits at least until the end of the stall. How much longer depends on the machine.
    assert all(a.completed_ns >= stall["to_ns"] for a in scheduled)
    longest_ms = max((a.completed_ns - a.intended_ns) / NS_PER_MS for a in scheduled)
    assert longest_ms > 250
    assert ran.engine.counts.lag_ms(0.99) > 100  # the generator reports its own lag too


def test_slow_answers_do_not_hold_up_the_schedule() -> None:
    """While the server is slow, operations are sent on schedule through new connections."""

    async def slow(request: Request, reply: bytes) -> bytes:
        await asyncio.sleep(0.2)
        return reply

    ran = run_engine(slow, rate_per_s=200.0, duration_max_s=0.5, timeout_ms=2_000)
    lags = sorted((a.invoked_ns - a.intended_ns) / NS_PER_MS for a in ran.of_kind("first"))
    assert lags[len(lags) // 2] < 50
    assert ran.engine.connections_opened > 20
    assert all(ms > 195 for ms in latencies_ms(ran.attempts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """How the exchange treats the first request of a key, and the row that must follow."""

    how: bytes
    outcome: str
    status: int = 0
    error: str = ""
    retried: bool = True


CASES = (
    Case(how=answer(201), outcome="ok", status=201, retried=False),
    Case(how=answer(200), outcome="ok", status=200, retried=False),
    Case(how=answer(400), outcome="fail", status=400, retried=False),
    Case(how=answer(409), outcome="fail", status=409, retried=False),
    Case(how=answer(429), outcome="fail", status=429),
    Case(how=answer(408), outcome="info", status=408),
    Case(how=answer(500), outcome="info", status=500),
    Case(how=answer(503), outcome="info", status=503),
    Case(how=RESET, outcome="info", error="reset"),
    Case(how=EOF, outcome="info", error="eof"),
    Case(how=HANG, outcome="info", error="timeout"),
    Case(how=b"HTTP/1.1 201 X\r\nContent-Length: 10\r\n\r\nhalf", outcome="info", error="timeout"),
    Case(how=b"garbage\r\n\r\n", outcome="info", error="protocol"),
)


@pytest.fixture(scope="module")
def treated() -> Ran:
    """One run in which the first request of each operation meets one of the cases."""
    seen: set[tuple[str, str]] = set()

    async def behave(request: Request, reply: bytes) -> bytes:
        if request.identity in seen:
            return reply
        seen.add(request.identity)
        op_id = int(request.headers["x-amzn-trace-id"][-16:-4], 16)
        return CASES[op_id % len(CASES)].how

    return run_engine(behave, rate_per_s=130.0, duration_max_s=0.5, seed=3)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.how[9:12].decode()}-{case.error or case.status}")
def test_outcome_of_an_attempt(treated: Ran, case: Case) -> None:
    """Each case has its outcome, and only unsettled outcomes are retried under the same key."""
    mine = [row for row in treated.attempts if CASES[row.content.op_id % len(CASES)] is case]
    firsts = [row for row in mine if row.kind == "first"]
    retries = [row for row in mine if row.kind == "retry"]
    assert firsts
    for first in firsts:
        assert (first.outcome, first.status, first.error) == (case.outcome, case.status, case.error)
    assert len(retries) == (len(firsts) if case.retried else 0)
    assert all(retry.outcome == "ok" for retry in retries)
    assert treated.engine.unknown == treated.engine.unsettled == 0


def test_refused_connection_is_fail_and_retried() -> None:
    """A refused connection certainly had no effect, so the drain does not ask again."""

    async def main() -> tuple[list[Attempt], Engine]:
        exchange = Exchange()
        server = await exchange.start()
        server.close()
        await server.wait_closed()
        rows: list[Attempt] = []
        plan = plan_of(exchange.url, rate_per_s=30.0, duration_max_s=0.2, attempts_max=3)
        engine = Engine(plan, asyncio.get_running_loop(), record=rows.append)
        await engine.run()
        return rows, engine

    rows, engine = within(main())
    assert rows and {(row.outcome, row.error) for row in rows} == {("fail", "refused")}
    assert len(rows) == 3 * engine.intended
    assert {row.kind for row in rows} == {"first", "retry"}
    assert engine.unknown == 0


def test_retries_keep_the_key_and_sometimes_change_the_order_id() -> None:
    """Retries keep the client and the key. The plan's share of them gets a new order id."""

    async def fail_twice(request: Request, reply: bytes) -> bytes:
        seen = sum(earlier.identity == request.identity for earlier in exchange_requests)
        exchange_requests.append(request)
        return answer(503) if seen < 2 else reply

    exchange_requests: list[Request] = []
    ran = run_engine(fail_twice, rate_per_s=100.0, duration_max_s=0.5, new_order_id_ratio=0.5)
    retries = ran.of_kind("retry")
    firsts = {row.content.op_id: row.content for row in ran.of_kind("first")}
    assert len(retries) == 2 * len(firsts)
    for row in retries:
        first = firsts[row.content.op_id]
        assert row.content._replace(order_id=first.order_id) == first
    changed = sum(row.content.order_id != firsts[row.content.op_id].order_id for row in retries)
    assert 0.25 < changed / len(retries) < 0.75
    sent = {(*request.identity, request.body["orderId"]) for request in ran.exchange.requests}
    contents = [row.content for row in ran.attempts]
    assert sent == {(c.client_id, c.idempotency_key, c.order_id) for c in contents}


def test_attempts_are_bounded_and_jittered() -> None:
    """An operation is tried `attempts_max` times, then by the drain, with jittered delays."""
    down = {"until": 0.8, "since": 0.0}

    async def down_for_a_while(request: Request, reply: bytes) -> bytes:
        down["since"] = down["since"] or request.at_s
        return answer(503) if request.at_s - down["since"] < down["until"] else reply

    ran = run_engine(down_for_a_while, rate_per_s=40.0, duration_max_s=0.2, attempts_max=3)
    firsts = len(ran.of_kind("first"))
    assert len(ran.of_kind("retry")) == 2 * firsts
    assert len(ran.of_kind("reask")) >= firsts
    assert ran.engine.unknown == 0
    gaps = [row.invoked_ns % NS_PER_S for row in ran.of_kind("retry")]
    assert len(set(gaps)) == len(gaps)


def test_late_answer_is_recorded_on_its_row() -> None:
    """An answer after the time-out fills the late columns and keeps the outcome `info`."""

    async def late(request: Request, reply: bytes) -> bytes:
        await asyncio.sleep(0.3 if request.body["qty"] else 0)
        return reply

    ran = run_engine(late, rate_per_s=30.0, duration_max_s=0.3, timeout_ms=150, attempts_max=1)
    firsts = ran.of_kind("first")
    assert firsts
    for first in firsts:
        assert (first.outcome, first.error, first.status, first.late_status) == ("info", "timeout", 0, 201)
        assert 140e6 < first.completed_ns - first.invoked_ns < 290e6
        assert first.late_ns - first.invoked_ns > 290e6
        assert b"ACCEPTED" in first.reply
    assert ran.engine.counts.late >= len(firsts)
    assert ran.engine.unknown == 0


def test_drain_resolves_unknown_outcomes_under_the_same_key() -> None:
    """After the last retry the drain asks again with the same content until an answer comes."""
    seen: dict[tuple[str, str], int] = {}

    async def lose_replies(request: Request, reply: bytes) -> bytes:
        key = request.identity
        seen[key] = seen.get(key, 0) + 1
        return RESET if seen[key] <= 4 else reply

    ran = run_engine(lose_replies, rate_per_s=50.0, duration_max_s=0.3, attempts_max=2, new_order_id_ratio=1.0)
    asked = ran.of_kind("reask")
    firsts = {row.content.op_id: row for row in ran.of_kind("first")}
    assert {row.content.op_id for row in asked if row.outcome == "ok"} == set(firsts)
    assert all(row.content == firsts[row.content.op_id].content for row in asked)
    assert ran.engine.unknown == 0


def test_early_resubmissions_follow_within_a_fifth_of_a_second() -> None:
    """The plan's share of operations is sent twice, answered or not, and gets the same answer."""
    ran = run_engine(rate_per_s=200.0, duration_max_s=0.5, resubmit_early_ratio=0.2)
    firsts = {row.content.op_id: row for row in ran.of_kind("first")}
    again = ran.of_kind("resubmit_early")
    assert 0.08 < len(again) / len(firsts) < 0.35
    for row in again:
        first = firsts[row.content.op_id]
        assert 0 <= row.invoked_ns - first.invoked_ns < 0.5e9
        assert row.reply == first.reply
        assert {row.status, first.status} == {200, 201}


def test_each_operation_is_sent_to_its_path() -> None:
    """Orders, cancels and reads of the book have the paths and fields of the API."""
    ran = run_engine(rate_per_s=300.0, duration_max_s=0.5, cancel_ratio=0.3, book_ratio=0.2)
    assert {row.outcome for row in ran.attempts} == {"ok"}
    cancel = next(row.content for row in ran.attempts if row.content.op == "cancel")
    request = next(r for r in ran.exchange.requests if r.path == f"/orders/{cancel.order_id}/cancel")
    assert request.body["clientId"] == cancel.client_id
    assert any(request.path == "/markets/ACME/book?depth=5" for request in ran.exchange.requests)
    fields = {"clientId", "idempotencyKey", "orderId", "symbol", "side", "type", "qty"}
    orders = [r.body for r in ran.exchange.requests if r.path == "/orders"]
    assert {frozenset(set(one) - fields) for one in orders if one["type"] == "LIMIT"} == {
        frozenset({"tif", "price"}),
        frozenset({"price"}),
    }
    assert {(one.get("tif"), one.get("price")) for one in orders if one["type"] == "MARKET"} == {
        ("IOC", 0),
        (None, None),
    }


def test_reads_of_trades_continue_at_the_cursors_of_earlier_answers() -> None:
    """They start at the beginning or at the largest `next`, and each row records the cursor and limit sent."""
    cursors = [0]

    async def page(request: Request, reply: bytes) -> bytes:
        if "/trades?" not in request.path:
            return reply
        cursors.append(cursors[-1] + 3)
        return answer(200, {"symbol": "ACME", "trades": [], "next": cursors[-1]})

    ran = run_engine(page, rate_per_s=200.0, duration_max_s=0.6, trades_ratio=0.5)
    reads = [row for row in ran.attempts if row.content.op == "trades"]
    paths = [request.path for request in ran.exchange.requests if request.method == "GET"]
    assert sorted(paths) == sorted(
        f"/markets/ACME/trades?after={row.content.after}&limit={row.content.limit}" for row in reads
    )
    after = [row.content.after for row in reads]
    assert set(after) <= set(cursors) and len(set(after)) > 5
    assert after.count(0) > 2
    assert {(row.kind, row.outcome) for row in reads} == {("first", "ok")}


def test_reads_are_not_retried() -> None:
    """A failed read of trades is recorded and not repeated."""

    async def fail_reads(request: Request, reply: bytes) -> bytes:
        return answer(503) if "/trades?" in request.path else reply

    ran = run_engine(fail_reads, rate_per_s=100.0, duration_max_s=0.4, trades_ratio=0.5, resubmit_early_ratio=0.5)
    reads = [row for row in ran.attempts if row.content.op == "trades"]
    assert {(row.kind, row.outcome, row.status) for row in reads} == {("first", "info", 503)}
    assert len({row.content.op_id for row in reads}) == len(reads) > 5
    assert ran.engine.unknown == 0


def test_operations_without_a_free_connection_are_dropped() -> None:
    """When all connections are in use, an operation is not queued but dropped and counted."""

    async def slow(request: Request, reply: bytes) -> bytes:
        await asyncio.sleep(0.25)
        return reply

    ran = run_engine(slow, rate_per_s=200.0, duration_max_s=0.4, connections_max=5, timeout_ms=1_000)
    counts = ran.engine.counts
    assert counts.dropped > 20
    assert ran.engine.intended == counts.sent + counts.dropped
    assert ran.exchange.connections <= 5


def test_waiting_for_late_answers_gives_way_to_new_operations() -> None:
    """Connections that wait for a late answer are closed before an operation is dropped."""

    async def hang(request: Request, reply: bytes) -> bytes:
        return HANG if request.at_s - started[0] < 0.5 else reply

    started = [0.0]

    async def behave(request: Request, reply: bytes) -> bytes:
        started[0] = started[0] or request.at_s
        return await hang(request, reply)

    ran = run_engine(behave, rate_per_s=50.0, duration_max_s=0.6, connections_max=32, timeout_ms=100, attempts_max=2)
    assert ran.engine.counts.dropped == 0
    assert ran.engine.unknown == 0


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 201 X\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"a\"\r\n3\r\n:1}\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 X\r\ncontent-length: 7\r\n\r\n{\"a\":1}",
        b"HTTP/1.1 201 X\r\nContent-Length: 7\r\nConnection: close\r\n\r\n{\"a\":1}",
    ],
)  # fmt: skip
def test_every_framing_of_an_answer_is_read(reply: bytes) -> None:
    """Chunked, after a 1xx, or closing the connection: the answer is read, and the next request works."""

    async def behave(request: Request, _: bytes) -> bytes:
        return reply

    ran = run_engine(behave, rate_per_s=100.0, duration_max_s=0.3)
    assert {(row.outcome, row.status, row.reply) for row in ran.attempts} == {("ok", 201, b'{"a":1}')}
    closing = b"close" in reply
    assert (ran.engine.connections_opened == len(ran.attempts)) is closing


def test_same_seed_sends_the_same_first_requests() -> None:
    """Two runs of one plan send the same operations and the same early resubmissions."""
    runs = [
        run_engine(
            rate_per_s=200.0, duration_max_s=0.4, seed=11, cancel_ratio=0.1, book_ratio=0.05, resubmit_early_ratio=0.2
        )
        for _ in range(2)
    ]
    firsts = [sorted(row.content for row in ran.of_kind("first")) for ran in runs]
    assert firsts[0] == firsts[1]
    early = [sorted((row.content.op_id, row.kind) for row in ran.of_kind("resubmit_early")) for ran in runs]
    assert early[0] == early[1]


def test_counts_agree_with_the_rows() -> None:
    """Every attempt that was sent has exactly one row, whatever its outcome."""
    seen: list[int] = []

    async def fail_often(request: Request, reply: bytes) -> bytes:
        seen.append(1)
        return (reply, reply, RESET, answer(429), answer(500), HANG)[len(seen) % 6 if len(seen) < 150 else 0]

    ran = run_engine(
        fail_often,
        rate_per_s=150.0,
        duration_max_s=0.8,
        resubmit_early_ratio=0.3,
        resubmit_ratio=0.3,
        read_back_ratio=0.2,
        timeout_ms=150,
    )
    counts = ran.engine.counts
    assert counts.sent == len(ran.attempts) == counts.ok + counts.fail + counts.info
    numbers: dict[int, list[int]] = {}
    for row in ran.attempts:
        numbers.setdefault(row.content.op_id, []).append(row.number)
    assert all(sorted(each) == list(range(1, len(each) + 1)) for each in numbers.values())
    assert all(row.completed_ns >= row.invoked_ns >= row.intended_ns for row in ran.attempts)
    assert ran.engine.unknown == ran.engine.unsettled == 0
