"""The circuit breaker as a state machine: a clock that is moved by hand, no store."""

from __future__ import annotations

import pytest

from paperbroker.services import breaker
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
def b(clock: Clock) -> Breaker:
    return Breaker(TRIALS_MAX, clock)


def call(b: Breaker, clock: Clock, *, failed: bool = False, took_s: float = 0.0) -> None:
    started_s = clock.now_s
    clock.now_s += took_s
    b.record_call(started_s=started_s, took_s=took_s, failed=failed)


def open_up(b: Breaker, clock: Clock) -> None:
    for _ in range(CALLS_MIN):
        call(b, clock, failed=True)
    assert b.state is State.OPEN


def half_open(b: Breaker, clock: Clock) -> None:
    open_up(b, clock)
    clock.now_s += OPEN_S
    assert b.admits(0) and b.state is State.HALF_OPEN


def places(b: Breaker) -> int:
    """How many requests at a time are let through."""
    return next(n for n in range(1000) if not b.admits(n))


def test_good_calls_keep_it_closed(b: Breaker, clock: Clock):
    for _ in range(1000):
        call(b, clock, took_s=SLOW_S / 2)
    assert b.state is State.CLOSED and b.admits(999) and not b.take_was_open()


def test_few_calls_decide_nothing(b: Breaker, clock: Clock):
    for _ in range(CALLS_MIN - 1):
        call(b, clock, failed=True)
    assert b.state is State.CLOSED
    call(b, clock, failed=True)
    assert b.state is State.OPEN


@pytest.mark.parametrize("how", [{"failed": True}, {"took_s": SLOW_S * 1.01}])
def test_a_share_of_failed_or_slow_calls_opens_it(b: Breaker, clock: Clock, how: dict, monkeypatch: pytest.MonkeyPatch):
    """Just under the share nothing happens; with one more it opens."""
    monkeypatch.setattr(breaker, "WINDOW_S", 1e6)
    good = 20
    bad = int(good * BAD_SHARE / (1 - BAD_SHARE))
    for _ in range(good):
        call(b, clock)
    for _ in range(bad - 1):
        call(b, clock, **how)
    assert b.state is State.CLOSED
    call(b, clock, **how)
    assert b.state is State.OPEN and b.take_was_open()


def test_what_is_older_than_the_window_is_forgotten(b: Breaker, clock: Clock):
    for _ in range(CALLS_MIN - 1):
        call(b, clock, failed=True)
    clock.now_s += WINDOW_S + 0.1
    call(b, clock, failed=True)
    assert b.state is State.CLOSED


def test_memory_is_bounded(b: Breaker, clock: Clock):
    """However many calls a window has, and the newest count."""
    for _ in range(CALLS_MAX * 2):
        call(b, clock)
    assert len(b._calls) == CALLS_MAX
    for _ in range(int(CALLS_MAX * BAD_SHARE) + 1):
        call(b, clock, failed=True)
    assert b.state is State.OPEN


def test_open_admits_nothing_for_its_time(b: Breaker, clock: Clock):
    open_up(b, clock)
    clock.now_s += OPEN_S * 0.99
    assert not b.admits(0)
    clock.now_s += OPEN_S * 0.02
    assert b.admits(0) and b.state is State.HALF_OPEN


def test_half_open_admits_few_and_one_failed_call_opens_again(b: Breaker, clock: Clock):
    half_open(b, clock)
    assert places(b) == TRIALS_FIRST
    call(b, clock)
    call(b, clock, failed=True)
    assert b.state is State.OPEN and not b.admits(0)
    clock.now_s += OPEN_S
    assert places(b) == TRIALS_FIRST, "what was gained is lost again"


def test_half_open_closes_after_enough_fast_calls(b: Breaker, clock: Clock):
    half_open(b, clock)
    for _ in range(GOOD_CALLS - 1):
        call(b, clock)
    assert b.state is State.HALF_OPEN
    call(b, clock)
    assert b.state is State.CLOSED and b.admits(999)
    call(b, clock, failed=True)
    assert b.state is State.CLOSED, "the calls before do not count any more"


def test_a_dependency_that_stays_slow_is_asked_as_much_as_it_answers(b: Breaker, clock: Clock):
    """Each slow success lets one request more through at a time, up to the bound; slow calls never close it, and
    break a row of fast ones."""
    half_open(b, clock)
    for _ in range(GOOD_CALLS - 1):
        call(b, clock)
    call(b, clock, took_s=SLOW_S * 1.5)
    assert places(b) == TRIALS_FIRST + GOOD_CALLS
    for _ in range(3 * TRIALS_MAX):
        call(b, clock, took_s=SLOW_S * 1.5)
    assert b.state is State.HALF_OPEN and places(b) == TRIALS_MAX
    call(b, clock)
    assert b.state is State.HALF_OPEN


def test_calls_from_before_a_change_say_nothing_of_it(b: Breaker, clock: Clock):
    """What was asked before it opened may end long after: neither good nor bad news of now."""
    asked_s = clock.now_s
    clock.now_s += 0.1
    open_up(b, clock)
    clock.now_s += OPEN_S
    assert b.admits(0)
    for _ in range(GOOD_CALLS + 1):
        b.record_call(started_s=asked_s, took_s=OPEN_S + 0.1, failed=True)
        b.record_call(started_s=asked_s, took_s=0.01, failed=False)
    assert b.state is State.HALF_OPEN


def test_it_tells_that_it_was_open_since_the_last_look(b: Breaker, clock: Clock):
    half_open(b, clock)
    for _ in range(GOOD_CALLS):
        call(b, clock)
    assert b.state is State.CLOSED
    assert b.take_was_open() is True
    assert b.take_was_open() is False
