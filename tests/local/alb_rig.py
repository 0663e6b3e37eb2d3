"""Run a load balancer in this process, with real sockets, MiniStack's elbv2 and targets that misbehave."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import uvloop
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from ministack.services import alb as elbv2
from ministack.services import ec2

from kit.local.alb import LoadBalancers
from kit.local.alb.metrics import PERIOD_S
from kit.local.endpoints import Endpoint
from kit.local.links import Links
from kit.local.requests import models
from tests.polling import wait_until_async

SCENARIO_S_MAX = 20
VPC = "vpc-rig"
Handler = Callable[["Request", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class Request:
    """What a target received."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class TargetServer:
    """A target on 127.0.0.1. It answers with its name, or as `handler` does."""

    name: str
    endpoint: Endpoint
    handler: Handler | None = None
    healthy: bool = True
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    server: asyncio.Server | None = None

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Close the listener and all connections, as a killed process does."""
        if self.server is not None:
            self.server.close()
        for writer in self.writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while (request := await read_request(reader)) is not None:
                if request.path == "/healthz":
                    writer.write(reply(200 if self.healthy else 503))
                    continue
                self.requests.append(request)
                if self.handler is None:
                    writer.write(reply(200, self.name.encode()))
                else:
                    await self.handler(request, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def reply(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def hang(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer nothing while the connection lasts."""
    await reader.read()


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    lines = raw.decode("latin-1").split("\r\n")
    method, path, _ = lines[0].split(" ")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)}
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int((await reader.readline()).partition(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readline()
        while (await reader.readline()).strip():
            pass
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, headers, body)


@dataclass(slots=True)
class Client:
    """A bare HTTP/1.1 client that sends exactly what the test gives it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, path: str = "/", method: str = "GET", body: bytes = b"", *headers: str) -> tuple[int, bytes]:
        self.send(path, method, body, *headers)
        return await self.answer(method)

    def send(self, path: str = "/", method: str = "GET", body: bytes = b"", *headers: str) -> None:
        length = [f"Content-Length: {len(body)}"] if body else []
        head = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: test", *length, *headers])
        self.writer.write(head.encode() + b"\r\n\r\n" + body)

    async def answer(self, method: str = "GET") -> tuple[int, bytes]:
        status, _, body = await self.full_answer(method)
        return status, body

    async def full_answer(self, method: str = "GET") -> tuple[int, str, bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status = int(head.split(" ", 2)[1])
        if method == "HEAD" or status in (204, 304) or status < 200:
            return status, head, b""
        found = re.search(r"(?im)^content-length: *(\d+)", head)
        if found:
            return status, head, await self.reader.readexactly(int(found[1]))
        if re.search(r"(?im)^transfer-encoding: *chunked", head):
            body = b""
            while size := int(await self.reader.readline(), 16):
                body += await self.reader.readexactly(size)
                await self.reader.readline()
            await self.reader.readline()
            return status, head, body
        return status, head, await self.reader.read()


@dataclass(slots=True)
class Rig:
    """One load balancer with two nodes (zones a, b) and the targets added to it."""

    links: Links
    service: LoadBalancers
    arn: str = ""
    group_arn: str = ""
    port: int = 0
    targets: list[TargetServer] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)

    async def add_target(self, name: str, handler: Handler | None = None, *, zone: str = "a") -> TargetServer:
        endpoint = Endpoint(kind="task", id=name, zone=f"us-east-1{zone}", subnet=f"app-{zone}", service="api")
        target = TargetServer(name=name, endpoint=endpoint, handler=handler)
        await target.start()
        self.targets.append(target)
        self.register(target)
        return target

    def register(self, target: TargetServer) -> None:
        self.service.register(
            self.group_arn,
            target_id=f"10.0.0.{target.name}",
            port=8080,
            host_port=target.port,
            endpoint=target.endpoint,
        )

    def health(self, target: TargetServer) -> str:
        return self.service.health(self.group_arn, f"10.0.0.{target.name}", 8080)

    async def until_health(self, target: TargetServer, state: str) -> None:
        await wait_until_async(
            lambda: self.health(target) == state, f"target {target.name} {state}, is {self.health(target)}"
        )

    async def until_all_healthy(self) -> None:
        """Wait until every node sees every target healthy."""
        targets = self.service._groups[self.group_arn].targets.values()
        await wait_until_async(
            lambda: all(len(t.views) == 2 and {v.state for v in t.views.values()} == {"healthy"} for t in targets),
            "all targets healthy for both nodes",
        )

    async def deregister(self, target: TargetServer) -> None:
        await self.service.deregister(self.group_arn, f"10.0.0.{target.name}", 8080)

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        return client

    async def get(self, path: str = "/", **options: Any) -> tuple[int, bytes]:
        """Send one request on its own connection."""
        client = await self.connect()
        try:
            return await client.ask(path, **options)
        finally:
            client.writer.close()

    def set_group(self, **fields: Any) -> None:
        """Change the target group as ModifyTargetGroup does, but with fractions of a second."""
        elbv2._tgs[self.group_arn].update(fields)

    async def stop_checks(self) -> None:
        """Stop health checks, so that every target counts as healthy."""
        self.set_group(HealthCheckEnabled=False)
        self.service._change()
        await asyncio.sleep(0.05)

    async def set_attributes(self, **attributes: str) -> None:
        """Change attributes of the load balancer (`idle_timeout…`) or the group (`deregistration_delay…`)."""
        for name, value in attributes.items():
            key, store, arn = {
                "idle_timeout_s": ("idle_timeout.timeout_seconds", elbv2._lb_attrs, self.arn),
                "deregistration_delay_s": (
                    "deregistration_delay.timeout_seconds", elbv2._tg_attrs, self.group_arn,
                ),
            }[name]  # fmt: skip
            next(a for a in store[arn] if a["Key"] == key)["Value"] = value
        self.service._change()
        await asyncio.sleep(0.01)


def run(scenario: Callable[[Rig], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run a scenario against a new load balancer, on uvloop as in the cloud."""

    async def whole() -> None:
        async with rig(**options) as made, asyncio.timeout(SCENARIO_S_MAX):
            await scenario(made)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(whole())


class Refused(Exception):
    """The answer of a request that was refused."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


async def ask(action: str, **members: Any) -> dict[str, Any]:
    """Call the elbv2 API as botocore does. Raises Refused."""
    model = models.model("elbv2").operation_model(action)
    serialized = create_serializer("query").serialize_to_request(members, model)
    status, headers, body = await elbv2.handle_request("POST", "/", {}, urlencode(serialized["body"]).encode(), {})
    answer = {"body": body, "headers": headers, "status_code": status}
    parsed = create_parser("query").parse(answer, model.output_shape)
    if status >= 400:
        raise Refused(parsed["Error"]["Code"], parsed["Error"]["Message"])
    return parsed


async def call(action: str, **params: str | int) -> str:
    """Call the elbv2 API of MiniStack."""
    body = urlencode({"Action": action, **params}).encode()
    status, _, answer = await elbv2.handle_request("POST", "/", {}, body, {})
    assert status == 200, answer
    return answer.decode()


def pick(tag: str, xml: str) -> str:
    found = re.search(f"<{tag}>([^<]*)</{tag}>", xml)
    assert found, f"{tag} not in {xml}"
    return found[1]


@asynccontextmanager
async def rig(
    *, connect_timeout_s: float = 10.0, listener: bool = True, period_s: float = PERIOD_S
) -> AsyncIterator[Rig]:
    """Run a load balancer `web` that forwards all requests to one target group with frequent health checks.

    `period_s` is the period of its metrics. Tests that take a period themselves make it long.
    """
    links = Links(seed=1)
    service = LoadBalancers(links, 1, connect_timeout_s=connect_timeout_s, period_s=period_s)
    made = Rig(links=links, service=service)
    await service.start()
    try:
        make_network()
        created = await call(
            "CreateLoadBalancer", **{"Name": "web", "Subnets.member.1": "pub-a", "Subnets.member.2": "pub-b"}
        )
        made.arn = pick("LoadBalancerArn", created)
        made.port = int(pick("DNSName", created).rpartition(":")[2])
        group = await call(
            "CreateTargetGroup", Name="api", Protocol="HTTP", Port=8080, TargetType="ip", VpcId=VPC,
            HealthCheckPath="/healthz",
        )  # fmt: skip
        made.group_arn = pick("TargetGroupArn", group)
        made.set_group(HealthCheckIntervalSeconds=0.1, HealthCheckTimeoutSeconds=0.15, HealthyThresholdCount=2)
        if listener:
            await add_listener(made)
        yield made
    finally:
        for client in made.clients:
            client.writer.close()
        await service.stop()
        for target in made.targets:
            target.stop()
        elbv2.reset()
        elbv2._tgs.clear()
        for store, keys in ((ec2._vpcs, [VPC]), (ec2._subnets, ["pub-a", "pub-b"])):
            for key in keys:
                store.pop(key, None)


def make_network() -> None:
    """Put a VPC with two subnets into MiniStack's EC2."""
    ec2._vpcs[VPC] = {"VpcId": VPC}
    for zone in "ab":
        id = f"pub-{zone}"
        ec2._subnets[id] = {"SubnetId": id, "VpcId": VPC, "AvailabilityZone": f"us-east-1{zone}"}


async def add_listener(made: Rig) -> str:
    answer = await call(
        "CreateListener",
        **{
            "LoadBalancerArn": made.arn, "Port": 80, "Protocol": "HTTP",
            "DefaultActions.member.1.Type": "forward",
            "DefaultActions.member.1.TargetGroupArn": made.group_arn,
        },
    )  # fmt: skip
    await asyncio.sleep(0.02)
    return pick("ListenerArn", answer)
