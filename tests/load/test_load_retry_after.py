"""Test that clients obey Retry-After."""

import pytest

from kit.load import retry
from kit.model import NS_PER_S
from tests.load.load_exchange import Request, answer, run_engine


def test_retry_waits_for_retry_after() -> None:
    """The retry comes after Retry-After plus the usual jitter. New operations do not wait for it."""
    seen: set[tuple[str, str]] = set()

    async def refuse_first(request: Request, reply: bytes) -> bytes:
        key = request.identity
        if key in seen:
            return reply
        seen.add(key)
        return answer(503, headers="Retry-After: 1\r\n" if len(seen) % 2 else "")

    ran = run_engine(refuse_first, rate_per_s=40.0, duration_max_s=0.25)
    firsts = {row.content.op_id: row for row in ran.of_kind("first")}
    waited: dict[bool, list[float]] = {True: [], False: []}
    for row in ran.of_kind("retry"):
        first = firsts[row.content.op_id]
        waited[first.retry_after_s > 0].append((row.invoked_ns - first.completed_ns) / NS_PER_S)
    # Timers of the event loop have a resolution of milliseconds.
    assert len(waited[True]) >= 3 and min(waited[True]) >= 0.99
    assert len(waited[False]) >= 3 and min(waited[False]) < 0.99
    # Each has its own jitter, but a busy machine may wake up two at the same time.
    assert len({round(wait, 4) for wait in waited[True]}) > 1
    sends = [row.invoked_ns - row.intended_ns for row in firsts.values()]
    assert sorted(sends)[len(sends) // 2] < 0.5e9


def test_a_client_waits_no_longer_than_the_bound() -> None:
    longest = retry.RETRY_AFTER_S_MAX + retry.BACKOFF_CAP_S
    waits = [retry.backoff_s(7, op_id, 1, after_s=86_400.0) for op_id in range(50)]
    assert min(waits) >= retry.RETRY_AFTER_S_MAX and max(waits) <= longest


@pytest.mark.parametrize(
    ("status", "header", "asked_s"),
    [
        (503, b"2", 2.0),
        (429, b"1", 1.0),
        (503, b"86400", 86_400.0),
        (503, b"9" * 40, retry.TOLD_S_MAX),
        (503, b"Wed, 21 Oct 2026 07:28:00 GMT", 0.0),
        (503, b"-1", 0.0),
        (200, b"3", 0.0),
    ],
)
def test_retry_after_is_read_in_seconds(status: int, header: bytes, asked_s: float) -> None:
    """Seconds on a 429 or 503 count, up to a bound. Everything else is ignored."""
    assert retry.retry_after_s(status, header) == asked_s
