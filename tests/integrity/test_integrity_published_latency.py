"""A published latency that lies does so in most periods; in a good run single periods differ from what clients saw."""

from __future__ import annotations

import math
from typing import Any

from kit.integrity.checks.telemetry_latency import ANSWERS_MIN, Period, periods_max, systematic

HONEST: dict[str, Any] = {"published_ms": 30.0, "clients_ms": 45.0}
TOO_SHORT: dict[str, Any] = {"published_ms": 0.3, "clients_ms": 45.0}
TOO_LONG: dict[str, Any] = {"published_ms": 900.0, "clients_ms": 45.0}


def periods(*values: dict[str, Any], share: int = 95) -> list[Period]:
    """One period of 10 s after the other, at one percentile."""
    made = []
    for number, value in enumerate(values):
        row = {"longest_ms": value["clients_ms"], "disturbed": False} | value
        made.append(Period(start=10.0 * number, share=share, **row))
    return made


def test_periods_at_the_edges_of_a_fault_may_differ():
    """A fault that begins between a publish and the end of its period is in one of the two percentiles only."""
    assert systematic(periods(HONEST, TOO_SHORT, HONEST, TOO_SHORT, HONEST)) == []


def test_one_period_proves_nothing_although_there_is_no_other():
    assert systematic(periods(TOO_SHORT)) == []


def test_most_periods_at_one_percentile_are_a_lie():
    """At p50 clients waited so little that a lie does not show."""
    p50, p95 = periods(*[HONEST] * 5, share=50), periods(TOO_SHORT, TOO_SHORT, HONEST, TOO_SHORT, HONEST)
    assert len(systematic([*p50, *p95])) == 3
    assert len(systematic(periods(TOO_LONG, TOO_LONG, HONEST))) == 2


def test_periods_of_a_disturbed_network_speak_neither_for_nor_against_the_metric():
    disturbed = TOO_SHORT | {"disturbed": True}
    assert len(systematic(periods(TOO_SHORT, *[disturbed] * 5, TOO_SHORT))) == 2
    assert systematic(periods(HONEST, *[disturbed] * 5, HONEST)) == []


def test_a_task_may_have_worked_for_long_on_requests_that_clients_gave_up():
    """Their answers are not among what clients saw, but their tasks measured them."""
    given_up = TOO_LONG | {"longest_ms": math.inf}
    assert systematic(periods(given_up, given_up, HONEST)) == []


def test_periods_with_few_values_cannot_be_compared():
    assert periods_max([ANSWERS_MIN - 1, ANSWERS_MIN, 700, 9]) == 4
