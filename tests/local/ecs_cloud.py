"""Run a small cloud for the ECS tests: MiniStack, the gateway, load balancers and a fast scheduler.

It is a process of its own. Images are folders below --images, named as the image.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
from pathlib import Path

from kit.local import http_server, ministack, server

REGION = "us-east-1"


class Folders:
    """A registry whose images are folders."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def unpack(self, image_uri: str) -> Path:
        folder = self._root / image_uri.rpartition("/")[2].partition(":")[0]
        if not folder.is_dir():
            raise LookupError(f"{image_uri}: not found")
        return folder


async def main(state_dir: Path, images: Path, listener) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    from ministack import app as ministack_app

    from kit.local.alb import LoadBalancers
    from kit.local.ecs import Ecs, Timing
    from kit.local.front import Front
    from kit.local.gateway import Gateway
    from kit.local.keyring import Credentials, Keyring
    from kit.local.links import Links

    timing = Timing(
        provision_s=(0.05, 0.1), pull_s=(0.05, 0.1), tick_s=0.05, stable_s=0.4,
        backoff_s=1.0, shutdown_grace_s=0.3,
    )  # fmt: skip
    links = Links(1)
    gateway, keyring = Gateway(ministack_app.app, links), Keyring(Credentials.random())
    port = listener.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    alb = LoadBalancers(links, 1)
    ecs = Ecs(1, links=links, load_balancers=alb, images=Folders(images), endpoint_url=endpoint, timing=timing)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(ministack.ministack_running(ministack_app.app))
        await stack.enter_async_context(http_server.http_running(Front(gateway, keyring, port), listener))
        for part in (alb, ecs):
            await part.start()
            stack.push_async_callback(part.stop)
        gateway.attach(ecs)
        keyring.attach(ecs.secret_of_key)
        server.write_cloud_file(state_dir, endpoint, REGION, keyring.operator)
        await stopping.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    arguments = parser.parse_args()
    with http_server.listen(0) as socket:
        where = {"host": http_server.HOST, "port": socket.getsockname()[1]}
        os.environ.update(ministack.environment(state_dir=arguments.state_dir, region=REGION, **where))
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main(arguments.state_dir, arguments.images, socket))
