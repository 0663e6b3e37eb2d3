"""Health endpoints of the roles without HTTP, the zone of a task, and the bounds of AWS clients."""

from __future__ import annotations

import json
import logging
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from botocore.exceptions import ReadTimeoutError

from paperbroker.errors import QueueUnavailable, StoreUnavailable
from paperbroker.logs import Log
from paperbroker.services.health import HealthServer, Readiness
from paperbroker.services.telemetry import METADATA_TRIES, availability_zone
from paperbroker.storage.clients import CONNECTIONS_MAX, Clients
from paperbroker.storage.ledger import LedgerTables
from paperbroker.storage.queues import CommandQueue
from paperbroker.storage.tables import OrderTables
from tests.paperbroker.paperbroker_rig import free_port
from tests.paperbroker.scripted_aws import OK, TABLES, Step, refusal, scripted

LOG = Log(logging.getLogger("test"))


def unreachable() -> None:
    raise StoreUnavailable("no answer")


@pytest.fixture
def port() -> Iterator[int]:
    port = free_port()
    server = HealthServer("127.0.0.1", port, Readiness({"store": unreachable, "queue": lambda: None}))
    server.start()
    yield port
    server.stop()


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/healthz", 200, {"status": "alive"}),
        ("/readyz", 503, {"status": "unavailable", "failures": {"store": "no answer"}}),
        ("/other", 404, {"error": "NotFound"}),
    ],
)
def test_the_process_is_alive_while_its_store_is_not(port: int, path: str, status: int, body: dict):
    url = f"http://127.0.0.1:{port}{path}"
    try:
        answer = urllib.request.urlopen(url, timeout=5)
    except urllib.error.HTTPError as refused:
        answer = refused
    with answer:
        text, length = answer.read(), answer.headers["Content-Length"]
    assert (answer.status, json.loads(text), int(length)) == (status, body, len(text))


def test_a_task_outside_ecs_has_no_zone():
    """The dimension may not be empty, so CloudWatch gets a word for it."""
    assert availability_zone("", LOG) == "none"
    assert availability_zone(f"http://127.0.0.1:{free_port()}", LOG) == "none"


def test_every_wait_of_a_client_has_its_bound():
    """One retry in botocore's standard mode; in its legacy mode pauses are longer and more errors are retried."""
    config = Clients("us-east-1").make("dynamodb", read_timeout_s=1.5, connect_timeout_s=0.25).meta.config
    assert (config.connect_timeout, config.read_timeout, config.max_pool_connections) == (0.25, 1.5, CONNECTIONS_MAX)  # type: ignore[attr-defined]
    assert config.retries == {"mode": "standard", "total_max_attempts": 2}  # type: ignore[attr-defined]


PROBES = {
    "store": lambda step: OrderTables(scripted("dynamodb", [step], attempts=1)[0], TABLES).probe(),
    "ledger": lambda step: LedgerTables(scripted("dynamodb", [step], attempts=1)[0], TABLES).probe(),
    "queue": lambda step: CommandQueue(scripted("sqs", [step], attempts=1)[0], "http://q/1/q.fifo").probe(),
}


@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES)
def test_a_probe_calls_its_service(probe: Callable[[Step], None]):
    probe(OK)
    with pytest.raises((StoreUnavailable, QueueUnavailable)):
        probe(ReadTimeoutError(endpoint_url="http://nowhere"))


@pytest.mark.parametrize("name", ["store", "ledger"])
def test_a_throttled_store_can_be_reached(name: str):
    """Taking the task out of service would send its requests to the others, which are throttled, too."""
    PROBES[name](refusal("ProvisionedThroughputExceededException"))


@pytest.mark.parametrize(("refused", "zone"), [(0, "us-east-1b"), (2, "us-east-1b"), (3, "none")])
def test_the_zone_of_a_task_comes_from_the_metadata_endpoint(refused: int, zone: str):
    """A task that gets no answer on its third try publishes without a zone."""
    asked: list[str] = []

    class Metadata(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = json.dumps({"AvailabilityZone": "us-east-1b"} if len(asked) > refused else {}).encode()
            self.send_response(503 if len(asked) == 1 and refused else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Not logged."""

    server = HTTPServer(("127.0.0.1", 0), Metadata)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        found = availability_zone(f"http://127.0.0.1:{server.server_port}/v4/abc", LOG)
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()
    assert (found, asked) == (zone, ["/v4/abc/task"] * min(refused + 1, METADATA_TRIES))
