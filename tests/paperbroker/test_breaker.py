"""The circuit breaker's state machine, on a clock that the test sets."""

from __future__ import annotations

import pytest

from paperbroker.services import breaker as breakers
from paperbroker.services.breaker import (
    BAD_SHARE,
    CALLS_MAX,
    CALLS_MIN,
    GOOD_CALLS,
    OPEN_S,
    SLOW_S,
    TRIALS_FIRST,
    WINDOW_S,
    Breaker,
    State,
)

TRIALS_MAX = 8


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(TRIALS_MAX, clock)


def call(breaker: Breaker, clock: Clock, *, failed: bool = False, took_s: float = 0.0) -> None:
    started_s = clock.now_s
    clock.now_s += took_s
    breaker.record_call(started_s=started_s, took_s=took_s, failed=failed)


def open_up(breaker: Breaker, clock: Clock) -> None:
    for _ in range(CALLS_MIN):
        call(breaker, clock, failed=True)
    assert breaker.state is State.OPEN


def half_open(breaker: Breaker, clock: Clock) -> None:
    open_up(breaker, clock)
    clock.now_s += OPEN_S
    assert breaker.admits(0) and breaker.state is State.HALF_OPEN


def slots(breaker: Breaker) -> int:
    """Return how many requests at a time are admitted."""
    return next(n for n in range(1000) if not breaker.admits(n))


def test_good_calls_keep_it_closed(breaker: Breaker, clock: Clock):
    for _ in range(1000):
        call(breaker, clock, took_s=SLOW_S / 2)
    assert breaker.state is State.CLOSED and breaker.admits(999) and not breaker.take_was_open()


def test_few_failed_calls_do_not_open_it(breaker: Breaker, clock: Clock):
    for _ in range(CALLS_MIN - 1):
        call(breaker, clock, failed=True)
    assert breaker.state is State.CLOSED
    call(breaker, clock, failed=True)
    assert breaker.state is State.OPEN


@pytest.mark.parametrize("how", [{"failed": True}, {"took_s": SLOW_S * 1.01}])
def test_a_share_of_failed_or_slow_calls_opens_it(
    breaker: Breaker, clock: Clock, how: dict, monkeypatch: pytest.MonkeyPatch
):
    """One bad call less than the share leaves it closed."""
    monkeypatch.setattr(breakers, "WINDOW_S", 1e6)
    good = 20
    bad = int(good * BAD_SHARE / (1 - BAD_SHARE))
    for _ in range(good):
        call(breaker, clock)
    for _ in range(bad - 1):
        call(breaker, clock, **how)
    assert breaker.state is State.CLOSED
    call(breaker, clock, **how)
    assert breaker.state is State.OPEN and breaker.take_was_open()


def test_calls_older_than_the_window_do_not_count(breaker: Breaker, clock: Clock):
    for _ in range(CALLS_MIN - 1):
        call(breaker, clock, failed=True)
    clock.now_s += WINDOW_S + 0.1
    call(breaker, clock, failed=True)
    assert breaker.state is State.CLOSED


def test_memory_is_bounded(breaker: Breaker, clock: Clock):
    """The newest calls of a window count."""
    for _ in range(CALLS_MAX * 2):
        call(breaker, clock)
    assert len(breaker._calls) == CALLS_MAX
    for _ in range(int(CALLS_MAX * BAD_SHARE) + 1):
        call(breaker, clock, failed=True)
    assert breaker.state is State.OPEN


def test_open_breaker_admits_nothing_until_its_time_is_over(breaker: Breaker, clock: Clock):
    open_up(breaker, clock)
    clock.now_s += OPEN_S * 0.99
    assert not breaker.admits(0)
    clock.now_s += OPEN_S * 0.02
    assert breaker.admits(0) and breaker.state is State.HALF_OPEN


def test_half_open_breaker_admits_few_and_one_failed_call_opens_it_again(breaker: Breaker, clock: Clock):
    half_open(breaker, clock)
    assert slots(breaker) == TRIALS_FIRST
    call(breaker, clock)
    call(breaker, clock, failed=True)
    assert breaker.state is State.OPEN and not breaker.admits(0)
    clock.now_s += OPEN_S
    assert slots(breaker) == TRIALS_FIRST, "the number of trials must start over"


def test_half_open_breaker_closes_after_enough_fast_calls(breaker: Breaker, clock: Clock):
    half_open(breaker, clock)
    for _ in range(GOOD_CALLS - 1):
        call(breaker, clock)
    assert breaker.state is State.HALF_OPEN
    call(breaker, clock)
    assert breaker.state is State.CLOSED and breaker.admits(999)
    call(breaker, clock, failed=True)
    assert breaker.state is State.CLOSED, "earlier calls must not count"


def test_a_dependency_that_stays_slow_gets_as_many_calls_as_it_answers(breaker: Breaker, clock: Clock):
    """Each slow success admits one more request at a time, up to the limit.

    Slow calls never close the breaker, and interrupt a series of fast ones.
    """
    half_open(breaker, clock)
    for _ in range(GOOD_CALLS - 1):
        call(breaker, clock)
    call(breaker, clock, took_s=SLOW_S * 1.5)
    assert slots(breaker) == TRIALS_FIRST + GOOD_CALLS
    for _ in range(3 * TRIALS_MAX):
        call(breaker, clock, took_s=SLOW_S * 1.5)
    assert breaker.state is State.HALF_OPEN and slots(breaker) == TRIALS_MAX
    call(breaker, clock)
    assert breaker.state is State.HALF_OPEN


def test_calls_that_started_before_a_state_change_do_not_count(breaker: Breaker, clock: Clock):
    """A call that started before the breaker opened may end long after, and says nothing about the present."""
    called_s = clock.now_s
    clock.now_s += 0.1
    open_up(breaker, clock)
    clock.now_s += OPEN_S
    assert breaker.admits(0)
    for _ in range(GOOD_CALLS + 1):
        breaker.record_call(started_s=called_s, took_s=OPEN_S + 0.1, failed=True)
        breaker.record_call(started_s=called_s, took_s=0.01, failed=False)
    assert breaker.state is State.HALF_OPEN


def test_it_reports_once_that_it_was_open(breaker: Breaker, clock: Clock):
    half_open(breaker, clock)
    for _ in range(GOOD_CALLS):
        call(breaker, clock)
    assert breaker.state is State.CLOSED
    assert breaker.take_was_open() is True
    assert breaker.take_was_open() is False
