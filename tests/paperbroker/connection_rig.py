"""The bounded protocols of PaperBroker before a plain application, on connections without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from uvicorn.server import ServerState

from paperbroker.protocols.http import HttpProtocol
from paperbroker.protocols.websocket import WebSocketProtocol
from paperbroker.serving import uvicorn_config
from tests.fuzz.targets.stream import GOOD
from tests.fuzz.transport import RecordingTransport

HEAD = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
UPLOAD = b"POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
HANDSHAKE = "\r\n".join([f"GET {GOOD[1]} HTTP/1.1", *GOOD[4], "", ""]).encode()


class Server:
    """The bounded protocols before an application that waits for `go` and then answers with `body`."""

    def __init__(self) -> None:
        self.state = ServerState()
        self.go = asyncio.Event()
        self.go.set()
        self.body = b"{}"
        self.seen: list[str] = []
        self._config: Any = uvicorn_config(self.app, "127.0.0.1", 0)  # type: ignore[arg-type]
        self._config.load()
        self._config.loaded_app = self.app

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append(scope["path"])
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await receive()
            return
        while (message := await receive()).get("more_body"):
            pass
        if message["type"] == "http.disconnect":
            self.seen.append("gone")
        await self.go.wait()
        length = (b"content-length", b"%d" % len(self.body))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": self.body})

    async def connect(self, first: bytes = b"") -> RecordingTransport:
        transport = RecordingTransport()
        transport.connect(HttpProtocol(config=self._config, server_state=self.state, app_state={}))
        await feed(transport, first)
        return transport

    def sweep(self, after_s: float) -> None:
        """Check all connections as if `after_s` had passed."""
        now_s = asyncio.get_running_loop().time() + after_s
        for connection in list(self.state.connections):
            assert isinstance(connection, HttpProtocol | WebSocketProtocol)
            connection.check(now_s)


async def feed(transport: RecordingTransport, data: bytes) -> None:
    transport.feed(data)
    for _ in range(8):
        await asyncio.sleep(0)


def run(scenario: Callable[[Server], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        await scenario(Server())

    asyncio.run(whole())


def status(transport: RecordingTransport) -> bytes:
    """Return the status of the last answer; empty if there is none."""
    return bytes(transport.written).rpartition(b"HTTP/1.1 ")[2][:3]
