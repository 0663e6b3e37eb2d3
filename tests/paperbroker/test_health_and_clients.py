"""Health endpoints of the roles without HTTP, the zone of a task, and the bounds of AWS clients."""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from paperbroker.errors import StoreUnavailable
from paperbroker.logs import Log
from paperbroker.services.health import HealthServer, Readiness
from paperbroker.services.telemetry import availability_zone
from paperbroker.storage.clients import CONNECTIONS_MAX, Clients
from tests.paperbroker.paperbroker_rig import free_port

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
        with urllib.request.urlopen(url, timeout=5) as answer:
            found = answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        found = refused.code, json.load(refused)
    assert found == (status, body)


def test_a_task_outside_ecs_has_no_zone():
    """The dimension may not be empty, so CloudWatch gets a word for it."""
    assert availability_zone("", LOG) == "none"
    assert availability_zone(f"http://127.0.0.1:{free_port()}", LOG) == "none"


def test_every_wait_of_a_client_has_its_bound():
    """One retry in botocore's standard mode; in its legacy mode pauses are longer and more errors are retried."""
    config = Clients("us-east-1").make("dynamodb", read_timeout_s=1.5, connect_timeout_s=0.25).meta.config
    assert (config.connect_timeout, config.read_timeout, config.max_pool_connections) == (0.25, 1.5, CONNECTIONS_MAX)  # type: ignore[attr-defined]
    assert config.retries == {"mode": "standard", "total_max_attempts": 2}  # type: ignore[attr-defined]
