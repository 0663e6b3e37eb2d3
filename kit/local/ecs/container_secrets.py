"""Resolve the `secrets` of containers from SSM Parameter Store and Secrets Manager."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import ecs, ssm

from kit.errors import KitError


class SecretMissing(KitError):
    """A secret does not exist, or has not the JSON key that is asked for."""


def resolve(definition: Mapping[str, Any], *, account: str, region: str) -> dict[str, str]:
    """Return the variables that the `secrets` of a container definition make. Raises SecretMissing."""
    with request_scope(account, region):
        return {secret["name"]: _value(secret) for secret in definition.get("secrets") or ()}


def _value(secret: Mapping[str, str]) -> str:
    source = secret["valueFrom"]
    if ":secretsmanager:" in source:
        try:
            return ecs._resolve_container_secrets({"secrets": [secret]})[secret["name"]]
        except ecs._SecretResolutionError as error:
            raise SecretMissing(str(error)) from error
    value = ssm.resolve_parameter_value(source, decrypt=True)
    if value is None:
        raise SecretMissing(f"unable to retrieve secret from ssm: parameter {source} does not exist")
    return str(value)
