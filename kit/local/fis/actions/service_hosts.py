"""Host names of AWS services, read backwards: which service, and of which region, a name means.

Owns the forms that AWS gives its host names. Pure: nothing is resolved; botocore's endpoint data says what exists.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.loaders import Loader

SUFFIXES = (".amazonaws.com.cn", ".amazonaws.com", ".api.aws")
# Labels that say how the endpoint is reached, not whose it is.
WAYS = frozenset({"dualstack", "vpce", "*"})
# Host name → name in the signature, where botocore's endpoint data does not say it. The names of VPC endpoint
# services stand the other way round.
SIGNING_NAMES: Mapping[str, str] = {
    "api.ecr": "ecr",
    "dkr.ecr": "ecr",
    "ecr.api": "ecr",
    "ecr.dkr": "ecr",
    "appconfigdata": "appconfig",
    "ddb": "dynamodb",
    "email": "ses",
    "queue": "sqs",
}

_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceHost:
    """The service by the name that its calls are signed with; an empty region is any."""

    service: str
    region: str = ""


def service_of_host(name: str) -> ServiceHost | None:
    """What an AWS host name means; None for any other name.

    `sqs.us-east-1.amazonaws.com`, `us-east-1.queue.amazonaws.com` (of old queue URLs), `bucket.s3.amazonaws.com`,
    `123456789012.ddb.us-east-1.amazonaws.com`, `sqs.us-east-1.api.aws`, also with `-fips` or `dualstack`.
    """
    lowered = name.lower().rstrip(".")
    suffix = next((each for each in SUFFIXES if lowered.endswith(each)), None)
    if suffix is None:
        return None
    labels = [label for label in lowered.removesuffix(suffix).split(".") if label not in WAYS]
    regions = [label for label in labels if _REGION.fullmatch(label)]
    service = signing_name(".".join(label.removesuffix("-fips") for label in labels if label not in regions))
    return ServiceHost(service=service, region=regions[-1] if regions else "") if service else None


def signing_name(host: str) -> str:
    """The name in the signature of the service whose host name ends so; empty when there is none."""
    labels = host.split(".")
    for start in range(len(labels)):
        # The longest known end: a bucket, an account or a load balancer may stand before it.
        candidate = ".".join(labels[start:])
        if candidate in SIGNING_NAMES or candidate in _services():
            return SIGNING_NAMES.get(candidate) or _services()[candidate]
    return ""


def is_region(name: str) -> bool:
    """Whether AWS has this region."""
    return any(name in partition["regions"] for partition in _endpoints()["partitions"])


@functools.cache
def _services() -> Mapping[str, str]:
    """Every service's host name (without region) → the name in its signature."""
    found = {name: name for name in Loader().list_available_services("service-2")}
    # The first partition is the one that says most.
    for partition in reversed(_endpoints()["partitions"]):
        for name, service in partition["services"].items():
            found[name] = service.get("defaults", {}).get("credentialScope", {}).get("service", name)
    return found


@functools.cache
def _endpoints() -> Mapping[str, Any]:
    return Loader().load_data("endpoints")
