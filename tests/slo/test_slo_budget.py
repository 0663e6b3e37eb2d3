"""The burn rate of the error budget agrees with arithmetic by hand, and needs attempts."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from kit import slo
from kit.errors import UsageError
from kit.model import ATTEMPT_COLUMNS, CheckKind, Phase, Status
from kit.slo import budget
from kit.slo.objectives import Availability

NS, T0 = 1_000_000_000, 1_760_000_000
PHASES = (Phase(name="before", start=T0, end=T0 + 30), Phase(name="during", start=T0 + 30, end=T0 + 60))


def attempts(failed: dict[int, int], sent: dict[int, int]) -> Any:
    """By second of the run, how many attempts were sent and how many of them got no answer."""
    rows = []
    for second, count in sent.items():
        at = int((T0 + second) * NS)
        for number in range(count):
            status = 503 if number < failed.get(second, 0) else 201
            times = {"intended_ns": at, "invoked_ns": at, "completed_ns": at + 1}
            rows.append({"op": "order", "kind": "first", "status": status} | times)
    return pd.DataFrame(
        {
            name: pd.Series([row.get(name, "" if kind == "string" else 0) for row in rows], dtype=kind)
            for name, kind in ATTEMPT_COLUMNS.items()
        }
    )


def test_burn_rate_and_cost_agree_with_the_workbook():
    """1 % of errors against 99.9 % burns ten times too fast; an hour at 14.4 costs 2 % of thirty days."""
    month = Availability(target=0.999, window_days=30)
    assert budget.burn_rate(0.01, month) == pytest.approx(10)
    assert budget.spent(0.0144, 3_600, month) == pytest.approx(0.02)


def test_each_phase_says_how_fast_it_burns_and_what_it_cost():
    found = slo.error_budget(attempts({40: 20}, {5: 100, 40: 100}), PHASES, Availability())
    assert [(one.phase, one.kind, one.status) for one in found] == [
        ("before", CheckKind.SLO, Status.PASS),
        ("during", CheckKind.SLO, Status.PASS),
    ]
    assert [one.measured for one in found] == [0, 200]
    assert found[1].detail == (
        "200 times as fast as 99.9 % over 30 days allow; the phase cost 0.231 % of that budget "
        "(20 of 100 attempts failed, a rate at which a person is paged)"
    )


def test_a_phase_without_attempts_has_no_finding():
    assert [one.phase for one in slo.error_budget(attempts({}, {5: 10}), PHASES, Availability())] == ["before"]


@pytest.mark.parametrize("recorded", [None, attempts({}, {}), attempts({}, {900: 5})])
def test_without_attempts_there_is_no_pass(recorded):
    found = slo.error_budget(recorded, PHASES, Availability())
    assert [(one.status, one.measured) for one in found] == [(Status.INVALID, None)]


@pytest.mark.parametrize("wrong", [{"target": 1.0}, {"target": 0.0}, {"window_days": 0}])
def test_an_objective_without_a_budget_is_refused(wrong):
    with pytest.raises(UsageError):
        Availability(**wrong)
