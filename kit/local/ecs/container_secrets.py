"""Resolve the `secrets` of containers from SSM Parameter Store and Secrets Manager."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import ecs

from kit.errors import KitError


class SecretMissing(KitError):
    """A secret does not exist, or has not the JSON key that is asked for."""


def resolve(definition: Mapping[str, Any], *, account: str, region: str) -> dict[str, str]:
    """Return the variables that the `secrets` of a container definition make. Raises SecretMissing."""
    if not definition.get("secrets"):
        return {}
    try:
        with request_scope(account, region):
            return ecs._resolve_container_secrets(definition)
    except ecs._SecretResolutionError as error:
        raise SecretMissing(str(error)) from error
