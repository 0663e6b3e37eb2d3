"""From host names to AWS services."""

from __future__ import annotations

import pytest

from kit.local.fis.actions.service_hosts import ServiceHost, is_region, service_of_host


@pytest.mark.parametrize(
    ("name", "service", "region"),
    [
        ("sqs.us-east-1.amazonaws.com", "sqs", "us-east-1"),
        ("SQS.us-east-1.amazonaws.com.", "sqs", "us-east-1"),
        ("us-east-1.queue.amazonaws.com", "sqs", "us-east-1"),
        ("queue.amazonaws.com", "sqs", ""),
        ("dynamodb.eu-west-1.amazonaws.com", "dynamodb", "eu-west-1"),
        ("123456789012.ddb.eu-west-1.amazonaws.com", "dynamodb", "eu-west-1"),
        ("streams.dynamodb.us-east-1.amazonaws.com", "dynamodb", "us-east-1"),
        ("dynamodb-fips.us-gov-west-1.amazonaws.com", "dynamodb", "us-gov-west-1"),
        ("s3.amazonaws.com", "s3", ""),
        ("my.bucket.s3.us-east-1.amazonaws.com", "s3", "us-east-1"),
        ("bucket.s3.dualstack.us-east-1.amazonaws.com", "s3", "us-east-1"),
        ("sqs.us-east-1.api.aws", "sqs", "us-east-1"),
        ("sqs.cn-north-1.amazonaws.com.cn", "sqs", "cn-north-1"),
        ("vpce-1-abc.sqs.us-east-1.vpce.amazonaws.com", "sqs", "us-east-1"),
        ("*.sqs.us-east-1.amazonaws.com", "sqs", "us-east-1"),
        ("api.ecr.us-east-1.amazonaws.com", "ecr", "us-east-1"),
        ("monitoring.us-east-1.amazonaws.com", "monitoring", "us-east-1"),
        ("appconfigdata.us-east-1.amazonaws.com", "appconfig", "us-east-1"),
        ("fis.us-east-1.amazonaws.com", "fis", "us-east-1"),
    ],
)
def test_a_host_name_of_aws_is_its_service(name: str, service: str, region: str) -> None:
    """By the name that the service's calls are signed with."""
    assert service_of_host(name) == ServiceHost(service=service, region=region)


@pytest.mark.parametrize(
    "name",
    ["example.com", "sqs", "amazonaws.com", "nothing.us-east-1.amazonaws.com", "sqs.us-east-1.amazonaws.com.evil.org"],
)
def test_any_other_name_means_no_service(name: str) -> None:
    """It is refused, never guessed."""
    assert service_of_host(name) is None


def test_a_region_is_one_that_aws_has() -> None:
    assert is_region("eu-west-1") and is_region("us-gov-west-1")
    assert not is_region("mars-north-1") and not is_region("")
