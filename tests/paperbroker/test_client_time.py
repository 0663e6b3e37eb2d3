"""What clients do to latency metrics and to the health server of matcher and relay."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import urllib.request
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from paperbroker.api import make_app
from paperbroker.logs import Log
from paperbroker.services import health
from tests.paperbroker.paperbroker_rig import RecordedTelemetry


def test_health_server_bounds_its_connections_and_is_silent_about_clients_that_hang_up(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """The port of the matcher and the relay. A head that trickles in is cut off, and then a probe gets its answer."""
    monkeypatch.setattr(health, "REQUEST_TIMEOUT_S", 0.3)
    server = health.HealthServer("127.0.0.1", 0, health.Readiness({}))
    address = ("127.0.0.1", int(server._server.server_address[1]))
    server.start()
    try:
        for _ in range(5):
            client = socket.create_connection(address)
            client.sendall(b"GET /healthz HTTP/1.1\r\n")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        slow = [socket.create_connection(address) for _ in range(2 * health.CONNECTIONS_MAX)]
        for client in slow:
            client.settimeout(5)
            client.sendall(b"GET /heal")
        assert [client.recv(100) for client in slow] == [b""] * len(slow)
        with urllib.request.urlopen(f"http://127.0.0.1:{address[1]}/healthz", timeout=5) as answer:
            assert answer.status == 200
    finally:
        server.stop()
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("hangs_up", [False, True])
def test_time_that_a_client_takes_to_send_is_no_latency(hangs_up: bool):
    """Else slow uploads would trip the guardrail on latency. One that hangs up has no latency at all."""
    telemetry = RecordedTelemetry()
    slow_s = 0.2

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(slow_s)
        return {"type": "http.disconnect"} if hangs_up else {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Any) -> None:
        """Answers are not looked at."""

    async def scenario() -> None:
        api: Any = SimpleNamespace(**dict.fromkeys(("submit", "order", "cancel", "book", "trades"), read_body))
        api.healthz = api.readyz = api.stream = read_body
        app = make_app(api, health.Readiness({}), telemetry, Log(logging.getLogger("test")))
        await app({"type": "http", "method": "POST", "path": "/orders", "headers": []}, receive, send)

    async def read_body(request: Request) -> Response:
        return Response(await request.body())

    asyncio.run(scenario())
    assert telemetry.counts == {"Requests": 1}
    assert [(name, value < slow_s * 500) for name, value in telemetry.values] == [("LatencyMs", True)][hangs_up:]
