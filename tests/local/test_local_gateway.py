"""Test what link rules do to AWS calls through the gateway, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import socket
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from kit.local.asgi import App, Receive, Send
from kit.local.endpoints import Endpoint
from kit.local.gateway import Gateway
from kit.local.http_server import http_running
from kit.local.links import LinkRule, Links, Match
from kit.local.name_lookups import NameLookups
from kit.local.sigv4 import IDENTITY, Identity
from tests.local.signing import signed_headers
from tests.polling import CLOCK_STEP_S, wait_until_async

TASK = Endpoint(kind="task", id="t1", zone="us-east-1a", subnet="subnet-a", vpc="vpc-1", service="matcher")
WAIT_S = 5.0


class Service:
    """Takes the place of MiniStack: records applied calls, and can hold a call as a long poll does."""

    def __init__(self) -> None:
        self.applied: list[bytes] = []
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.applied.append(body)
        self.entered.set()
        await self.go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


class Rig:
    """A gateway with real links on a real port, for tasks in a VPC with these tags."""

    def __init__(self, port: int, service: Service, links: Links, tags: list[dict[str, str]]) -> None:
        self.port, self.service, self.links, self.tags = port, service, links, tags

    async def open(
        self, body: bytes = b"{}", *, key: str = "TASKKEY", service: str = "dynamodb", chunked: bool = False
    ):
        """Send one signed call; returns the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = f"POST / HTTP/1.1\r\nHost: x\r\nSigned-By: {key}/{service}\r\n"
        if chunked:
            writer.write(
                f"{head}Transfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
            )
        else:
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        return reader, writer

    async def call(self, **arguments: Any) -> bytes:
        """Send one signed call; returns what came back."""
        reader, writer = await self.open(**arguments)
        try:
            return await asyncio.wait_for(reader.read(4096), WAIT_S)
        finally:
            writer.close()


def believed(app: App) -> App:
    """Take the place of the front: put the identity that a header names into the scope, without any proof."""

    async def call(scope: Any, receive: Receive, send: Send) -> None:
        named = dict(scope["headers"]).get(b"signed-by", b"").decode()
        if named:
            key, service = named.split("/")
            scope[IDENTITY] = Identity(access_key=key, region="us-east-1", service=service)
        await app(scope, receive, send)

    return call


@contextlib.asynccontextmanager
async def rig() -> AsyncIterator[Rig]:
    service, links = Service(), Links(1)
    tags: list[dict[str, str]] = []
    gateway = Gateway(service, links)
    endpoints = {"TASKKEY": TASK}
    documents = {"t1": {"TaskARN": "arn:t1", "Containers": [{"Name": "api"}]}}
    tasks: Any = SimpleNamespace(endpoint_of_key=endpoints.get, metadata=documents.get)
    gateway.attach(
        tasks, lookups=NameLookups(1, lambda region, vpc: tags if (region, vpc) == ("us-east-1", "vpc-1") else [])
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with http_running(believed(gateway), listener):
            yield Rig(listener.getsockname()[1], service, links, tags)


def cut(**fields: Any) -> LinkRule:
    return LinkRule(name="cut", src=Match(subnets=["subnet-a"]), **fields)


def in_rig(scenario: Any) -> Any:
    """Run an async test in a rig; uvloop, as the server does."""

    def test() -> None:
        import uvloop

        async def run() -> None:
            async with asyncio.timeout(20):
                async with rig() as it:
                    await scenario(it)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())

    test.__doc__, test.__name__ = scenario.__doc__, scenario.__name__
    return test


@in_rig
async def test_a_call_without_rules_passes(it: Rig) -> None:
    assert b"200" in await it.call()
    assert it.service.applied == [b"{}"]


@in_rig
async def test_a_blackholed_request_is_applied_when_the_rule_is_removed(it: Rig) -> None:
    """Like a packet that is retransmitted until it arrives."""
    rule = it.links.add(cut(blackhole=True))
    answer = asyncio.create_task(it.call())
    await wait_until_async(lambda: it.links.rules()[0].touched)
    await asyncio.sleep(0.05)
    assert it.service.applied == []
    it.links.remove(rule)
    assert b"200" in await answer
    assert it.service.applied == [b"{}"]


@in_rig
async def test_a_request_whose_caller_has_disconnected_is_never_applied(it: Rig) -> None:
    rule = it.links.add(cut(blackhole=True))
    _, writer = await it.open()
    await wait_until_async(lambda: it.links.rules()[0].held)
    writer.close()
    await wait_until_async(lambda: not it.links.rules()[0].held)
    it.links.remove(rule)
    await asyncio.sleep(0.05)
    assert it.service.applied == []


@in_rig
async def test_a_request_is_not_applied_when_its_caller_leaves_as_the_rule_is_removed(it: Rig) -> None:
    """Its close is still in the socket when the leg opens."""
    rule = it.links.add(cut(blackhole=True))
    _, writer = await it.open()
    await wait_until_async(lambda: it.links.rules()[0].held)
    with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as sock:
        sock.shutdown(socket.SHUT_RDWR)
    it.links.remove(rule)
    await asyncio.sleep(0.05)
    assert it.service.applied == []
    writer.close()


@in_rig
async def test_a_rule_added_while_a_call_is_served_loses_only_the_reply(it: Rig) -> None:
    """The call is applied although the caller gets no answer."""
    it.service.go_on.clear()
    reader, writer = await it.open()
    await it.service.entered.wait()
    it.links.add(cut(blackhole=True))
    it.service.go_on.set()
    await wait_until_async(lambda: it.links.rules()[0].held)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(10), 0.1)
    writer.close()
    await wait_until_async(lambda: not it.links.rules()[0].held)
    assert it.service.applied == [b"{}"]


@in_rig
async def test_a_blackholed_reply_arrives_when_the_rule_is_removed(it: Rig) -> None:
    it.service.go_on.clear()
    answer = asyncio.create_task(it.call())
    await it.service.entered.wait()
    rule = it.links.add(cut(blackhole=True))
    it.service.go_on.set()
    await wait_until_async(lambda: it.links.rules()[0].held)
    it.links.remove(rule)
    assert b"200" in await answer


@in_rig
async def test_a_reset_request_is_not_applied(it: Rig) -> None:
    it.links.add(cut(reset=True))
    with pytest.raises(ConnectionResetError):
        await it.call()
    assert it.service.applied == []


@in_rig
async def test_a_delay_applies_to_both_legs(it: Rig) -> None:
    it.links.add(cut(delay_ms=60))
    begun = asyncio.get_running_loop().time()
    await it.call()
    assert asyncio.get_running_loop().time() - begun >= 0.12 - 2 * CLOCK_STEP_S


@in_rig
async def test_the_operator_is_never_impaired(it: Rig) -> None:
    """The kit must be able to stop its own faults."""
    it.links.add(LinkRule(name="all", blackhole=True))
    assert b"200" in await it.call(key="gameday")


@in_rig
async def test_a_rule_can_match_one_aws_service(it: Rig) -> None:
    it.links.add(LinkRule(name="dynamo", dst=Match(kinds=["aws"], services=["dynamodb"]), reset=True))
    assert b"200" in await it.call(service="sqs")
    with pytest.raises(ConnectionResetError):
        await it.call(service="dynamodb")


@in_rig
async def test_the_metadata_of_a_task_is_served(it: Rig) -> None:
    async def get(path: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(4096), WAIT_S)
        writer.close()
        return answer

    assert b"arn:t1" in await get("/_ecs/v4/t1/task")
    assert b'"Name": "api"' in await get("/_ecs/v4/t1")
    assert b"404" in await get("/_ecs/v4/t2/task")


def test_a_poll_ends_with_its_caller(cloud):
    """A consumer killed in its long poll must not receive the next message."""
    sqs = cloud.client("sqs")
    url = sqs.create_queue(QueueName="gateway-poll")["QueueUrl"]
    body = json.dumps({"QueueUrl": url, "WaitTimeSeconds": 20})
    host, _, port = cloud.endpoint.removeprefix("http://").partition(":")
    for _ in range(3):
        killed = http.client.HTTPConnection(host, int(port), timeout=WAIT_S)
        headers = {"X-Amz-Target": "AmazonSQS.ReceiveMessage", "Content-Type": "application/x-amz-json-1.0"}
        killed.request("POST", "/", body, signed_headers(cloud, "sqs", body=body, headers=headers))
        time.sleep(0.15)
        killed.close()
    time.sleep(0.15)
    sqs.send_message(QueueUrl=url, MessageBody="m")
    time.sleep(0.25)  # A poll that continued would read the queue at least twice in this time.
    assert [m["Body"] for m in sqs.receive_message(QueueUrl=url).get("Messages", [])] == ["m"]
