"""Test rates: many affected calls prove an effect even if there were few calls. Few calls refute nothing."""

from __future__ import annotations

import pytest

from kit.faults.proofs.rates import State, Tally, judge_share
from kit.faults.proofs.windows import Windows

# One publish each 5 s: steady for a minute, 10 s in force, then over.
WINDOWS = Windows(injected_at=60.0, force_start=60.0, force_end=70.0, after_start=70.0)


def judged(calls: int, odd: int, *, before_odd: int = 0, expected: float = 0.3) -> State:
    """Judge that many calls in force, half of them in each of two publishes."""
    before = [Tally(t=t, n=50, x=before_odd) for t in range(5, 61, 5)]
    force = [Tally(t=t, n=calls / 2, x=odd / 2) for t in (65, 70)]
    after = [Tally(t=t, n=50, x=0) for t in range(75, 101, 5)]
    return judge_share([*before, *force, *after], WINDOWS, expected=expected, place="here", words="were slow").state


@pytest.mark.parametrize(
    ("calls", "odd", "state"),
    [
        (100, 30, State.SHOWN),
        (100, 10, State.REFUTED),
        (60, 18, State.SHOWN),
        (60, 10, State.SHOWN),
        (60, 8, State.UNKNOWN),
        (60, 0, State.UNKNOWN),
        (18, 12, State.UNKNOWN),
    ],
)
def test_few_calls_refute_nothing_and_show_what_many_of_them_were(calls: int, odd: int, state: State):
    assert judged(calls, odd) is state


def test_no_number_shows_an_effect_that_was_there_before():
    assert judged(60, 18, before_odd=15) is State.REFUTED
