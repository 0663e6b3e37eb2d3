"""The server of one local cloud: its socket, its loop, its parts in order, its end.

Owns start and stop. Must not know what any part does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.errors import CloudError
from kit.local import ministack
from kit.local.cloud import ACCOUNT_ID, Cloud
from kit.local.links import Links
from kit.local.patching import Patches

HOST = "127.0.0.1"
CLOUD_FILE = "cloud.json"
LISTEN_BACKLOG = 2048
READY_S_MAX = 20.0
# An idle pooled connection of a client is kept this long, as AWS does, rather than uvicorn's 5 s.
KEEP_ALIVE_S = 120
# One part may take this long to stop before the next is stopped anyway; the lifeline kills what is left.
PART_STOP_S_MAX = 3.0
# Open calls get this long to end once everything has stopped.
DRAIN_S_MAX = 0.2
# Start order; stopped in reverse: faults are undone first (some by automations), then tasks end, then the load
# balancer.
PARTS = ("dynamodb", "ecr", "alb", "ecs", "alarms", "ssm", "fis")

log = logging.getLogger("kit.local")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a cloud is started with."""

    state_dir: Path
    port: int = 0
    seed: int = 1
    region: str = "us-east-1"


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT. Raises CloudError when the folder or the port cannot be had."""
    state_dir = _prepare_folder(settings.state_dir)
    with _listen(settings.port) as listener:
        port = listener.getsockname()[1]
        # MiniStack reads its configuration at import: it must not be imported before this line.
        os.environ.update(_ministack_environment(state_dir, settings.region, port))
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, state_dir, listener))
    return 0


async def _serve(settings: Settings, state_dir: Path, listener: socket.socket) -> None:
    stopping = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stopping.set)
    # MiniStack's KMS warns at each start that it cannot sign; nothing of ours signs.
    logging.getLogger("kms").setLevel(logging.ERROR)
    from ministack import app as ministack_app

    from kit.local.appconfig import ministack as appconfig
    from kit.local.gateway import Gateway
    from kit.local.logs import ministack as logs
    from kit.local.sqs import ministack as sqs
    from kit.local.stepfunctions import ministack as stepfunctions

    patches = Patches()
    for each in (ministack, sqs, logs, appconfig, stepfunctions):
        each.install(patches)
    links = Links(settings.seed)
    gateway = Gateway(ministack_app.app, links)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(_ministack_running(ministack_app.app))
        await stack.enter_async_context(_http_running(gateway, listener))
        cloud = _compose(settings, state_dir, f"http://{HOST}:{listener.getsockname()[1]}", links)
        for name in PARTS:
            part = getattr(cloud, name)
            # Registered first: a part that fails half-way through its start may have something to stop.
            stack.push_async_callback(_stop_part, name, part)
            await part.start()
        gateway.attach(cloud.ecs)
        _publish(cloud)
        log.info("cloud ready", extra={"endpoint": cloud.endpoint})
        await stopping.wait()


def _compose(settings: Settings, state_dir: Path, endpoint: str, links: Links) -> Cloud:
    # Imported here, because some of them import MiniStack at once, and it reads the environment that we set.
    from kit.local.alb import LoadBalancers
    from kit.local.cloudwatch import CloudWatch
    from kit.local.dynamodb import DynamoDb
    from kit.local.ecr import Registry
    from kit.local.ecs import Ecs
    from kit.local.fis import Collaborators, Fis
    from kit.local.ssm import Ssm

    seed = settings.seed
    alb, ecr = LoadBalancers(links, seed), Registry(state_dir, endpoint)
    ecs = Ecs(seed, links=links, load_balancers=alb, images=ecr, endpoint_url=endpoint)
    dynamodb, alarms, ssm = DynamoDb(seed), CloudWatch(), Ssm(state_dir, endpoint)
    services = Collaborators(
        links=links, ecs=ecs, alb=alb, dynamodb=dynamodb, ssm=ssm, alarms=alarms, endpoint=endpoint, seed=seed,
        state_dir=state_dir,
    )  # fmt: skip
    return Cloud(
        state_dir=state_dir, region=settings.region, account_id=ACCOUNT_ID, endpoint=endpoint, seed=seed,
        links=links, alb=alb, ecs=ecs, ecr=ecr, alarms=alarms, dynamodb=dynamodb, ssm=ssm, fis=Fis(services),
    )  # fmt: skip


async def _stop_part(name: str, part: Any) -> None:
    try:
        await asyncio.wait_for(part.stop(), PART_STOP_S_MAX)
    except TimeoutError:
        log.warning("part did not stop in time", extra={"part": name, "limit_s": PART_STOP_S_MAX})
    except Exception:  # a part that fails to stop must not keep the others from stopping
        log.exception("part failed to stop", extra={"part": name})


@contextlib.asynccontextmanager
async def _ministack_running(app: Any) -> AsyncIterator[None]:
    """MiniStack's own start (schedulers, thread pool). Its shutdown only imports what never ran: skipped."""
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


@contextlib.asynccontextmanager
async def _http_running(gateway: Any, listener: socket.socket) -> AsyncIterator[None]:
    import uvicorn
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from kit.local.gateway import TRANSPORT

    class Connection(HttpToolsProtocol):
        """Shows each request its connection, so that a link rule can reset it."""

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self.scope[TRANSPORT] = self.transport  # type: ignore[typeddict-unknown-key]

    class Server(uvicorn.Server):
        """Leaves signals to us."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    config = uvicorn.Config(
        gateway, http=Connection, loop="none", ws="none", lifespan="off", log_config=None, access_log=False,
        timeout_keep_alive=KEEP_ALIVE_S, server_header=False, date_header=False, proxy_headers=False,
        timeout_graceful_shutdown=DRAIN_S_MAX,  # pyright: ignore[reportArgumentType]  # any number will do
    )  # fmt: skip
    server = Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        # Calls that are cut off now, long polls above all, are no errors.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        server.should_exit = True
        await serving


def _publish(cloud: Cloud) -> None:
    facts = {
        "endpoint": cloud.endpoint,
        "pid": os.getpid(),
        "region": cloud.region,
        "account_id": cloud.account_id,
        "started_at": time.time(),
    }
    temporary = cloud.state_dir / f".{CLOUD_FILE}.{os.getpid()}"
    temporary.write_text(json.dumps(facts), encoding="utf-8")
    temporary.replace(cloud.state_dir / CLOUD_FILE)


def _prepare_folder(folder: Path) -> Path:
    """The folder, absolute, made, and proved writable by 4 KiB: a full disk shows here, not in mid-run."""
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
        (folder / CLOUD_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise CloudError(f"state dir {folder} cannot be written: {error.strerror or error}") from error
    return folder.resolve()


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(LISTEN_BACKLOG)
    except OSError as error:
        listener.close()
        raise CloudError(f"port {port} of {HOST} cannot be used: {error.strerror or error}") from error
    return listener


def _ministack_environment(state_dir: Path, region: str, port: int) -> dict[str, str]:
    return {
        **ministack.environment(),
        "STATE_DIR": str(state_dir / "ministack"),
        "S3_DATA_DIR": str(state_dir / "s3"),
        "PERSIST_STATE": "0",
        "S3_PERSIST": "0",
        "AUTH": "false",
        "SERVICES": "",
        "LOG_LEVEL": "WARNING",
        "MINISTACK_ACCOUNT_ID": ACCOUNT_ID,
        "MINISTACK_REGION": region,
        "MINISTACK_HOST": HOST,
        "GATEWAY_PORT": str(port),
        # Listeners on fixed ports that nobody here uses.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        # No Docker, even where there is one: what MiniStack would start there is not ours to clean up.
        "DOCKER_HOST": f"unix://{state_dir}/no-docker.sock",
    }
