"""Pass a template to CloudFormation: in the body of the call, or through an S3 bucket if it is too large for that.

The bucket exists only during the call that creates the stack. Its name follows from the name of the stack, so that the
bucket of a killed run can be found.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from kit.aws.client_errors import ClientSource, cloud_errors, error_code
from kit.errors import CloudError

# CloudFormation's limit for a template in the body of the call.
BODY_BYTES_MAX = 51_200
# CloudFormation's limit for a template in S3, which its error message states in bytes.
TEMPLATE_BYTES_MAX = 1_000_000
KEY = "stack.yaml"
# S3 refuses this Region as a location constraint, because it is the default.
DEFAULT_REGION = "us-east-1"
# With a hyphen and the longest stack name this makes 61 characters. A bucket name may have 63.
DIGEST_CHARS = 12
GONE = frozenset({"404", "NoSuchBucket"})
# Errors for a bucket of that name in another account. Such a bucket is not touched.
OTHER_OWNER = frozenset({"403", "AccessDenied"})


@contextmanager
def template_source(
    session: ClientSource, stack_name: str, body: str, tags: Mapping[str, str]
) -> Iterator[dict[str, str]]:
    """Yield the arguments that pass the template to `create_stack`. The bucket is deleted after the block.

    An error of that deletion is ignored, so that the stack is not lost. `tear_down` tries again and reports it.
    """
    if len(body.encode()) <= BODY_BYTES_MAX:
        yield {"TemplateBody": body}
        return
    s3, bucket = session.client("s3"), bucket_name(session, stack_name)
    try:
        _make_bucket(s3, bucket, tags)
        s3.put_object(Bucket=bucket, Key=KEY, Body=body.encode())
        yield {"TemplateURL": object_url(s3.meta.endpoint_url, bucket)}
    finally:
        with contextlib.suppress(CloudError):
            delete_bucket(session, bucket)


def find_buckets(session: ClientSource, stack_name: str) -> list[str]:
    """Find the bucket of that stack's template, which a killed run may have left (leak check)."""
    bucket = bucket_name(session, stack_name)
    with cloud_errors(f"looking for bucket {bucket}"):
        exists = _succeeds(lambda: session.client("s3").head_bucket(Bucket=bucket), GONE | OTHER_OWNER)
    return [bucket] if exists else []


def delete_bucket(session: ClientSource, bucket: str) -> None:
    """Delete a bucket and the template in it. S3 refuses to delete a bucket that contains anything else."""
    s3 = session.client("s3")
    with cloud_errors(f"deleting bucket {bucket}"):
        if _succeeds(lambda: s3.delete_object(Bucket=bucket, Key=KEY), GONE):
            _succeeds(lambda: s3.delete_bucket(Bucket=bucket), GONE)


def bucket_name(session: ClientSource, stack_name: str) -> str:
    """Return the name for a stack, account and Region. The digest makes it unique, because bucket names are global.

    The name follows from the run alone, so the bucket of a killed run is found even if it has no tags yet.
    """
    with cloud_errors(f"the account of stack {stack_name}"):
        account = session.client("sts").get_caller_identity()["Account"]
    owner = f"{account}/{session.client('s3').meta.region_name}/{stack_name}"
    return f"{stack_name}-{hashlib.sha256(owner.encode()).hexdigest()[:DIGEST_CHARS]}"


def object_url(endpoint: str, bucket: str) -> str:
    """Return the URL of the template, with the bucket in the host name, or in the path if the host is an IP address."""
    parts = urlsplit(endpoint)
    if _is_address(parts.hostname or ""):
        return f"{endpoint}/{bucket}/{KEY}"
    return f"{parts.scheme}://{bucket}.{parts.netloc}/{KEY}"


def _make_bucket(s3: Any, bucket: str, tags: Mapping[str, str]) -> None:
    """Create the bucket. By S3's defaults it is private and encrypted, and public access is blocked."""
    region = s3.meta.region_name
    location = {} if region == DEFAULT_REGION else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3.create_bucket(Bucket=bucket, **location)
    s3.put_bucket_tagging(
        Bucket=bucket, Tagging={"TagSet": [{"Key": key, "Value": value} for key, value in tags.items()]}
    )


def _succeeds(call: Callable[[], object], error_codes: frozenset[str]) -> bool:
    """Tell whether the call succeeds; False if it fails with one of `error_codes`."""
    try:
        call()
    except ClientError as error:
        if error_code(error) in error_codes:
            return False
        raise
    return True


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
