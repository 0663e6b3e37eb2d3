"""Test that the scenarios fit the stack and the load."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from kit import scenarios
from kit.errors import UsageError
from kit.load import LoadPlan
from kit.slo.objectives import Metric

ROOT = Path(__file__).parents[2]
BRIEF = {"steady_s", "fault_duration_s", "recovery_s", "past_orders", "rate_per_s"}
# Each part of a fault needs several seconds, or the effects of the parts cannot be told apart.
BRIEF_S_MAX = 55
PART_S_MIN = 7
EVERY = pytest.mark.parametrize("name", scenarios.names())


class Loader(yaml.SafeLoader):
    """Reads CloudFormation's short functions (`!Ref X`) as their arguments."""


Loader.add_multi_constructor(
    "!",
    lambda loader, _, node: (
        loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else loader.construct_sequence(node)
    ),
)


@pytest.fixture(scope="module")
def stack() -> dict[str, Any]:
    return yaml.load((ROOT / "paperbroker" / "deploy" / "stack.yaml").read_text(), Loader)


def template_of(stack: dict[str, Any], scenario: scenarios.Scenario) -> dict[str, Any]:
    """The FIS template that the scenario's output names."""
    logical_id = stack["Outputs"][scenario.template_output]["Value"].removesuffix(".Id")
    return stack["Resources"][logical_id]["Properties"]


def test_an_unknown_scenario_is_refused_with_the_known_ones():
    with pytest.raises(
        UsageError, match=r"'az-los' is unknown; known: api-latency, api-termination, az-loss, az-loss-throttled, "
    ):
        scenarios.get("az-los")


@EVERY
def test_the_stack_has_the_parameters_and_the_template(name: str, stack: dict[str, Any]):
    scenario = scenarios.get(name)
    assert set(scenario.stack_parameters(fault_duration_s=20)) <= set(stack["Parameters"])
    template = template_of(stack, scenario)
    assert {action["ActionId"] for action in template["Actions"].values()} == set(scenario.actions)


@EVERY
def test_the_parts_of_a_fault_are_actions_that_follow_one_another(name: str, stack: dict[str, Any]):
    scenario = scenarios.get(name)
    actions = template_of(stack, scenario)["Actions"]
    lasting = {key: action for key, action in actions.items() if "duration" in action.get("Parameters", {})}
    chain = [key for key, action in lasting.items() if set(action.get("StartAfter", ())) & set(lasting)]
    assert scenario.fault_parts == 1 + len(chain)


@EVERY
def test_every_automation_has_an_evidence_source(name: str, stack: dict[str, Any]):
    """FIS knows that an automation ended, but not whether it had an effect."""
    scenario = scenarios.get(name)
    actions = template_of(stack, scenario)["Actions"]
    automations = {key for key, action in actions.items() if action["ActionId"].startswith("aws:ssm:")}
    assert set(scenario.evidence) == automations


@EVERY
def test_the_load_of_a_scenario_is_a_load_plan(name: str):
    scenario = scenarios.get(name)
    plan = LoadPlan(api_url="http://127.0.0.1:80", markets=("ACME",), **scenario.load)
    assert {spec.name for spec in fields(plan)} >= set(scenario.load)


@EVERY
def test_every_scenario_has_the_same_limits_in_steady_state(name: str):
    scenario = scenarios.get(name)
    assert (scenario.p95_limit_ms, scenario.error_rate_limit) == (250, 0.01)


@EVERY
def test_a_scenario_has_objectives_during_and_after_the_fault(name: str):
    scenario = scenarios.get(name)
    limited = {(objective.metric, objective.phase) for objective in scenario.objectives}
    assert {(Metric.ERROR_RATE, "during"), (Metric.AVAILABILITY, "during")} <= limited
    assert {(Metric.LATENCY_MS_P95, "during"), (Metric.OPERATION_MS_P95, "during")} & limited
    assert scenario.limit(Metric.AVAILABILITY, "after") == 1.0
    for reads in ("order_read_ms", "market_read_ms"):
        assert {(f"{reads}_p50", "during"), (f"{reads}_p95", "during")} & limited
        assert (f"{reads}_p95", "after") in limited
    assert scenario.recovery_s_max <= scenario.recovery_s


@EVERY
def test_a_guardrail_is_above_the_errors_that_the_scenario_allows(name: str):
    """Otherwise the allowed errors would stop the experiment, and the run would be ABORTED."""
    scenario = scenarios.get(name)
    assert float(scenario.stack["GuardrailErrorRate"]) >= min(scenario.limit(Metric.ERROR_RATE, "during"), 0.3)
    assert float(scenario.stack["GuardrailErrorRate"]) < 1


@EVERY
def test_a_brief_run_takes_about_a_minute(name: str):
    scenario = scenarios.get(name)
    assert set(scenario.brief) == BRIEF
    phases_s = [scenario.brief[key] for key in ("steady_s", "fault_duration_s", "recovery_s")]
    assert sum(phases_s) <= BRIEF_S_MAX
    assert scenario.brief["fault_duration_s"] // scenario.fault_parts >= PART_S_MIN
    # A shorter phase could not show whether the system recovers within the limit.
    assert scenario.brief["recovery_s"] >= scenario.recovery_s_max


def test_a_fault_in_parts_shares_its_duration():
    scenario = replace(scenarios.get("az-loss"), fault_parts=3)
    assert scenario.stack_parameters(fault_duration_s=20)["FaultDuration"] == "PT6S"
    with pytest.raises(UsageError, match="fault_duration_s=2 is less than 3 parts"):
        scenario.stack_parameters(fault_duration_s=2)
