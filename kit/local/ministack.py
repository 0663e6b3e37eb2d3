"""Configure and start MiniStack, and put the gate before its handlers."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from kit.local import name_lookups
from kit.local.keyring import Keyring
from kit.local.patching import Patches, require
from kit.local.requests import contract
from kit.local.requests.gate import Gate

# MiniStack's default account. An access key of twelve digits would select another one; ours never have twelve digits.
ACCOUNT_ID = "000000000000"
READY_S_MAX = 20.0
# Functions of MiniStack's front that answer for whole services before the table of services is asked.
UNGUARDED = ("_handle_s3_control_request", "_handle_rds_data_request", "_handle_ses_v2_request")


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
    from ministack.core import responses, router

    # A signed call names its service. Asking botocore whether that name exists costs 2.7 s and 400 MB.
    patches.replace(router, "_KNOWN_AWS_SERVICE_NAMES", EveryName())
    gate = Gate(contract.by_route(), scope=lambda: (responses.get_account_id(), responses.get_region()))
    patches.decorate(app, "SERVICE_HANDLERS", lambda handlers: Handlers(handlers, gate))
    for name in UNGUARDED:
        # The request then goes to the service's handler, and the gate refuses it.
        patches.replace(app, name, _do_not_handle)


def refuse_wrong_tags(patches: Patches) -> None:
    """Refuse a tag on a VPC that does not say how names are looked up."""
    from ministack.services import ec2

    require(ec2, "_parse_tags", "_error")

    def create_tags(original: Callable[..., Any], parameters: Any) -> Any:
        try:
            name_lookups.impairment(ec2._parse_tags(parameters))
        except name_lookups.NameLookupsInvalid as error:
            return ec2._error("InvalidParameterValue", str(error), 400)
        return original(parameters)

    patches.wrap_entry(ec2, "_ACTION_MAP", "CreateTags", create_tags)


def vpc_tags(region: str, vpc: str) -> list[dict[str, str]]:
    """Return the tags of a VPC of the account in which tasks run."""
    from ministack.services import ec2

    return ec2._tags.get_scoped(ACCOUNT_ID, region, vpc) or []


def install_credentials(patches: Patches, keyring: Keyring) -> None:
    """Sign the links that MiniStack hands out. Call once."""
    from ministack.core import responses
    from ministack.services import lambda_svc, s3, sts
    from ministack.services.cloudformation import custom_resource, wait_conditions

    require(sts, "_sessions", "_session_expired")

    def sign(method: str, original: Callable[..., str], *arguments: Any) -> str:
        bare = original(*arguments).partition("?")[0]
        return keyring.link(bare, service="s3", region=responses.get_region(), method=method)

    patches.wrap(custom_resource, "_response_url", functools.partial(sign, "PUT"))
    patches.wrap(wait_conditions, "handle_url", functools.partial(sign, "PUT"))
    patches.wrap(lambda_svc, "_presigned_code_url", functools.partial(sign, "GET"))
    patches.wrap(lambda_svc, "_layer_content_url", functools.partial(sign, "GET"))
    # The front has verified it, with a secret that MiniStack does not know.
    patches.replace(s3, "_verify_presigned_sigv4", lambda *_: None)


def issued_secret(access_key: str) -> str | None:
    """Return the secret of a key that AssumeRole has issued; None if there is none, or its session has expired."""
    from ministack.services import sts

    session = sts._sessions.get(access_key)
    return None if session is None or sts._session_expired(session) else session.get("SecretAccessKey")


class EveryName(frozenset[str]):
    """A set that contains every name."""

    def __contains__(self, name: object) -> bool:
        return True


class Handlers(dict[str, Any]):
    """MiniStack's handlers by service. Who asks for one gets it behind the gate."""

    def __init__(self, handlers: Mapping[str, Any], gate: Gate) -> None:
        super().__init__(handlers)
        self._gate = gate

    def get(self, service: str, default: Any = None) -> Any:  # type: ignore[override]
        """Return the guarded handler of `service`, never None."""
        return self._gate.guard(service, super().get(service))


async def _do_not_handle(*_arguments: Any, **_named: Any) -> None:
    """Answer nothing, which leaves the request to the service's handler."""


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
