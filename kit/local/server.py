"""Start the services of one local AWS in order, and stop them at SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.errors import CloudError
from kit.files.replacement import check_writable, replacing_file
from kit.local import environment, ministack
from kit.local.front import Front
from kit.local.gateway import Gateway
from kit.local.http_server import HOST, http_running, listen
from kit.local.keyring import Credentials, Keyring
from kit.local.links import Links
from kit.local.name_lookups import NameLookups

CLOUD_FILE = "cloud.json"
# Only this user may read the file, which holds the secret.
PRIVATE = 0o600
# After this time the next service is stopped. The supervisor kills the processes that are left in the end.
SERVICE_STOP_S_MAX = 3.0

log = logging.getLogger("kit.local")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a local AWS. `kept_dir` outlives the state dir; None means the state dir itself."""

    state_dir: Path
    kept_dir: Path | None = None
    port: int = 0
    seed: int = 1
    region: str = "us-east-1"


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT. Raises CloudError if the folder or the port cannot be used."""
    state_dir = _prepare_folder(settings.state_dir)
    kept_dir = state_dir if settings.kept_dir is None else _prepare_folder(settings.kept_dir)
    with listen(settings.port) as listener:
        port = listener.getsockname()[1]
        environment.clean(os.environ, home=state_dir)
        # MiniStack reads its settings when it is imported, so nothing may import it before this line.
        os.environ.update(ministack.environment(state_dir=state_dir, region=settings.region, host=HOST, port=port))
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, state_dir, kept_dir, listener))
    return 0


async def _serve(settings: Settings, state_dir: Path, kept_dir: Path, listener: socket.socket) -> None:
    stopping = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stopping.set)
    # MiniStack's KMS warns at each start that it cannot sign. Signing is not used here.
    logging.getLogger("kms").setLevel(logging.ERROR)
    from ministack import app as ministack_app

    from kit.local import composition

    keyring = Keyring(Credentials.random())
    composition.patch_ministack(keyring)
    links = Links(settings.seed)
    gateway = Gateway(ministack_app.app, links)
    port = listener.getsockname()[1]
    endpoint = f"http://{HOST}:{port}"
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(ministack.ministack_running(ministack_app.app))
        await stack.enter_async_context(http_running(Front(gateway, keyring, port), listener))
        services = composition.compose(
            state_dir=state_dir, kept_dir=kept_dir, endpoint=endpoint, seed=settings.seed, links=links, keyring=keyring
        )
        for name, service in services.in_start_order():
            # Registered first, because a service that fails in its start may have something to stop.
            stack.push_async_callback(_stop, name, service)
            await service.start()
        lookups = NameLookups(settings.seed, ministack.vpc_tags)
        gateway.attach(services.ecs, services.functions, lookups)
        write_cloud_file(state_dir, endpoint, settings.region, keyring.operator)
        log.info("local AWS ready", extra={"endpoint": endpoint})
        await stopping.wait()


async def _stop(name: str, service: Any) -> None:
    try:
        await asyncio.wait_for(service.stop(), SERVICE_STOP_S_MAX)
    except TimeoutError:
        log.warning("service did not stop in time", extra={"service": name, "limit_s": SERVICE_STOP_S_MAX})
    except Exception:  # boundary: a service that fails to stop must not keep the others from stopping
        log.exception("service failed to stop", extra={"service": name})


def write_cloud_file(state_dir: Path, endpoint: str, region: str, operator: Credentials) -> None:
    """Write the endpoint and its credentials for other processes of this user.

    The file also shows that the local AWS is ready.
    """
    facts = {
        "endpoint": endpoint,
        "pid": os.getpid(),
        "region": region,
        "account_id": ministack.ACCOUNT_ID,
        "started_at": time.time(),
        "access_key": operator.access_key,
        "secret_key": operator.secret_key,
    }
    with replacing_file(state_dir / CLOUD_FILE, mode=PRIVATE) as file:
        file.write(json.dumps(facts).encode())


def _prepare_folder(folder: Path) -> Path:
    """Create the folder, check that it can be written, and return it as absolute path."""
    try:
        check_writable(folder)
        (folder / CLOUD_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise CloudError(f"state dir {folder} cannot be written: {error.strerror or error}") from error
    return folder.resolve()
