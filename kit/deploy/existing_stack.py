"""Describe a game day's stack that exists, whoever made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from kit.aws.client_errors import ClientSource, cloud_errors, error_code
from kit.deploy.stack import ALLOWED_TAG
from kit.errors import UnsafeTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A stack that exists. It has no outputs before it is complete."""

    name: str
    status: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]


def stack_of(session: ClientSource, stack_name: str) -> Stack | None:
    """Return a game day's stack by its name; None if there is none. Raises UnsafeTarget for another's stack."""
    with cloud_errors(f"stack {stack_name}"):
        try:
            found = session.client("cloudformation").describe_stacks(StackName=stack_name)["Stacks"][0]
        except ClientError as error:
            if error_code(error) == "ValidationError" and "does not exist" in str(error):
                return None
            raise
    if found["StackStatus"] == "DELETE_COMPLETE":
        return None
    key, value = ALLOWED_TAG
    if _named(found, "Tags", "Key", "Value").get(key) != value:
        raise UnsafeTarget(f"stack {stack_name} has no tag {key}={value}")
    return Stack(
        name=stack_name,
        status=found["StackStatus"],
        outputs=_named(found, "Outputs", "OutputKey", "OutputValue"),
        parameters=_named(found, "Parameters", "ParameterKey", "ParameterValue"),
    )


def _named(stack: Mapping[str, Any], member: str, key: str, value: str) -> dict[str, str]:
    return {one[key]: one[value] for one in stack.get(member, [])}
