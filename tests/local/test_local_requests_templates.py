"""The properties of a template are checked by the same rules as the API's requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kit.local.requests.problems import MISSING, Refused
from kit.local.requests.templates import check_properties

STACK = Path(__file__).parents[2] / "paperbroker" / "deploy" / "stack.yaml"
TABLE: dict[str, Any] = {
    "BillingMode": "PAY_PER_REQUEST",
    "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
}
ALARM: dict[str, Any] = {
    "Namespace": "N", "MetricName": "m", "Statistic": "Sum", "Period": "60", "EvaluationPeriods": "1",
    "Threshold": "1.5", "ComparisonOperator": "GreaterThanThreshold", "ActionsEnabled": "true",
}  # fmt: skip


@pytest.mark.parametrize(
    ("resource_type", "properties"),
    [
        ("AWS::DynamoDB::Table", TABLE),
        ("AWS::DynamoDB::Table", {**TABLE, "TimeToLiveSpecification": {"AttributeName": "t", "Enabled": True}}),
        ("AWS::CloudWatch::Alarm", ALARM),
        ("AWS::SSM::Parameter", {"Type": "String", "Value": 5, "Tags": {"a": "b"}}),
        ("AWS::ECR::Repository", {"RepositoryName": "shop/api", "ImageTagMutability": "MUTABLE"}),
        ("AWS::Nobody::Knows", {"Anything": 1}),
    ],
)
def test_properties_that_the_api_accepts_pass(resource_type: str, properties: dict[str, Any]) -> None:
    check_properties(resource_type, properties)


@pytest.mark.parametrize(
    ("resource_type", "properties", "message"),
    [
        ("AWS::DynamoDB::Table", {**TABLE, "BillingMode": "FREE"}, "enum value set"),
        ("AWS::DynamoDB::Table", {**TABLE, "KeySchema": []}, "length greater than or equal to 1"),
        ("AWS::DynamoDB::Table", {**TABLE, "ResourcePolicy": {"PolicyDocument": {}}}, "ResourcePolicy is not served"),
        ("AWS::DynamoDB::Table", {**TABLE, "Colour": "blue"}, "Colour: AWS has no such member"),
        ("AWS::CloudWatch::Alarm", {**ALARM, "Period": "soon"}, "must be a whole number"),
        ("AWS::CloudWatch::Alarm", {**ALARM, "AlarmActions": ["a"] * 6}, "less than or equal to 5"),
        ("AWS::SSM::Parameter", {"Type": "String"}, "Value null at 'Value'"),
        ("AWS::SSM::Parameter", {"Type": "Text", "Value": "v"}, "enum value set"),
        ("AWS::SSM::Parameter", {"Type": "String", "Value": "v", "Policies": "[]"}, "Policies is not served here"),
        ("AWS::ECR::Repository", {"ImageScanningConfiguration": {"ScanOnPush": "true"}}, "only False"),
        ("AWS::SNS::Subscription", {"TopicArn": "arn:t", "Protocol": "sms"}, "'sms' is not served here"),
        ("AWS::S3::Bucket", {"CorsConfiguration": {"CorsRules": [{}]}}, "CorsConfiguration is not served here"),
        ("AWS::S3::Bucket", {"VersioningConfiguration": {"MFADelete": "Enabled"}}, "MFADelete"),
        ("AWS::SQS::Queue", {"RedriveAllowPolicy": {"redrivePermission": "denyAll"}}, "RedriveAllowPolicy is not"),
        ("AWS::Lambda::Permission", {"FunctionName": "f", "Action": "shout"}, "Action"),
        ("AWS::Lambda::Function", {"Code": {}, "Role": "arn:aws:iam::0:role/r", "SnapStart": {"ApplyOn": "x"}}, ""),
    ],
)
def test_properties_that_the_api_refuses_are_refused(
    resource_type: str, properties: dict[str, Any], message: str
) -> None:
    with pytest.raises(Refused) as caught:
        check_properties(resource_type, properties)
    assert message in str(caught.value)


def test_the_literal_properties_of_paperbrokers_stack_pass() -> None:
    """Values that are functions (`!Ref`) are left out."""

    class Loader(yaml.SafeLoader):
        """Read functions as nothing."""

    Loader.add_multi_constructor("!", lambda _loader, _suffix, _node: None)
    resources = yaml.load(STACK.read_text(), Loader)["Resources"]  # our own file
    checked = 0
    for each in resources.values():
        literal = _without_nothing(each.get("Properties") or {})
        try:
            check_properties(each["Type"], literal)
            checked += 1
        except Refused as refused:
            # Only what a function gives may be missing.
            assert refused.kind == MISSING, (each["Type"], str(refused))
            assert refused.path[0] in each["Properties"], (each["Type"], str(refused))
    assert checked > 20


def _without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nothing(item) for key, item in value.items() if item is not None}
    return [_without_nothing(item) for item in value if item is not None] if isinstance(value, list) else value
