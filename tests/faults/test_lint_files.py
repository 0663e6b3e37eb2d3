"""How the linter reads files: JSON as JSON, repeated names, SAM's globals, and what it does not read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kit.cli.main import main
from kit.errors import UsageError
from kit.faults.lint import lint
from kit.faults.lint.sam_globals import with_globals
from kit.fis_rules.problems import UNKNOWN

WAIT = {"actionId": "aws:fis:wait", "parameters": {"duration": "PT2M"}}
ALARM = "arn:aws:cloudwatch:eu-west-1:111122223333:alarm:late"
TEMPLATE = {
    "description": "wait", "roleArn": "arn:aws:iam::111122223333:role/experiments", "targets": {},
    "stopConditions": [{"source": "aws:cloudwatch:alarm", "value": ALARM}], "actions": {"rest": WAIT},
}  # fmt: skip


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("t.json", json.dumps(TEMPLATE)[:-1] + ",}", "line 1 column"),
        ("t.json", "# a comment\n" + json.dumps(TEMPLATE), "line 1 column 1"),
        ("t.JSON", "actions: {}\nstopConditions: []\n", "line 1 column 1"),
        ("template", "{actions: {}, stopConditions: []}", "line 1 column 2"),
    ],
)
def test_broken_json_is_not_read_as_yaml(tmp_path, name, text, where):
    with pytest.raises(UsageError, match=f"it is not JSON: .*{where}"):
        lint([written(tmp_path / name, text)])


@pytest.mark.parametrize("is_yaml", [False, True])
def test_a_name_that_is_given_twice_is_a_warning(tmp_path, is_yaml):
    if is_yaml:
        text = "\n".join([
            "roleArn: arn:aws:iam::111122223333:role/x", "description: d", "targets: {}",
            f"stopConditions: [{{source: 'aws:cloudwatch:alarm', value: '{ALARM}'}}]", "actions:",
            "  a: {actionId: 'aws:fis:wait', parameters: {duration: PT2M}}",
            "  a: {actionId: 'aws:fis:wait', parameters: {duration: PT3M}}",
        ])  # fmt: skip
    else:
        text = json.dumps(TEMPLATE).replace('{"rest": ', f'{{"rest": {json.dumps(WAIT)}, "rest": ')
    remarks = [str(one) for _, one in lint([written(tmp_path / ("t.yaml" if is_yaml else "t.json"), text)])]
    name = "a" if is_yaml else "rest"
    assert f"warning name-given-once: $.actions has {name!r} more than once; the last one wins" in remarks


def test_a_resource_that_is_given_twice_is_a_warning(tmp_path):
    properties = {name[:1].upper() + name[1:]: value for name, value in TEMPLATE.items()}
    properties |= {"Actions": {"rest": {"ActionId": "aws:fis:wait", "Parameters": {"duration": "PT2M"}}}}
    properties["StopConditions"] = [{"Source": "none"}]
    one = json.dumps({"Type": "AWS::FIS::ExperimentTemplate", "Properties": properties})
    text = f'{{"Resources": {{"T": {one.replace("PT2M", "PT9M")}, "T": {one}}}}}'
    assert "name-given-once" in " ".join(str(remark) for _, remark in lint([written(tmp_path / "t.json", text)]))


@pytest.mark.parametrize(
    ("name", "text"),
    [("main.tf", "x"), ("main.tf.json", "{}"), ("faults.hcl", ""), ("main.txt", 'resource "aws_fis_x" "y" {\n}\n')],
)
def test_terraform_is_not_read(tmp_path, capsys, name, text):
    assert main(["lint-template", str(written(tmp_path / name, text))]) == 4
    assert "Terraform is not read" in capsys.readouterr().err


SAM = """
Globals:
  Function:
    Layers: [!Sub 'arn:aws:lambda:${AWS::Region}:111122223333:layer:aws-fis-extension-arm64:3']
    Environment: {Variables: {AWS_FIS_CONFIGURATION_LOCATION: 'arn:aws:s3:::b/fis/'}}
Resources:
  Own:
    Type: AWS::Serverless::Function
    Properties:
      Environment: {Variables: {AWS_LAMBDA_EXEC_WRAPPER: PROGRAM}}
  Fault:
    Type: AWS::FIS::ExperimentTemplate
    Properties:
      Description: fail some
      RoleArn: !GetAtt Role.Arn
      StopConditions: [{Source: 'aws:cloudwatch:alarm', Value: !GetAtt Alarm.Arn}]
      Tags: {}
      Targets: {f: {ResourceType: 'aws:lambda:function', ResourceArns: [!GetAtt Own.Arn], SelectionMode: ALL}}
      Actions:
        fail:
          ActionId: aws:lambda:invocation-error
          Parameters: {duration: PT2M, preventExecution: true}
          Targets: {Functions: f}
"""


@pytest.mark.parametrize(("wrapper", "lacking"), [("/opt/aws-fis/bootstrap", False), ("/opt/other", True)])
def test_globals_of_sam_apply_to_functions(tmp_path, wrapper, lacking):
    remarks = lint([written(tmp_path / "t.yaml", SAM.replace("PROGRAM", wrapper))])
    assert any(one.rule == "lambda-fault-prerequisites" for _, one in remarks) is lacking


def test_globals_merge_maps_join_lists_and_yield_to_other_values():
    shared = {"Function": {"Timeout": 3, "Layers": ["a"], "Environment": {"Variables": {"A": "1", "B": "1"}}}}
    own = {"Timeout": 9, "Layers": ["b"], "Environment": {"Variables": {"B": "2"}}, "Handler": UNKNOWN}
    merged = with_globals(shared, {"f": own, "g": {}, "h": UNKNOWN})
    variables = {"Variables": {"A": "1", "B": "2"}}
    assert merged["f"] == {"Timeout": 9, "Layers": ["a", "b"], "Environment": variables, "Handler": UNKNOWN}
    assert merged["g"] == shared["Function"] and merged["h"] is UNKNOWN
    assert with_globals(None, {"f": own}) == {"f": own}
