"""Parameter Store: filters of DescribeParameters, and the pattern of a parameter."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError


@pytest.fixture(scope="module")
def ssm(cloud) -> Any:
    """A client, and four parameters."""
    client = cloud.client("ssm")
    for name, tags in (("/shop/a", {"k": "1"}), ("/shop/b/c", {"k": "2"}), ("/shop/d", {}), ("plain", {"k": "1"})):
        client.put_parameter(
            Name=name, Value="v", Type="String", Tags=[{"Key": k, "Value": v} for k, v in tags.items()]
        )
    return client


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"Key": "tag:k", "Values": ["1"]}, {"/shop/a", "plain"}),
        ({"Key": "tag:k"}, {"/shop/a", "/shop/b/c", "plain"}),
        ({"Key": "tag:other", "Values": ["1"]}, set()),
        ({"Key": "Name", "Option": "BeginsWith", "Values": ["/shop/"]}, {"/shop/a", "/shop/b/c", "/shop/d"}),
        ({"Key": "Name", "Option": "Contains", "Values": ["lai"]}, {"plain"}),
        ({"Key": "Name", "Values": ["/shop/d", "plain"]}, {"/shop/d", "plain"}),
        ({"Key": "Path", "Values": ["/shop"]}, {"/shop/a", "/shop/d"}),
        ({"Key": "Path", "Option": "Recursive", "Values": ["/shop"]}, {"/shop/a", "/shop/b/c", "/shop/d"}),
        ({"Key": "KeyId", "Values": ["alias/aws/ssm"]}, set()),
        ({"Key": "Type", "Values": ["SecureString"]}, set()),
    ],
)
def test_parameters_are_filtered(ssm, given: dict[str, Any], names: set[str]) -> None:
    found = ssm.describe_parameters(ParameterFilters=[given])["Parameters"]
    assert {each["Name"] for each in found} == names


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"Key": "Colour", "Values": ["blue"]}, "ValidationException"),
        ({"Key": "Name", "Option": "EndsWith", "Values": ["a"]}, "InvalidFilterOption"),
        ({"Key": "Path", "Option": "Sideways", "Values": ["/"]}, "InvalidFilterOption"),
    ],
)
def test_a_filter_that_aws_does_not_have_is_refused(ssm, given: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as caught:
        ssm.describe_parameters(ParameterFilters=[given])
    assert caught.value.response["Error"]["Code"] == code


def test_a_value_must_match_the_pattern_of_its_parameter(ssm) -> None:
    digits = {"Name": "digits", "Type": "String", "AllowedPattern": r"^\d+$"}
    with pytest.raises(ssm.exceptions.ParameterPatternMismatchException):
        ssm.put_parameter(**digits, Value="abc")
    ssm.put_parameter(**digits, Value="12")
    with pytest.raises(ssm.exceptions.ParameterPatternMismatchException):
        ssm.put_parameter(Name="digits", Value="abc", Overwrite=True)
    ssm.put_parameter(Name="digits", Value="13", Overwrite=True)
    assert ssm.get_parameter(Name="digits")["Parameter"]["Value"] == "13"


def test_a_pattern_that_is_none_is_refused(ssm) -> None:
    with pytest.raises(ssm.exceptions.InvalidAllowedPatternException):
        ssm.put_parameter(Name="broken", Type="String", Value="x", AllowedPattern="(")


def test_parameter_policies_are_refused_by_name(ssm) -> None:
    with pytest.raises(ClientError, match="Policies is not served here"):
        ssm.put_parameter(Name="expiring", Type="String", Value="x", Policies="[]")
