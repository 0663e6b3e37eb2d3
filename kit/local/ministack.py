"""Configure MiniStack as a whole, and refuse the services that it does not have."""

from __future__ import annotations

import functools
from typing import Any

from kit.local.patching import Patches

Answer = tuple[int, dict[str, str], bytes]


def environment() -> dict[str, str]:
    """Return settings that MiniStack reads when it is imported."""
    return {
        # Without duckdb, `auto` answers every query with SUCCEEDED and an invented row; `duckdb` fails the query.
        "ATHENA_ENGINE": "duckdb",
    }


def install(patches: Patches) -> None:
    """Patch the router and the table of services. Call once, before MiniStack starts."""
    from ministack import app
    from ministack.core import router

    # A signed call names its service. Asking botocore whether that name exists costs 2.7 s and 400 MB.
    patches.replace(router, "_KNOWN_AWS_SERVICE_NAMES", EveryName())
    patches.decorate(app, "SERVICE_HANDLERS", Handlers)
    # MiniStack's CloudFormation makes task definitions, but does not give them the stack's tags.
    patches.pass_stack_tags("AWS::ECS::TaskDefinition", "list")


class EveryName(frozenset[str]):
    """A set that contains every name."""

    def __contains__(self, name: object) -> bool:
        return True


class Handlers(dict[str, Any]):
    """MiniStack's handlers by service; any other service gets a handler that refuses the call."""

    def get(self, service: str, default: Any = None) -> Any:  # type: ignore[override]
        """Return the handler of `service`, never None."""
        return super().get(service) or functools.partial(_refuse_service, service)


async def _refuse_service(service: str, method: str, path: str, headers: dict, body: bytes, query: dict) -> Answer:
    from ministack.core.responses import error_response_json

    message = f"the local AWS does not serve {service!r} ({method} {path})"
    return error_response_json("UnsupportedOperation", message, 501)
