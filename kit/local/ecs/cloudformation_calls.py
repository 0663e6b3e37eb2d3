"""Call ECS operations for CloudFormation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kit.errors import KitError
from kit.local.ecs import wire
from kit.local.main_loop import on_main_loop
from kit.local.requests import templates


class StackResourceFailed(KitError):
    """The resource could not be created, updated or deleted. The message becomes the reason of the stack event."""


def call(handlers: Mapping[str, wire.Handler], action: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Call an operation on the event loop, with properties of a template. Raises StackResourceFailed if refused."""
    try:
        request = templates.request_of("ecs", action, properties)
    except templates.PropertyRefused as error:
        raise StackResourceFailed(f"ecs:{action}: {error}") from error
    status, _, body = on_main_loop(wire.answer)(handlers[action], request)
    answer = json.loads(body)
    if status >= 400:
        raise StackResourceFailed(f"Resource handler returned message: {answer.get('message')}")
    return answer
