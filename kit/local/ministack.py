"""Configure and start MiniStack, and refuse the services that it does not have."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from kit.local.patching import Patches

# MiniStack's default account. An access key of twelve digits would select another one; ours never have twelve digits.
ACCOUNT_ID = "000000000000"
READY_S_MAX = 20.0

Answer = tuple[int, dict[str, str], bytes]


def environment(*, state_dir: Path, region: str, host: str, port: int) -> dict[str, str]:
    """Return the settings that MiniStack reads when it is imported."""
    return {
        "STATE_DIR": str(state_dir / "ministack"),
        "S3_DATA_DIR": str(state_dir / "s3"),
        "PERSIST_STATE": "0",
        "S3_PERSIST": "0",
        "AUTH": "false",
        "SERVICES": "",
        "LOG_LEVEL": "WARNING",
        "MINISTACK_ACCOUNT_ID": ACCOUNT_ID,
        "MINISTACK_REGION": region,
        "MINISTACK_HOST": host,
        "GATEWAY_PORT": str(port),
        # Disable MiniStack's listeners on fixed ports, which are not used here.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        # MiniStack must not use Docker even if it is installed, because we could not clean up its containers.
        "DOCKER_HOST": f"unix://{state_dir}/no-docker.sock",
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


@contextlib.asynccontextmanager
async def ministack_running(app: Any) -> AsyncIterator[None]:
    """Run MiniStack's start-up (schedulers, thread pool). Its shut-down does nothing that we need, so it is skipped."""
    started = asyncio.Event()
    asked = False

    async def receive() -> dict[str, str]:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()
        asked = True
        return {"type": "lifespan.startup"}

    async def send(message: dict[str, str]) -> None:
        started.set()

    running = asyncio.create_task(app({"type": "lifespan"}, receive, send))
    try:
        await asyncio.wait_for(started.wait(), READY_S_MAX)
        yield
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
