"""The gate does not cry wolf: a blip of a second fails no objective wherever it lies, a longer degradation always does.

The series have the length, rate and latencies of the brief runs of the `pr` suite.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit import scenarios, slo
from kit.gameday.phases import phase_windows
from kit.model import ATTEMPT_COLUMNS, FaultWindow, Finding, Phase, Status
from kit.slo import blips
from kit.suite.catalogue import FAULTS
from tests.slo.client_tables import T0, attempt, table, timed_out

FELT = ("latency-ms-p95", "error-rate", "recovery-s")
SETTINGS = settings(max_examples=30, deadline=None)
Slow = tuple[float, float, float]


def run_of(name: str) -> tuple[scenarios.Scenario, tuple[Phase, ...], float, float]:
    """The phases of a brief run, as its scenario plans them, and the start and end of its load."""
    scenario = scenarios.get(name)
    fault_at = T0 + scenario.brief["steady_s"]
    healed_at = fault_at + scenario.brief["fault_duration_s"]
    end = healed_at + scenario.brief["recovery_s"]
    fault = FaultWindow(experiment_id="E", template="T", status="completed", injected_at=fault_at, ended_at=healed_at)
    return scenario, phase_windows(T0, fault, end, scenario), healed_at, end


def load(start: float, end: float, rate_per_s: int, seed: int, slow: Slow) -> list[dict[str, Any]]:
    """First attempts at random times; `slow`: from when to when they take how many ms."""
    draw = random.Random(seed)
    rows = []
    for index in range(int((end - start) * rate_per_s)):
        at = draw.uniform(start, end) - T0
        disturbed = slow[0] <= at + T0 < slow[1]
        took_ms = slow[2] if disturbed else draw.lognormvariate(3.2, 0.5)
        rows.append(attempt(at, took_ms, key=f"k{index}"))
    return sorted(rows, key=lambda row: row["intended_ns"])


def felt(name: str, slow: Slow, seed: int) -> list[Finding]:
    """Judge steady state and the time after the fault, which nothing but `slow` disturbs."""
    scenario, phases, _, end = run_of(name)
    rows = load(T0, end, scenario.brief["rate_per_s"], seed, slow)
    attempts = table(ATTEMPT_COLUMNS, rows)
    asked = [one for one in scenario.objectives if slo.Metric(one.metric).check in FELT and one.phase != "during"]
    hypothesis = slo.steady_state(attempts, phases, asked)
    later = [one for one in asked if one.phase != "before"]
    return hypothesis + slo.evaluate(attempts, None, None, None, phases, later, steady=asked[:2])


@SETTINGS
@given(
    name=st.sampled_from(FAULTS),
    where=st.floats(0, 1),
    took_ms=st.sampled_from((300, 372, 900, 1_900)),
    seed=st.integers(0, 999),
)
def test_a_slow_second_at_any_place_of_a_brief_run_breaks_no_objective(name, where, took_ms, seed):
    *_, end = run_of(name)
    begin = T0 + where * (end - T0)
    found = felt(name, (begin, begin + 1, took_ms), seed)
    assert [one for one in found if one.status is not Status.PASS] == []


@SETTINGS
@given(
    name=st.sampled_from(FAULTS),
    where=st.floats(0, 1),
    took_ms=st.sampled_from((300, 900, 1_900)),
    seed=st.integers(0, 999),
)
def test_two_and_a_half_slow_seconds_after_the_recovery_always_fail(name, where, took_ms, seed):
    _, phases, _, _ = run_of(name)
    after = phases[-1]
    begin = after.start + where * (after.end - after.start - 2.5)
    found = felt(name, (begin, begin + 2.5, took_ms), seed)
    assert [one.name for one in found if one.status is Status.FAIL] == ["latency-ms-p95"]


@pytest.mark.parametrize("name", FAULTS)
def test_a_build_that_never_gets_steady_fails_its_recovery_and_the_phase_after_it(name):
    *_, healed_at, end = run_of(name)
    found = felt(name, (healed_at, end, 400), seed=1)
    assert {(one.name, one.phase) for one in found if one.status is Status.FAIL} == {
        ("recovery-s", "recovery"), ("latency-ms-p95", "after"),
    }  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_build_that_fails_every_other_two_seconds_is_never_steady(name):
    scenario, phases, healed_at, end = run_of(name)
    rows = load(T0, end, scenario.brief["rate_per_s"], 1, (0, 0, 0))
    for row in rows:
        if (at := row["intended_ns"] / 1e9) >= healed_at and int(at - healed_at) % 4 < 2:
            row |= timed_out(at - T0, key=row["idempotency_key"])
    objectives = [one for one in scenario.objectives if one.metric == "recovery_s"]
    steady = [one for one in scenario.objectives if one.phase == "before"]
    (found,) = slo.evaluate(table(ATTEMPT_COLUMNS, rows), None, None, None, phases, objectives, steady=steady)
    assert found.status is Status.FAIL


samples = st.lists(st.tuples(st.floats(0, 8), st.integers(1, 50)), min_size=1, max_size=40)


@given(samples, st.sampled_from((50, 95, 99)))
def test_the_percentile_is_the_lowest_that_leaving_out_one_second_gives(points, share):
    whole = sorted(size for _, size in points)
    kept = [[size for at, size in points if not begin <= at <= begin + blips.BLIP_S] for begin, _ in points]
    best = min(_percentile(sizes, share) for sizes in [whole, *kept] if len(sizes) >= blips.LEFT_SHARE_MIN * len(whole))
    assert blips.percentile([at for at, _ in points], [size for _, size in points], share) == best


def _percentile(sizes: list[int], share: int) -> int:
    ranked = sorted(sizes)
    return ranked[-(-len(ranked) * share // 100) - 1]
