"""Check requests to Lambda beyond botocore's model: payloads, code, and what a function refers to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ministack.services import ec2, lambda_svc

from kit.errors import KitError

SYNCHRONOUS, ASYNCHRONOUS = "RequestResponse", "Event"
PAYLOAD_BYTES_MAX = {SYNCHRONOUS: 6 * 1024 * 1024, ASYNCHRONOUS: 1024 * 1024}
INVALID = "InvalidParameterValueException"


class RequestRefused(KitError):
    """A request that Lambda refuses."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def check_payload(kind: str, payload: bytes) -> None:
    """Raise RequestRefused for a payload that is too large for the type of invocation, or no JSON."""
    limit = PAYLOAD_BYTES_MAX.get(kind, PAYLOAD_BYTES_MAX[SYNCHRONOUS])
    if len(payload) > limit:
        raise RequestRefused(
            "RequestEntityTooLargeException",
            f"{len(payload)} byte payload is too large for the {kind} invocation type (limit {limit} bytes)",
            413,
        )
    if not payload:
        return
    try:
        json.loads(payload)
    except ValueError as error:
        raise RequestRefused(
            "InvalidRequestContentException", f"Could not parse request body into json: {error}"
        ) from error


def check_code(code: Mapping[str, Any]) -> None:
    """Raise RequestRefused for code that does not exist."""
    if code.get("ZipFile"):
        return
    bucket, key = code.get("S3Bucket"), code.get("S3Key")
    if not bucket or not key:
        raise RequestRefused(INVALID, "Please provide a source for function code.")
    if lambda_svc.s3_code_region_message(bucket):
        return  # MiniStack answers that the bucket is in another Region.
    if lambda_svc._fetch_code_from_s3(bucket, key, version_id=code.get("S3ObjectVersion")) is None:
        raise RequestRefused(
            INVALID,
            "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not "
            f"exist (s3://{bucket}/{key}).",
        )


def check_network(network: Mapping[str, Any] | None) -> None:
    """Raise RequestRefused for subnets and security groups that do not exist, or are in different VPCs."""
    subnets, groups = (network or {}).get("SubnetIds") or (), (network or {}).get("SecurityGroupIds") or ()
    if bool(subnets) != bool(groups):
        raise RequestRefused(INVALID, "SubnetIds and SecurityIds must coexist or be both empty list.")
    ec2._ensure_defaults_initialized()
    for id in subnets:
        if id not in ec2._subnets:
            raise RequestRefused(INVALID, f"Error occurred while DescribeSubnets. The subnet ID '{id}' does not exist")
    for id in groups:
        if id not in ec2._security_groups:
            words = f"The security group '{id}' does not exist"
            raise RequestRefused(INVALID, f"Error occurred while DescribeSecurityGroups. {words}")
    vpcs = {ec2._subnets[id]["VpcId"] for id in subnets} | {ec2._security_groups[id]["VpcId"] for id in groups}
    if len(vpcs) > 1:
        raise RequestRefused(
            INVALID, f"Subnets and security groups must be in one VPC, not in {', '.join(sorted(vpcs))}."
        )
