"""Health checks: healthz tells whether the process is alive, readyz whether its dependencies can be reached.

`Readiness` probes the dependencies at most every CACHE_S, within PROBE_S, one probe at a time. `HealthServer` serves
both endpoints for the roles without an HTTP interface.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from paperbroker.errors import PaperBrokerError

CACHE_S = 1.0
PROBE_S = 1.5  # Below the load balancer's own timeout of 2 s.
REQUEST_TIMEOUT_S = 5.0  # For a whole request.
CONNECTIONS_MAX = 16


class Readiness:
    """Cached result of the dependency probes. A task that is draining is never ready."""

    def __init__(self, probes: Mapping[str, Callable[[], object]], ready: Callable[[], bool] = lambda: True) -> None:
        self._probes = probes
        self._ready = ready
        self._pool = ThreadPoolExecutor(max(1, len(probes)), thread_name_prefix="probe")
        self._lock = threading.Lock()
        self._probed_at = float("-inf")
        self._running: dict[str, Future[str]] = {}
        self._failures: dict[str, str] = {}
        self.draining = threading.Event()

    def failures(self) -> dict[str, str]:
        """Return the failures by dependency; empty means ready. Blocks for at most PROBE_S."""
        if self.draining.is_set():
            return {"task": "draining"}
        if not self._ready():
            return {"task": "starting"}
        with self._lock:
            if time.monotonic() - self._probed_at >= CACHE_S:
                self._failures = self._probe()
                self._probed_at = time.monotonic()
            return self._failures

    def _probe(self) -> dict[str, str]:
        """Run the probes. A probe that still hangs from the last round is awaited, not started again."""
        until = time.monotonic() + PROBE_S
        for name, probe in self._probes.items():
            if name not in self._running:
                self._running[name] = self._pool.submit(_outcome, probe)
        outcomes = {name: self._outcome_of(name, until) for name in self._probes}
        return {name: outcome for name, outcome in outcomes.items() if outcome}

    def _outcome_of(self, name: str, until: float) -> str:
        try:
            outcome = self._running[name].result(timeout=max(0.0, until - time.monotonic()))
        except FutureTimeout:
            return f"no answer within {PROBE_S} s"
        del self._running[name]
        return outcome

    def answer(self) -> tuple[int, bytes]:
        """Return the status and body of readyz."""
        failures = self.failures()
        body = {"status": "unavailable" if failures else "ready", "failures": failures}
        return (503 if failures else 200), json.dumps(body).encode()


def _outcome(probe: Callable[[], object]) -> str:
    try:
        probe()
    except PaperBrokerError as exc:
        return str(exc)
    return ""


class HealthServer:
    """Serve GET /healthz and /readyz from a background thread."""

    def __init__(self, host: str, port: int, readiness: Readiness) -> None:
        self._server = _Server((host, port), _handler(readiness))
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """Serves CONNECTIONS_MAX connections at a time; more are closed. A client that hangs up is no error."""

    daemon_threads = True
    request_queue_size = 128  # With the default of 5, a probe behind a few others waits for its SYN to be sent again.

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._free = threading.BoundedSemaphore(CONNECTIONS_MAX)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        cut_off = threading.Timer(REQUEST_TIMEOUT_S, _shut_down, (request,))
        cut_off.daemon = True
        cut_off.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            cut_off.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report what is not the client's doing."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # It may have been closed meanwhile.
        connection.shutdown(socket.SHUT_RDWR)


def _handler(readiness: Readiness) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_TIMEOUT_S

        def do_GET(self) -> None:
            if self.path == "/healthz":
                self._answer(200, b'{"status":"alive"}')
            elif self.path == "/readyz":
                self._answer(*readiness.answer())
            else:
                self._answer(404, b'{"error":"NotFound"}')

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Health checks are not logged."""

    return Handler
