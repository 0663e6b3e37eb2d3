"""Test that a large template goes through a bucket of the run, which is deleted afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from kit import aws, deploy
from kit.deploy import template_upload
from kit.errors import CloudError, DeployFailed
from kit.model import Deployment

TAGS = {"GameDay": "allowed", "RunId": "r"}
LARGE = (
    "Parameters: {RunId: {Type: String}, ImageUri: {Type: String}}\n"
    "Resources: {Good: {Type: 'AWS::SNS::Topic'}}\n" + "# a long comment\n" * 4_000
)
BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
REGIONS = pytest.mark.parametrize("region", ["us-east-1", "eu-west-1", "us-gov-west-1", "cn-north-1"])


def buckets(session: aws.Session) -> list[str]:
    return [bucket["Name"] for bucket in session.client("s3").list_buckets()["Buckets"]]


@contextmanager
def left_by_a_killed_run(session: aws.Session, stack_name: str) -> Iterator[str]:
    """The bucket of a run that was killed before it could delete the bucket."""
    begun = template_upload.template_source(session, stack_name, LARGE, TAGS)
    begun.__enter__()
    yield template_upload.bucket_name(session, stack_name)
    begun.__exit__(None, None, None)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.yaml"
    path.write_text(LARGE)
    return path


def test_a_small_template_goes_in_the_body_of_the_call(local_session: aws.Session):
    with template_upload.template_source(local_session, "gameday-small", "Resources: {}", TAGS) as source:
        assert source == {"TemplateBody": "Resources: {}"}
        assert not template_upload.find_buckets(local_session, "gameday-small")


def test_a_large_template_is_in_a_tagged_bucket_during_the_block(local_session: aws.Session):
    s3 = local_session.client("s3")
    with template_upload.template_source(local_session, "gameday-large", LARGE, TAGS) as source:
        (bucket,) = template_upload.find_buckets(local_session, "gameday-large")
        assert source == {"TemplateURL": f"{local_session.endpoint}/{bucket}/stack.yaml"}
        assert s3.get_object(Bucket=bucket, Key="stack.yaml")["Body"].read().decode() == LARGE
        assert {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=bucket)["TagSet"]} == TAGS
    assert bucket not in buckets(local_session)


def test_cloudformation_creates_the_stack_of_a_large_template(local_session: aws.Session, large: Path):
    """The error shows that the stack was created: its outputs are missing, because it is not PaperBroker."""
    with pytest.raises(DeployFailed, match="stack gameday-large has no output ApiServiceName"):
        deploy.deploy(local_session, image_uri="x", run_id="large", template=large, parameters={}, timeout_s=20)
    assert deploy.find_buckets(local_session, run_id="large") == []
    assert deploy.find_stacks(local_session, run_id="large") == []


def test_a_refused_stack_leaves_no_bucket(local_session: aws.Session, deployment: Deployment, large: Path):
    run_id = deployment.run_id
    with pytest.raises(DeployFailed, match="exists already"):
        deploy.deploy(local_session, image_uri="x", run_id=run_id, template=large, parameters={}, timeout_s=20)
    assert deploy.find_buckets(local_session, run_id=run_id) == []
    assert deploy.find_stacks(local_session, run_id=run_id) == [deployment.stack_name]


def test_the_bucket_of_a_killed_run_is_found_by_the_run_id_and_deleted(local_session: aws.Session):
    with left_by_a_killed_run(local_session, "gameday-killed") as bucket:
        assert deploy.find_buckets(local_session, run_id="killed") == [bucket]
        assert deploy.find_buckets(local_session, run_id="another") == []
        deploy.delete_bucket(local_session, bucket)
        assert deploy.find_buckets(local_session, run_id="killed") == []


def test_tearing_down_deletes_the_bucket_even_without_a_stack(local_session: aws.Session):
    with left_by_a_killed_run(local_session, "gameday-torn") as bucket:
        deploy.tear_down(local_session, "gameday-torn", timeout_s=20)
        assert bucket not in buckets(local_session)


def test_a_bucket_with_other_objects_is_kept_and_reported(local_session: aws.Session):
    s3 = local_session.client("s3")
    with left_by_a_killed_run(local_session, "gameday-full") as bucket:
        s3.put_object(Bucket=bucket, Key="other-object", Body=b"x")
        with pytest.raises(CloudError, match=f"deleting bucket {bucket}: .*BucketNotEmpty"):
            deploy.delete_bucket(local_session, bucket)
        s3.delete_object(Bucket=bucket, Key="other-object")


@pytest.mark.parametrize("run_id", ["a", "a" * 40, "a--b-"])
def test_a_bucket_name_is_valid_and_differs_by_region(local_cloud: aws.LocalCloud, run_id: str):
    regions = ("us-east-1", "eu-west-1")
    sessions = [aws.local_session(local_cloud.endpoint, each, local_cloud.credentials) for each in regions]
    names = {template_upload.bucket_name(session, f"gameday-{run_id}") for session in sessions}
    assert len(names) == 2
    assert [name for name in names if not BUCKET_NAME.fullmatch(name)] == []


def test_a_bucket_outside_the_default_region_has_a_location(local_cloud: aws.LocalCloud):
    session = aws.local_session(local_cloud.endpoint, "eu-west-1", local_cloud.credentials)
    with template_upload.template_source(session, "gameday-abroad", LARGE, TAGS):
        (bucket,) = template_upload.find_buckets(session, "gameday-abroad")
        assert session.client("s3").get_bucket_location(Bucket=bucket)["LocationConstraint"] == "eu-west-1"


@REGIONS
def test_the_url_is_the_one_to_which_botocore_sends_the_object(region: str):
    """The URL is that of AWS. A hook stops botocore before it sends anything."""
    s3 = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name=region).client("s3")
    sent: list[str] = []

    def stop(request: Any, **_: Any) -> None:
        sent.append(request.url)
        raise InterruptedError

    s3.meta.events.register("before-send.s3.PutObject", stop)
    with pytest.raises(InterruptedError):
        s3.put_object(Bucket="gameday-r-0123456789ab", Key="stack.yaml", Body=b"x")
    url = template_upload.object_url(s3.meta.endpoint_url, "gameday-r-0123456789ab")
    assert [url] == sent
    assert url.startswith("https://gameday-r-0123456789ab.s3.")
