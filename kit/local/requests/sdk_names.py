"""Find served operations by the names of AWS's SDK for Java, which `aws-sdk` integrations and universal targets use."""

from __future__ import annotations

import functools
from typing import Any

from kit.local.requests import contract

# Names of services where they differ from botocore's without hyphens.
_SDK_NAMES = {
    "cloudwatchlogs": "logs",
    "elasticloadbalancingv2": "elbv2",
    "eventbridge": "events",
    "sfn": "stepfunctions",
}


@functools.lru_cache(maxsize=256)
def sdk_service(named: str) -> str | None:
    """Return botocore's name of a service that the local AWS serves, or None."""
    served = {each.service for each in contract.contracts()}
    if named in _SDK_NAMES:
        return _SDK_NAMES[named]
    return next((service for service in served if service.replace("-", "") == named), None)


def served_operation(service: str, operation: str) -> bool:
    """Return whether the local AWS serves an operation."""
    return any(each.service == service and operation in each.operations for each in contract.contracts())


def operation_name(service: str, api: str) -> str:
    """Return the name of the operation that an integration calls `api`."""
    wanted = api.lower()
    names: Any = (name for each in contract.contracts() if each.service == service for name in each.operations)
    return next((name for name in names if name.lower() == wanted), api[:1].upper() + api[1:])
