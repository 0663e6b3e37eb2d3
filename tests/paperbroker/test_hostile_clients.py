"""Clients that hang up, send what cannot be parsed, or do not read: to a real process, and in a whole stack."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import struct
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from kit import aws
from kit.model import Deployment
from tests.fuzz.targets.stream import HANDSHAKE as HANDSHAKE_LINES
from tests.fuzz.targets.stream import frame
from tests.paperbroker.paperbroker_rig import Process, Stage, order_body, running
from tests.polling import wait_until

ANSWER_S_MAX = 3.0
GROWTH_BYTES_MAX = 10 << 20
PINGS_S = 4.0
HANG_UPS = 300
FORWARDED_S = 0.03
PERIOD_S = 10  # Of the guardrail's metrics.
HANDSHAKE = "\r\n".join(["GET /markets/ACME/stream HTTP/1.1", *HANDSHAKE_LINES, "", ""]).encode()
UPGRADE = "\r\n".join([*HANDSHAKE_LINES, ""]).encode()
UPGRADES = {
    "POST": b"POST /markets/ACME/stream HTTP/1.1\r\n" + UPGRADE + b"\r\n",
    "an order": b"POST /orders HTTP/1.1\r\n" + UPGRADE + b"Content-Length: 2\r\n\r\n{}",
    "a body": b"GET /markets/ACME/stream HTTP/1.1\r\n" + UPGRADE + b"Content-Length: 3\r\n\r\nabc",
    "a long line": b"GET /markets/ACME/stream HTTP/1.1\r\n" + UPGRADE + b"X: " + b"x" * 9000 + b"\r\n\r\n",
    "200 headers": b"GET /markets/ACME/stream HTTP/1.1\r\n" + UPGRADE + b"X: 1\r\n" * 200 + b"\r\n",
}
REFUSALS = {400, 405, 413, 431}
Address = tuple[str, int]


@pytest.fixture
def api(stage: Stage, tmp_path: Path) -> Iterator[Process]:
    with running("api", stage.env, tmp_path) as process:
        yield process


def connect(address: Address, data: bytes) -> socket.socket:
    client = socket.create_connection(address, timeout=ANSWER_S_MAX)
    client.sendall(data)
    return client


def upload(size: int) -> bytes:
    return b"POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size


def hang_up(address: Address, n: int, data: bytes) -> None:
    """Send and close: at once, or when the load balancer has surely forwarded what was sent."""
    client = connect(address, data)
    if n % 3:
        time.sleep(FORWARDED_S)
    client.close()


def hang_up_in_a_body(address: Address, n: int) -> None:
    hang_up(address, n, upload(100) + b"{")


def hang_up_before_the_answer(address: Address, n: int) -> None:
    body = json.dumps(order_body(n, clientId=f"gone{n}")).encode()
    hang_up(address, n, upload(len(body)) + body)


def hang_up_after_a_handshake(address: Address, n: int) -> None:
    hang_up(address, n, HANDSHAKE)


def reset_in_a_body(address: Address, n: int) -> None:
    client = connect(address, upload(100) + b"{")
    time.sleep(FORWARDED_S)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


HANGING_UP: list[Callable[[Address, int], None]] = [
    hang_up_in_a_body, hang_up_before_the_answer, hang_up_after_a_handshake, reset_in_a_body,
]  # fmt: skip


def refused(address: Address, data: bytes) -> int:
    """Return the status of the answer, which must come at once."""
    with contextlib.closing(connect(address, data)) as client:
        answer = http.client.HTTPResponse(client)
        answer.begin()
        return answer.status


def flood_with_pings(address: Address, seconds: float) -> None:
    """Send pings and read no pong, until the time is up or the server has enough."""
    client = connect(address, HANDSHAKE)
    assert client.recv(4096).startswith(b"HTTP/1.1 101 ")
    until = time.monotonic() + seconds
    with contextlib.closing(client), contextlib.suppress(OSError):
        while time.monotonic() < until:
            client.sendall(frame(0x89, b"x" * 125) * 500)


def alarms(process: Process) -> list[dict[str, Any]]:
    """Return the log lines of warnings, errors and tracebacks."""
    lines = [json.loads(line) for line in process.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["level"] in ("WARNING", "ERROR", "CRITICAL") or "traceback" in line]


def test_hang_ups_and_malformed_upgrades_alarm_nobody_and_leave_nothing(api: Process):
    """No warning and no traceback in the log, every upgrade answered at once, no descriptor left."""
    address, process = ("127.0.0.1", api.port), psutil.Process(api.popen.pid)
    api.call("POST", "/orders", order_body(1))
    before = process.num_fds()
    for n in range(80):
        HANGING_UP[n % len(HANGING_UP)](address, n)
    for _ in range(5):
        for what, data in UPGRADES.items():
            assert refused(address, data) in REFUSALS, what
    assert refused(address, upload(990) + b"[" * 990) == 400
    wait_until(lambda: process.num_fds() <= before + 8, "all descriptors are given back")
    assert api.call("POST", "/orders", order_body(2)).status == 201
    assert alarms(api) == []


@pytest.mark.slow
def test_pings_whose_pongs_nobody_reads_do_not_fill_the_memory(api: Process):
    process = psutil.Process(api.popen.pid)
    before = process.memory_info().rss
    flood_with_pings(("127.0.0.1", api.port), PINGS_S)
    assert process.memory_info().rss - before < GROWTH_BYTES_MAX
    assert api.call("GET", "/readyz").status == 200
    assert alarms(api) == []


@pytest.mark.slow
def test_three_hundred_hang_ups_leave_the_guardrail_ok(local_session: aws.Session, deployment: Deployment):
    """Through the load balancer, over three periods of the alarm: no 5xx of anybody, and no task is replaced."""
    parts = urlsplit(deployment.api_url)
    address = (parts.hostname or "", parts.port or 80)
    cloudwatch = local_session.client("cloudwatch")
    alarm, outputs = f"{deployment.stack_name}-guardrail-errors", deployment.outputs
    tasks = running_tasks(local_session, deployment)
    began = datetime.now(UTC) - timedelta(seconds=1)
    states = set()
    for n in range(HANG_UPS):
        HANGING_UP[n % len(HANGING_UP)](address, n)
        if n % 10 == 0:
            for what, data in UPGRADES.items():
                assert refused(address, data) in REFUSALS, what
            states.add(cloudwatch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"][0]["StateValue"])
        time.sleep(2 * PERIOD_S / HANG_UPS)
    flood_with_pings(address, PINGS_S)
    until = time.monotonic() + 2 * PERIOD_S
    while time.monotonic() < until:
        states.add(cloudwatch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"][0]["StateValue"])
        time.sleep(1)
    assert states <= {"OK", "INSUFFICIENT_DATA"} and "OK" in states

    def total(namespace: str, name: str, **dimensions: str) -> float:
        found = cloudwatch.get_metric_statistics(
            Namespace=namespace, MetricName=name, Period=60, Statistics=["Sum"],
            StartTime=began, EndTime=datetime.now(UTC) + timedelta(seconds=60),
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
        )  # fmt: skip
        return sum(point["Sum"] for point in found["Datapoints"])

    balancer = outputs["LoadBalancerFullName"]
    assert total("AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count", LoadBalancer=balancer) == 0
    assert total("AWS/ApplicationELB", "HTTPCode_Target_5XX_Count", LoadBalancer=balancer) == 0
    assert total("AWS/ApplicationELB", "HTTPCode_ELB_4XX_Count", LoadBalancer=balancer) >= HANG_UPS / 2
    env = outputs["MetricsEnv"]
    assert total("PaperBroker", "Http5xx", Env=env, Component="api") == 0
    assert total("PaperBroker", "Requests", Env=env, Component="api") >= HANG_UPS / 4
    assert running_tasks(local_session, deployment) == tasks


def running_tasks(session: aws.Session, deployment: Deployment) -> set[str]:
    return set(session.client("ecs").list_tasks(cluster=deployment.outputs["ClusterName"])["taskArns"])
