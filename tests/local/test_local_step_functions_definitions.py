"""Definitions that Step Functions refuses on AWS, or that the local one would not run as written, are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kit.local.stepfunctions.definition.checks import problems
from tests.local.states_rig import FUNCTION, one

SQS = "arn:aws:states:::sqs:sendMessage"
SENT = {"QueueUrl": "u", "MessageBody": "b"}


def task(**fields: Any) -> dict[str, Any]:
    """Return a machine of one task."""
    return one("Task", **{"Resource": SQS, "Parameters": SENT, **fields})


def found(definition: Any, kind: str = "STANDARD") -> str:
    """Return the problems of a definition as text."""
    text = definition if isinstance(definition, str) else json.dumps(definition)
    return ", ".join(str(each) for each in problems(text, kind))


def nested(inner: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return a machine whose only state contains another one."""
    held = {"Branches": [inner]} if kind == "Parallel" else {"ItemProcessor": inner}
    return {"StartAt": "Outer", "States": {"Outer": {"Type": kind, "End": True, **held}}}


def distributed(**fields: Any) -> dict[str, Any]:
    """Return a machine of one distributed Map."""
    config = {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    inner = {"ProcessorConfig": config, "StartAt": "I", "States": {"I": {"Type": "Pass", "End": True}}}
    return one("Map", **{"ItemProcessor": inner, **fields})


READER = {
    "Resource": "arn:aws:states:::s3:getObject",
    "Parameters": {"Bucket": "b", "Key.$": "$.k"},
    "ReaderConfig": {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"},
}


@pytest.mark.parametrize(
    "definition",
    [
        task(),
        {**task(TimeoutSeconds=60, HeartbeatSeconds=5), "TimeoutSeconds": 600},
        task(TimeoutSecondsPath="$.t", HeartbeatSecondsPath="$$.h"),
        task(
            Retry=[
                {"ErrorEquals": ["a"], "MaxDelaySeconds": 3, "JitterStrategy": "FULL"},
                {"ErrorEquals": ["States.ALL"]},
            ]
        ),
        task(Resource=FUNCTION, Parameters={"any": 1}),
        task(
            Resource="arn:aws:states:::aws-sdk:fis:startExperiment",
            Parameters={"ExperimentTemplateId": "e"},
        ),
        task(Resource="arn:aws:states:::ecs:runTask.sync", Parameters={"TaskDefinition.$": "$.t"}),
        one("Wait", QueryLanguage="JSONata", Timestamp="{% $states.input.at %}"),
        one("Fail", ErrorPath="States.Format('{}', $.e)", CausePath="$.c"),
        one("Succeed"),
        distributed(ItemReader=READER, ItemBatcher={"MaxItemsPerBatch": 3}, ToleratedFailurePercentage=5, Label="L"),
        distributed(
            ResultWriter={"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "b", "Prefix": "p"}}
        ),
    ],
)
def test_a_good_definition_is_accepted(definition: dict[str, Any]) -> None:
    assert found(definition) == ""


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        ("", "INVALID_JSON_DESCRIPTION"),
        ("[]", "INVALID_JSON_DESCRIPTION"),
        ({}, "These fields are required: [States, StartAt]"),
        ({"StartAt": "A", "States": {}}, "at least one state"),
        ({"StartAt": "Missing", "States": {"A": {"Type": "Pass", "End": True}}}, "Missing 'StartAt' target: Missing"),
        ({"StartAt": ["A"], "States": one()["States"]}, "Missing 'StartAt' target"),
        (one(Next="Nowhere"), "MISSING_TRANSITION_TARGET: Missing 'Next' target: Nowhere at /States/A/Next"),
        (task(Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Lost"}]), "target: Lost at /States/A/Catch[0]/Next"),
        (one("Choice", Choices=[{"Variable": "$", "IsNull": True, "Next": "Gone"}]), "/States/A/Choices[0]/Next"),
        (one("Choice", Choices=[{"Variable": "$", "IsNull": True, "Next": "A"}], Default="Away"), "'Default' target"),
        (one() | {"States": {**one()["States"], "B": {"Type": "Pass", "End": True}}}, 'State "B" is not reachable'),
        (nested(one(Next="Nowhere"), "Parallel"), "Nowhere"),
        (nested(one("Pass", Next="Outer"), "Map"), "Outer"),
        (nested({"StartAt": "Outer", "States": {"Outer": {"Type": "Pass", "End": True}}}, "Map"), "used 2 times"),
        (one("Nap"), "not a valid type of state"),
        (one(Seconds=3), "Field 'Seconds' is not supported at /States/A/Seconds"),
        (one() | {"Colour": 1}, "Field 'Colour' is not supported"),
        (one() | {"TimeoutSeconds": 0}, "TimeoutSeconds must be an integer"),
        ({"StartAt": "A", "States": {"A": {"Type": "Pass"}}}, "[Next, End]"),
        ({"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "A", "End": True}}}, "Only one of these"),
        (one(QueryLanguage="JSONata", InputPath="$"), "'JSONata' does not support the field 'InputPath'"),
        (one(Output=1), "'JSONPath' does not support the field 'Output'"),
        (one(QueryLanguage="XPath"), "QueryLanguage must be"),
        (one(QueryLanguage="JSONPath") | {"QueryLanguage": "JSONata"}, "can not be 'JSONPath'"),
        (one(Parameters={"a.$": "b"}), "must be a valid JSONPath or a valid intrinsic function call"),
        (one(Parameters={"a.$": "States.Nope()"}), "unknown function States.Nope"),
        (one(Parameters={"l": [{"a.$": "$.["}]}), "/States/A/Parameters/l[0]/a.$"),
        (one(ResultPath="$.a[*]"), "Reference Path"),
        (one(ResultPath="$$.a"), "Reference Path"),
        (one(QueryLanguage="JSONata", Output={"a": "{% 1 + %}"}), "not a valid JSONata expression. S0207"),
        (one(QueryLanguage="JSONata", Output="{% 1"), "begins with {% and ends with %}"),
        (one(Assign={"states": 1}), "reserved"),
        (one(Assign={"1x": 1}), "not a name of a variable"),
        (one("Wait"), "One of these fields is required: [Seconds"),
        (one("Wait", Seconds=1, Timestamp="2024-01-01T00:00:00Z"), "Only one of these"),
        (one("Wait", Timestamp="2024-01-01"), "Timestamp must be such as"),
        (one("Choice", Choices=[]), "at least one rule"),
        (one("Choice", Choices=[{"Variable": "$", "IsNull": True}]), "[Next]"),
        (one("Choice", Choices=[{"Variable": "$", "Next": "A"}]), "exactly one operator"),
        (one("Choice", Choices=[{"IsNull": True, "Next": "A"}]), "[Variable]"),
        (one("Choice", Choices=[{"Variable": "$", "NumericEquals": "1", "Next": "A"}]), "must be a number"),
        (one("Choice", Choices=[{"Variable": "$", "StringEqualsPath": "a", "Next": "A"}]), "must be a path"),
        (one("Choice", Choices=[{"Not": {"Variable": "$", "IsNul": 1}, "Next": "A"}]), "'IsNul' is not supported"),
        (task(Resource="arn:aws:states:::nothing:doIt"), "is not recognized"),
        (task(Resource="nonsense"), "is not recognized"),
        (task(Resource="arn:aws:states:::http:invoke"), "is not served here; AWS has it"),
        (task(Resource="arn:aws:states:::codebuild:startBuild.sync"), "is not served here; AWS has it"),
        (task(Resource="arn:aws:states:::aws-sdk:fis:nothing"), "does not serve fis:Nothing"),
        (task(Resource="arn:aws:states:::aws-sdk:quicksight:listUsers"), "does not serve 'quicksight'"),
        (task(Resource="arn:aws:states:::sqs:sendMessage.sync"), "is not recognized"),
        (task(Parameters={"QueueUrl": "u"}), "'MessageBody' is required but was missing at /States/A/Parameters"),
        (task(Parameters={**SENT, "Colour": 1}), "'Colour' is not supported by Step Functions"),
        (task(Credentials={}), "'RoleArn' is required but was missing at /States/A/Credentials"),
        (task(Credentials={"RoleArn": "arn:aws:iam::000000000000:role/r"}), "Credentials are not served here"),
        (task(TimeoutSeconds=5, HeartbeatSeconds=5), "HeartbeatSeconds must be smaller"),
        (task(TimeoutSeconds=5, TimeoutSecondsPath="$.t"), "Only one of these"),
        (task(Retry=[{"ErrorEquals": []}]), "at least one name"),
        (task(Retry=[{"ErrorEquals": ["States.ALL"]}, {"ErrorEquals": ["a"]}]), "in the last retrier"),
        (task(Retry=[{"ErrorEquals": ["a"], "BackoffRate": 0.5}]), "BackoffRate must be a number of at least 1.0"),
        (task(Retry=[{"ErrorEquals": ["a"], "IntervalSeconds": 5, "MaxDelaySeconds": 5}]), "greater than Interval"),
        (task(Retry=[{"ErrorEquals": ["a"], "JitterStrategy": "SOME"}]), "FULL or NONE"),
        (task(Retry=[{"ErrorEquals": ["a"], "Colour": 1}]), "/States/A/Retry[0]/Colour"),
        (task(Catch=[{"ErrorEquals": ["a"]}]), "[Next]"),
        (one("Map"), "[ItemProcessor]"),
        (one("Parallel", Branches=[]), "at least one branch"),
        (distributed(ItemReader={}), "Resource must be"),
        (distributed(ItemReader={**READER, "ReaderConfig": {"InputType": "PARQUET"}}), "InputType must be one of"),
        (distributed(ItemReader={**READER, "ReaderConfig": {"InputType": "CSV"}}), "CSVHeaderLocation"),
        (distributed(ItemBatcher={}), "MaxItemsPerBatch"),
        (distributed(Label="a b"), "Label has 1 to 40 characters"),
        (distributed(Label=""), "Label has 1 to 40 characters"),
        (distributed(ToleratedFailurePercentage=101), "ToleratedFailurePercentage must be"),
        (distributed(ResultWriter={"Resource": "arn:aws:states:::s3:getObject"}), "Resource must be"),
        (one("Map", ItemReader=READER, ItemProcessor={"StartAt": "I", "States": {"I": {"Type": "Pass", "End": True}}}),
         "supported in DISTRIBUTED mode only"),
    ],
)  # fmt: skip
def test_a_bad_definition_is_refused_by_name(definition: Any, text: str) -> None:
    assert text in found(definition)


@pytest.mark.parametrize(
    "definition",
    [
        task(Resource="arn:aws:states:::sqs:sendMessage.waitForTaskToken"),
        task(Resource="arn:aws:states:::ecs:runTask.sync", Parameters={"TaskDefinition": "t"}),
        task(Resource="arn:aws:states:us-east-1:000000000000:activity:a"),
        distributed(),
    ],
)
def test_an_express_machine_cannot_wait_for_others(definition: dict[str, Any]) -> None:
    assert found(definition) == ""
    assert "Express state machine does not support" in found(definition, "EXPRESS")


def test_a_map_of_another_language_leaves_that_of_its_items() -> None:
    """The language of a Map is not that of the states inside of it."""
    inner = {"StartAt": "I", "States": {"I": {"Type": "Pass", "InputPath": "$", "End": True}}}
    assert found(one("Map", QueryLanguage="JSONata", Items="{% [1] %}", ItemProcessor=inner)) == ""
