"""CloudFormation makes the bucket of a run's artifacts as its template says, and deletes it only when it is empty."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.polling import wait_until

BUCKET: dict[str, Any] = {
    "BucketName": "s3-artifacts",
    "BucketEncryption": {
        "ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
    },
    "PublicAccessBlockConfiguration": {
        "BlockPublicAcls": True, "BlockPublicPolicy": True, "IgnorePublicAcls": True, "RestrictPublicBuckets": True,
    },
    "LifecycleConfiguration": {
        "Rules": [
            {"Id": "expire", "Status": "Enabled", "ExpirationInDays": 30,
             "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}},
        ]
    },
    "Tags": [{"Key": "Component", "Value": "artifacts"}],
}  # fmt: skip


def ended(cloud: Any, stack: str) -> dict[str, Any]:
    client = cloud.client("cloudformation")
    found: dict[str, Any] = {}

    def is_over() -> bool:
        found.update(client.describe_stacks(StackName=stack)["Stacks"][0])
        return not found["StackStatus"].endswith("_IN_PROGRESS")

    wait_until(is_over, "the end of the operation", 20)
    return found


def make(cloud: Any, name: str, **changes: Any) -> dict[str, Any]:
    template = {"Resources": {"Artifacts": {"Type": "AWS::S3::Bucket", "Properties": BUCKET | changes}}}
    cloud.client("cloudformation").create_stack(
        StackName=name, TemplateBody=json.dumps(template), OnFailure="DO_NOTHING", Tags=[{"Key": "RunId", "Value": "r"}]
    )
    return ended(cloud, name)


def test_a_bucket_of_artifacts_is_private_and_tagged(cloud: Any) -> None:
    """Its encryption is AWS's default, and its rules of expiry are ignored (docs/fidelity.md)."""
    assert make(cloud, "s3-made")["StackStatus"] == "CREATE_COMPLETE"
    s3, bucket = cloud.client("s3"), BUCKET["BucketName"]
    block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert set(block.values()) == {True}
    tags = {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=bucket)["TagSet"]}
    assert tags["Component"] == "artifacts" and tags["RunId"] == "r"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"BucketEncryption": {"ServerSideEncryptionConfiguration": [
                {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "k"}}]}},
            "BucketEncryption of AWS::S3::Bucket is not served here",
        ),
        ({"ObjectLockEnabled": True}, "(AWS::S3::Bucket): ObjectLockEnabled is not served here"),
    ],
)  # fmt: skip
def test_what_a_bucket_would_not_do_is_refused_by_name(cloud: Any, changes: dict[str, Any], reason: str) -> None:
    name = f"s3-refused-{next(iter(changes)).lower()}"
    assert make(cloud, name, BucketName=name, **changes)["StackStatus"] == "CREATE_FAILED"
    events = cloud.client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
    reasons = [event.get("ResourceStatusReason", "") for event in events]
    assert [one for one in reasons if reason in one] != []


def test_a_bucket_with_objects_is_not_deleted(cloud: Any) -> None:
    make(cloud, "s3-full", BucketName="s3-full-bucket")
    s3, stacks = cloud.client("s3"), cloud.client("cloudformation")
    s3.put_object(Bucket="s3-full-bucket", Key="run/verdict.json", Body=b"{}")
    stack = stacks.describe_stacks(StackName="s3-full")["Stacks"][0]["StackId"]
    stacks.delete_stack(StackName=stack)
    assert ended(cloud, stack)["StackStatus"] == "DELETE_FAILED"
    assert s3.get_object(Bucket="s3-full-bucket", Key="run/verdict.json")["Body"].read() == b"{}"
    s3.delete_object(Bucket="s3-full-bucket", Key="run/verdict.json")
    stacks.delete_stack(StackName=stack)
    assert ended(cloud, stack)["StackStatus"] == "DELETE_COMPLETE"
    with pytest.raises(ClientError):
        s3.head_bucket(Bucket="s3-full-bucket")
