"""Parsing runbooks: every error is refused by name; references, selectors, choices, durations."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kit.local.ssm import branch_choices, jsonpath, parameters, references
from kit.local.ssm.errors import InvalidAutomationParameters, InvalidDocumentContent, InvalidDocumentSchemaVersion
from kit.local.ssm.runbook import Parameter
from kit.local.ssm.runbook_parser import STEPS_MAX, parse, parse_text
from kit.local.ssm.sleep_durations import SLEEP_S_MAX, DurationInvalid, parse_duration_s, until_timestamp_s
from tests.local.ssm_rig import SLOW_STORE, THROTTLE, fail, put, runbook, sleep

pytestmark = pytest.mark.slow


def branch(*rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "Choose", "action": "aws:branch", "inputs": {"Choices": list(rules)}, **more}


@pytest.mark.parametrize("text", [SLOW_STORE, THROTTLE])
def test_the_repair_steps_are_those_after_a_cancellation(text: str) -> None:
    parsed = parse_text(text, "YAML")
    names = [step.name for step in parsed.steps]
    assert parsed.repair_steps() == frozenset(names[2:])
    assert parsed.services() <= {"appconfig", "dynamodb"}


def test_json_and_yaml_are_equivalent() -> None:
    content = runbook(sleep(1), parameters={"A": {"type": "String", "default": "x"}})
    assert parse_text(json.dumps(content), "JSON") == parse_text(json.dumps(content), "YAML")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (runbook(), "0 steps"),
        (runbook(*(sleep(0, f"s{index}") for index in range(STEPS_MAX + 1))), "101 steps"),
        (runbook(sleep(1), sleep(1)), "same name"),
        (runbook(sleep(1, nextStep="Nowhere")), "'Nowhere'"),
        (runbook(sleep(1, onFailure="step:Nowhere")), "'Nowhere'"),
        (runbook(sleep(1, onCancel="Continue")), "onCancel"),
        (runbook(sleep(1, colour="red")), "'colour'"),
        (runbook(sleep(1), files={}), "'files'"),
        (runbook(sleep(1, maxAttempts=0)), "maxAttempts 0"),
        (runbook(sleep(1, timeoutSeconds="soon")), "timeoutSeconds"),
        (runbook({"name": "Run", "action": "aws:executeScript", "inputs": {}}), "aws:executeScript"),
        (runbook({"name": "Call", "action": "aws:executeAwsApi", "inputs": {"Service": "ssm"}}), "Service and Api"),
        (runbook({"name": "Hold", "action": "aws:sleep", "inputs": {}}), "either Duration or Timestamp"),
        (runbook({"name": "Hold", "action": "aws:sleep", "inputs": {"Duration": "an hour"}}), "an hour"),
        (runbook(put("/x", "{{ Missing }}", "Put")), "Missing"),
        (runbook(put("/x", "{{ Hold.Out }}", "Put"), sleep(1)), "Hold.Out"),
        (runbook(put("/x", "{{ssm:/some/parameter}}", "Put")), "ssm:/some/parameter"),
        (runbook(put("/x", "{{ two words }}", "Put")), "malformed"),
        (runbook(fail("Get", outputs=[{"Name": "A", "Selector": "$..A", "Type": "String"}])), "not evaluated"),
        (runbook(fail("Get", outputs=[{"Name": "A", "Selector": "$.A", "Type": "Colour"}])), "Colour"),
        (runbook(sleep(1), outputs=["Hold.Out"]), "Hold.Out"),
        (runbook(sleep(1), parameters={"A": {"type": "Integer", "default": "many"}}), "many"),
        (runbook(sleep(1), parameters={"A": {"type": "Colour"}}), "parameter A"),
        (runbook(branch()), "needs Choices"),
        (runbook(branch({"NextStep": "Choose", "Variable": "a", "Like": "b"})), "Like"),
        (runbook(branch({"NextStep": "Nowhere", "Variable": "a", "StringEquals": "a"})), "'Nowhere'"),
    ],
)
def test_an_invalid_runbook_is_refused_by_name(content: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidDocumentContent) as caught:
        parse(content)
    assert message in str(caught.value)


@pytest.mark.parametrize("version", ["2.2", "1.2", None])
def test_other_schemas_are_refused(version: str | None) -> None:
    with pytest.raises(InvalidDocumentSchemaVersion):
        parse({"schemaVersion": version, "mainSteps": [sleep(1)]})


@pytest.mark.parametrize(("text", "kind"), [("{", "JSON"), ("a: [", "YAML"), ("[]", "JSON"), ("x" * 70_000, "YAML")])
def test_a_text_that_is_not_a_document_is_refused(text: str, kind: str) -> None:
    with pytest.raises(InvalidDocumentContent):
        parse_text(text, kind)


def test_a_reference_keeps_its_type_unless_it_is_inside_a_text() -> None:
    values = {"A": [1, 2], "S.b": "x", "N": 3}
    given = {"all": "{{ A }}", "in": "<{{S.b}}-{{ N }}-{{A}}>", "deep": [{"n": "{{N}}"}], "plain": 4}
    assert references.resolve(given, values.__getitem__) == {
        "all": [1, 2], "in": "<x-3-[1, 2]>", "deep": [{"n": 3}], "plain": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("selector", "value"),
    [
        ("$", {"A": {"B": [{"C": 1}, {"C": 2}], "d-e": None}}),
        ("$.A.B[1].C", 2),
        ("$.A.B[*].C", [1, 2]),
        ("$['A']['B'][0]", {"C": 1}),
        ("$.A.d-e", None),
        ("$.A.*", [[{"C": 1}, {"C": 2}], None]),
        ("$.X[*].C", []),
    ],
)
def test_a_selector_selects(selector: str, value: Any) -> None:
    assert jsonpath.select(selector, {"A": {"B": [{"C": 1}, {"C": 2}], "d-e": None}}) == value


def test_a_selector_that_finds_nothing_raises() -> None:
    with pytest.raises(jsonpath.NothingSelected):
        jsonpath.select("$.A[3]", {"A": [1]})


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ({"Variable": "a", "StringEquals": "a"}, True),
        ({"Variable": "Abc", "EqualsIgnoreCase": "aBC"}, True),
        ({"Variable": "abc", "StartsWith": "b"}, False),
        ({"Variable": "abc", "EndsWith": "c"}, True),
        ({"Variable": "abc", "Contains": "b"}, True),
        ({"Variable": True, "BooleanEquals": "true"}, True),
        ({"Variable": "10", "NumericGreater": 9}, True),
        ({"Variable": 9, "NumericLesserOrEquals": 9}, True),
        ({"Not": {"Variable": "a", "StringEquals": "a"}}, False),
        ({"And": [{"Variable": 1, "NumericEquals": 1}, {"Variable": "a", "StringEquals": "b"}]}, False),
        ({"Or": [{"Variable": 1, "NumericEquals": 1}, {"Variable": "a", "StringEquals": "b"}]}, True),
    ],
)
def test_a_choice_compares_values(rule: dict[str, Any], holds: bool) -> None:
    inputs = {"Choices": [{"NextStep": "Yes", **rule}], "Default": "No"}
    assert branch_choices.find_problem(inputs) is None
    assert branch_choices.choose_step(inputs) == ("Yes" if holds else "No")


def test_parameters_take_their_types_their_defaults_and_nothing_else() -> None:
    declared = {
        "Text": Parameter(name="Text", type="String", allowed_values=("a", "b")),
        "Number": Parameter(name="Number", type="Integer", default=7),
        "Names": Parameter(name="Names", type="StringList", default=[]),
        "Role": Parameter(name="Role", type="AWS::IAM::Role::Arn", default="", allowed_pattern="^arn:"),
    }
    assert parameters.bind(declared, {"Text": ["a"], "Names": ["x", "y"]}) == {
        "Text": "a", "Number": 7, "Names": ["x", "y"], "Role": "",
    }  # fmt: skip
    for given in ({}, {"Text": ["c"]}, {"Text": ["a", "b"]}, {"Text": ["a"], "Number": ["x"]},
                  {"Text": ["a"], "Role": ["x"]}, {"Text": ["a"], "Other": ["x"]}):  # fmt: skip
        with pytest.raises(InvalidAutomationParameters):
            parameters.bind(declared, given)


def test_durations_and_timestamps_are_bounded() -> None:
    assert (parse_duration_s("PT1H0.5S"), parse_duration_s("P1D"), parse_duration_s("PT0S")) == (3600.5, 86_400, 0)
    now = datetime.now(UTC)
    assert until_timestamp_s((now - timedelta(days=1)).isoformat(), now) == 0
    assert until_timestamp_s("2026-01-01T00:00:01Z", datetime(2026, 1, 1, tzinfo=UTC)) == 1
    for text in ("10", "PT", f"PT{SLEEP_S_MAX + 1:.0f}S"):
        with pytest.raises(DurationInvalid):
            parse_duration_s(text)
