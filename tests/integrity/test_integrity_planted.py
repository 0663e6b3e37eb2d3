"""Every check accepts the golden history and rejects each history in which its anomaly is planted."""

from __future__ import annotations

import json

import pytest

from kit import integrity
from kit.integrity.findings.counterexample import STEPS_MAX
from kit.model import FaultWindow, Finding, Status, Verdict
from kit.verdict import gate
from tests.histories import execution, planted
from tests.histories.clock import T0_NS
from tests.histories.run_folder import judge
from tests.verdict.records import run_facts

FAULT = FaultWindow(
    experiment_id="EXP1",
    template="AzLoss",
    status="completed",
    injected_at=T0_NS / 1e9 + 0.5,
    observed_at=T0_NS / 1e9 + 0.7,
    healed_at=T0_NS / 1e9 + 1.5,
)


def test_the_golden_history_passes_every_check(golden):
    found = judge(golden)
    assert [(one.name, one.detail) for one in found.values() if one.status is not Status.PASS] == []
    assert len(found) == len(integrity.CHECKS)


@pytest.mark.parametrize(("plant", "names"), planted.PLANTS, ids=lambda part: getattr(part, "__name__", "by"))
def test_the_planted_anomaly_is_found_and_told(plant, names, tables):
    """Each check that must notice fails, counts, and tells a short timeline that a verdict can hold."""
    plant(tables)
    for found in judge(tables, *names, fault=FAULT).values():
        assert found.status is Status.FAIL, f"{found.name}: {found.detail}"
        assert found.measured and found.measured > 0
        assert found.limit == 0
        check_counterexample(found)


def check_counterexample(found: Finding) -> None:
    steps = found.counterexample
    assert 0 < len(steps) <= STEPS_MAX
    assert all(isinstance(step["what"], str) and step["what"] for step in steps)
    times = [step["t"] for step in steps if step["t"] is not None]
    assert times == sorted(times)
    record = gate.record(run_facts(), Verdict.FAIL, [found.detail], findings=[found])
    json.dumps(record, allow_nan=False)


def test_every_check_has_a_planted_history():
    assert {check.name for check in integrity.CHECKS} == {name for _, names in planted.PLANTS for name in names}


def test_names_are_unique_and_kebab_case():
    names = [check.name for check in integrity.CHECKS]
    assert len(set(names)) == len(names)
    assert all(name == name.lower() and "_" not in name and " " not in name for name in names)


def test_the_classic_bad_change_shows_as_double_fills():
    tables = execution.play(execution.random_steps(seed=7, count=700), without_idempotency=True)
    found = judge(tables)
    double = found["no-double-fill"]
    assert double.status is Status.FAIL
    assert double.measured == 20
    assert double.detail.startswith("20 of 198 orders were filled twice: order ")
    assert "but received" in double.detail or "but gave" in double.detail
    # The replay follows the sequenced events, and they are what the matcher was given: it did its part.
    assert found["price-time-replay"].status is Status.PASS


def test_the_counterexample_of_a_doubled_order_shows_both_acceptances_both_fills_and_the_fault():
    tables = execution.play(execution.random_steps(seed=7, count=700), without_idempotency=True)
    found = judge(tables, "no-double-fill", fault=FAULT)["no-double-fill"]
    told = [step["what"] for step in found.counterexample]
    assert sum(" accepted: " in what for what in told) == 2
    assert sum("trade " in what for what in told) >= 2
    assert any("sends order" in what for what in told)
    assert any("fault AzLoss injected" in what for what in told)
    assert any("stored at the end" in what for what in told)
