"""Scenarios are values that fit the stack and the load."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from kit import scenarios
from kit.errors import UsageError
from kit.load.plan import LoadPlan

STACK = (Path(__file__).parents[2] / "paperbroker" / "deploy" / "stack.yaml").read_text()


def test_an_unknown_scenario_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match="'az-los' is unknown; known: az-loss"):
        scenarios.get("az-los")


@pytest.mark.parametrize("name", scenarios.names())
def test_the_stack_takes_the_parameters_and_gives_the_template(name: str):
    scenario = scenarios.get(name)
    declared = STACK.partition("Parameters:")[2].partition("Conditions:")[0]
    for parameter in scenario.stack_parameters(fault_duration_s=20):
        assert re.search(rf"^  {parameter}:", declared, re.MULTILINE), parameter
    assert f"  {scenario.template_output}:" in STACK.partition("Outputs:")[2]
    assert all(f"ActionId: {action}" in STACK for action in scenario.actions)


@pytest.mark.parametrize("name", scenarios.names())
def test_the_load_of_a_scenario_is_a_load_plan(name: str):
    scenario = scenarios.get(name)
    plan = LoadPlan(api_url="http://127.0.0.1:80", markets=("ACME",), **scenario.load)
    assert {spec.name for spec in fields(plan)} >= set(scenario.load)


@pytest.mark.parametrize("name", scenarios.names())
def test_steady_state_has_the_gates_limits(name: str):
    scenario = scenarios.get(name)
    assert (scenario.p95_limit_ms, scenario.error_rate_limit) == (250, 0.01)
