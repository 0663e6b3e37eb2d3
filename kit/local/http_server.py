"""Serve an ASGI application on a listening socket by uvicorn, and show each request its connection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kit.errors import CloudError
from kit.local.gateway import CONNECTION, TRANSPORT

HOST = "127.0.0.1"
LISTEN_BACKLOG = 2048
# An idle connection of a client's pool is kept this long, as on AWS, instead of uvicorn's 5 s.
KEEP_ALIVE_S = 120
# Open calls get this long to end when the server stops.
DRAIN_S_MAX = 0.2


class Connection(HttpToolsProtocol):
    """Put the connection, when it was opened and how many requests it has had into the scope of each request."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._opened_at, self._requests = self.loop.time(), 0

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[TRANSPORT] = self.transport  # type: ignore[typeddict-unknown-key]
        self.scope[CONNECTION] = (self._opened_at, self._requests)  # type: ignore[typeddict-unknown-key]
        self._requests += 1


class Server(uvicorn.Server):
    """Uvicorn without signal handlers of its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(port: int) -> socket.socket:
    """Listen on a port of 127.0.0.1; 0 means any free port. Raises CloudError."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(LISTEN_BACKLOG)
    except OSError as error:
        listener.close()
        raise CloudError(f"port {port} of {HOST} cannot be used: {error.strerror or error}") from error
    return listener


@contextlib.asynccontextmanager
async def http_running(app: Any, listener: socket.socket) -> AsyncIterator[None]:
    """Serve HTTP until the block ends."""
    config = uvicorn.Config(
        app, http=Connection, loop="none", ws="none", lifespan="off", log_config=None, access_log=False,
        timeout_keep_alive=KEEP_ALIVE_S, server_header=False, date_header=False, proxy_headers=False,
        timeout_graceful_shutdown=DRAIN_S_MAX,  # pyright: ignore[reportArgumentType]  # fractions work, too
    )  # fmt: skip
    server = Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        # Uvicorn would log calls that the shut-down interrupts, such as long polls, as errors.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        server.should_exit = True
        await serving
