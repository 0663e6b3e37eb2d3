"""Find the AWS service and the Region of a host name. Botocore's endpoint data lists what exists."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.loaders import Loader

SUFFIXES = (".amazonaws.com.cn", ".amazonaws.com", ".api.aws")
# Labels that do not name a service.
WAYS = frozenset({"dualstack", "vpce", "*"})
# Host name → name in the signature, where botocore's endpoint data lacks it. Names of VPC endpoint services have their
# labels in the opposite order.
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
    """The service, by its name in signatures; an empty region means any."""

    service: str
    region: str = ""


def service_of_host(name: str) -> ServiceHost | None:
    """Return the service of an AWS host name; None for any other name.

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
    """Return the name in signatures of the service with this host name; empty when there is none."""
    labels = host.split(".")
    for start in range(len(labels)):
        # Try the longest suffix first: a bucket, an account or a load balancer may precede the service.
        candidate = ".".join(labels[start:])
        if candidate in SIGNING_NAMES or candidate in _services():
            return SIGNING_NAMES.get(candidate) or _services()[candidate]
    return ""


def is_region(name: str) -> bool:
    """Tell whether AWS has this Region."""
    return any(name in partition["regions"] for partition in _endpoints()["partitions"])


@functools.cache
def _services() -> Mapping[str, str]:
    """Map the host name of every service, without Region, to its name in signatures."""
    found = {name: name for name in Loader().list_available_services("service-2")}
    # The first partition is the most complete one: read last, it overrides the others.
    for partition in reversed(_endpoints()["partitions"]):
        for name, service in partition["services"].items():
            found[name] = service.get("defaults", {}).get("credentialScope", {}).get("service", name)
    return found


@functools.cache
def _endpoints() -> Mapping[str, Any]:
    return Loader().load_data("endpoints")
