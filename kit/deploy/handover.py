"""How a template reaches CloudFormation: in the call's body, or, too large for that, through a bucket of the run's own.

The bucket lives for as long as the call that makes the stack takes. Owns its name, by which it is found again when a
run was killed in between; knows nothing of stacks but their names.
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

# CloudFormation's own limit for a template in the call's body.
BODY_BYTES_MAX = 51_200
# And for one in S3: the quota says 1 MB, the refusal says how many bytes that is.
TEMPLATE_BYTES_MAX = 1_000_000
KEY = "stack.yaml"
# The one Region that S3 does not take as a place for a bucket, because it is the default.
DEFAULT_REGION = "us-east-1"
# With the longest stack name and a hyphen, 61 of the 63 characters that a bucket's name may have.
DIGEST_CHARS = 12
GONE = frozenset({"404", "NoSuchBucket"})
# Somebody else's bucket of that name: nothing of ours, and nothing that we could delete.
FOREIGN = frozenset({"403", "AccessDenied"})


@contextmanager
def handed_over(session: ClientSource, stack_name: str, body: str, tags: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The arguments by which CloudFormation gets the template; what they point to is gone after the block.

    A bucket that cannot be deleted then is no reason to lose the stack: who tears it down tries again, and says so.
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
    """The bucket of that stack's template, if a run that was killed left it: a leak check."""
    bucket = bucket_name(session, stack_name)
    with cloud_errors(f"looking for bucket {bucket}"):
        return [bucket] if _is_done(lambda: session.client("s3").head_bucket(Bucket=bucket), GONE | FOREIGN) else []


def delete_bucket(session: ClientSource, bucket: str) -> None:
    """Delete a bucket and the template in it, and nothing else: S3 refuses to delete a bucket that holds more."""
    s3 = session.client("s3")
    with cloud_errors(f"deleting bucket {bucket}"):
        if _is_done(lambda: s3.delete_object(Bucket=bucket, Key=KEY), GONE):
            _is_done(lambda: s3.delete_bucket(Bucket=bucket), GONE)


def bucket_name(session: ClientSource, stack_name: str) -> str:
    """One name for each stack, account and Region, for buckets share one space of names with all the world's.

    Whoever knows the run knows the name: no mark on a bucket is needed that a killed run had no time to make.
    """
    with cloud_errors(f"the account of stack {stack_name}"):
        account = session.client("sts").get_caller_identity()["Account"]
    place = f"{account}/{session.client('s3').meta.region_name}/{stack_name}"
    return f"{stack_name}-{hashlib.sha256(place.encode()).hexdigest()[:DIGEST_CHARS]}"


def object_url(endpoint: str, bucket: str) -> str:
    """Where the template is, as S3's client itself goes there: the bucket is a host, but an address has no hosts."""
    parts = urlsplit(endpoint)
    if _is_address(parts.hostname or ""):
        return f"{endpoint}/{bucket}/{KEY}"
    return f"{parts.scheme}://{bucket}.{parts.netloc}/{KEY}"


def _make_bucket(s3: Any, bucket: str, tags: Mapping[str, str]) -> None:
    """S3's defaults make it private, encrypted, and closed to any policy that would make it public."""
    region = s3.meta.region_name
    place = {} if region == DEFAULT_REGION else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3.create_bucket(Bucket=bucket, **place)
    s3.put_bucket_tagging(
        Bucket=bucket, Tagging={"TagSet": [{"Key": key, "Value": value} for key, value in tags.items()]}
    )


def _is_done(call: Callable[[], object], otherwise: frozenset[str]) -> bool:
    """Whether the call went well; False for the errors that are an answer, too."""
    try:
        call()
    except ClientError as error:
        if error_code(error) in otherwise:
            return False
        raise
    return True


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
