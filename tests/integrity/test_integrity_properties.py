"""Any correct execution passes, with any crash, delay or retry; every violation in it is found and counted."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kit.model import Status
from tests.histories import execution, planted
from tests.histories.run_folder import judge

SMALL = st.integers(0, 999)
STEPS = st.lists(st.tuples(st.sampled_from(execution.ACTIONS), SMALL, SMALL, SMALL, SMALL), min_size=1, max_size=60)
# Long executions come from a seed: they do not shrink, but they go deeper.
SEEDS = st.integers(0, 10_000)
QUICK = settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def complaints(tables: dict[str, Any]) -> list[tuple[str, str]]:
    """Checks that failed or crashed. A check without evidence may be invalid."""
    found = judge(tables).values()
    return [(one.name, one.detail) for one in found if one.status is Status.FAIL or "crashed" in one.detail]


@QUICK
@given(STEPS)
def test_a_correct_execution_never_fails(steps):
    assert complaints(execution.play(steps)) == []


@settings(QUICK, max_examples=4)
@given(SEEDS)
def test_a_long_correct_execution_never_fails(seed):
    assert complaints(execution.play(execution.random_steps(seed, 250))) == []


@settings(QUICK, max_examples=4)
@given(SEEDS)
def test_an_intake_without_idempotency_is_counted_key_by_key(seed):
    """The numbers of doubled keys and doubly filled keys equal what the exchange itself counts."""
    tables: Any = execution.play(execution.random_steps(seed, 200), without_idempotency=True)
    found = judge(tables)
    events = tables["events"]
    accepted = events[events["type"] == "accepted"]
    doubled = [key for key, times in Counter(accepted["order_id"]).items() if times > 1]
    assert found["exactly-once-per-key"].measured == len(doubled)
    overfilled = tables["orders"][tables["orders"]["filled_qty"] > tables["orders"]["qty"]]
    if (events["type"] == "fill").any():
        assert found["no-over-fill"].measured == len(overfilled)
        assert (found["no-double-fill"].measured or 0) >= len(overfilled)
    assert found["price-time-replay"].status is not Status.FAIL


@QUICK
@given(SEEDS, st.data())
def test_the_replay_notices_any_changed_fill(seed, data):
    """If any fill of any execution is altered or left out, the replay of its market diverges."""
    tables: Any = execution.play(execution.random_steps(seed, 80))
    fills = tables["events"].index[tables["events"]["type"] == "fill"]
    if fills.empty:
        return
    index = data.draw(st.sampled_from(list(fills)))
    change = data.draw(st.sampled_from(["qty", "price", "gone"]))
    if change == "gone":
        tables["events"] = tables["events"].drop(index=index)
    else:
        tables["events"].loc[index, change] += 1
    assert judge(tables, "price-time-replay")["price-time-replay"].status is Status.FAIL


@QUICK
@given(SEEDS, st.data())
def test_any_changed_trade_on_a_page_is_found(seed, data):
    """If any trade of any page is altered, left out or repeated, that page is wrong and no other."""
    tables: Any = execution.play(execution.random_steps(seed, 150))
    attempts = tables["attempts"]
    pages = {i: json.loads(reply) for i, reply in attempts.loc[attempts["op"] == "trades", "reply"].items()}
    full = [i for i, said in pages.items() if said["trades"]]
    assume(full)
    index = data.draw(st.sampled_from(full))
    trades = pages[index]["trades"]
    place = data.draw(st.integers(0, len(trades) - 1))
    how = data.draw(st.sampled_from(["gone", "twice", *sorted(trades[place])]))
    if how in ("gone", "twice"):
        trades[place : place + 1] = [trades[place]] * 2 if how == "twice" else []
    else:
        trades[place][how] += 1 if isinstance(trades[place][how], int) else "x"
    attempts.loc[index, "reply"] = json.dumps(pages[index])
    found = judge(tables, "trades-equal-ledger")["trades-equal-ledger"]
    assert (found.status, found.measured) == (Status.FAIL, 1)


def unnoticed(tables: Any, plant: Any, names: tuple[str, ...]) -> list[tuple[str, str]]:
    """Checks that should fail on a correct history with this anomaly, but do not."""
    tables = {name: table.copy() for name, table in tables.items()}
    plant(tables)
    found = judge(tables, *names).values()
    return [(one.name, one.detail) for one in found if one.status is not Status.FAIL]


@settings(QUICK, max_examples=20)
@given(SEEDS, st.sampled_from(planted.PLANTS))
def test_a_planted_anomaly_is_found_in_any_history(seed, planting):
    try:
        assert unnoticed(execution.play(execution.random_steps(seed, 800)), *planting) == []
    except IndexError:
        assume(False)  # this history has no row to plant the anomaly in


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40, 45))
def test_every_planted_anomaly_is_found_in_every_history(seed):
    tables = execution.play(execution.random_steps(seed, 800))
    found = {plant.__name__: unnoticed(tables, plant, names) for plant, names in planted.PLANTS}
    assert [name for name, missed in found.items() if missed] == []
