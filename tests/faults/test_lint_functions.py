"""Test the linter's rule on Lambda faults, which have no effect without AWS's FIS extension."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.faults.lint import lint

STACK = """
Resources:
  Worker:
    Type: AWS::Lambda::Function
    Properties:
      Tags: [{{Key: App, Value: {tag}}}]
      Layers: {layers}
      Environment: {environment}
  Slow:
    Type: AWS::FIS::ExperimentTemplate
    Properties:
      Description: The functions start late
      RoleArn: !GetAtt Role.Arn
      StopConditions: [{{Source: aws:cloudwatch:alarm, Value: !GetAtt Alarm.Arn}}]
      Targets:
        Functions: {{ResourceType: aws:lambda:function, ResourceTags: {{App: shop, Env: !Ref Env}}, SelectionMode: ALL}}
      Actions:
        Late:
          ActionId: aws:lambda:invocation-add-delay
          Parameters: {{duration: PT5M}}
          Targets: {{Functions: Functions}}
"""
LAYERS = "['arn:aws:lambda:us-east-1:211125607513:layer:aws-fis-extension-x86_64:9']"
VARIABLES = (
    "{Variables: {AWS_FIS_CONFIGURATION_LOCATION: !Sub '${Bucket.Arn}/fis/', "
    "AWS_LAMBDA_EXEC_WRAPPER: /opt/aws-fis/bootstrap}}"
)


def told(tmp_path: Path, **changes: str) -> list[str]:
    path = tmp_path / "stack.yaml"
    path.write_text(STACK.format(**{"tag": "shop", "layers": LAYERS, "environment": VARIABLES, **changes}))
    return [str(remark) for _, remark in lint([path]) if remark.rule == "lambda-fault-prerequisites"]


@pytest.mark.parametrize(
    "changes",
    [{}, {"layers": "!Ref Layers"}, {"layers": "[!Ref Layer]"}, {"environment": "!If [A, B, C]"}],
    ids=["prepared", "unknown layers", "unknown layer", "unknown environment"],
)
def test_a_prepared_function_or_an_unknown_one_is_not_remarked_on(tmp_path: Path, changes: dict[str, str]) -> None:
    """The value of a CloudFormation function is known at deployment only."""
    assert told(tmp_path, **changes) == []


@pytest.mark.parametrize(
    ("changes", "lacking"),
    [
        ({"layers": "[]"}, "the FIS extension as a layer"),
        ({"environment": "{Variables: {AWS_LAMBDA_EXEC_WRAPPER: /opt/aws-fis/bootstrap}}"}, "AWS_FIS_CONFIGURATION_"),
        ({"environment": "{}"}, "AWS_FIS_CONFIGURATION_LOCATION and AWS_LAMBDA_EXEC_WRAPPER=/opt/aws-fis/bootstrap"),
    ],
)
def test_a_function_that_lacks_the_extension_is_an_error(tmp_path: Path, changes: dict[str, str], lacking: str) -> None:
    """The error names the function and what it lacks."""
    (remark,) = told(tmp_path, **changes)
    assert remark.startswith(
        "error lambda-fault-prerequisites: Slow: action Late: aws:lambda:invocation-add-delay needs"
    )
    assert lacking in remark and remark.endswith("which function Worker lacks")


def test_without_a_function_in_the_file_it_is_a_note(tmp_path: Path) -> None:
    """A function of another component is not checked."""
    (remark,) = told(tmp_path, tag="other")
    assert remark.startswith("note ") and "which is not in this file" in remark
