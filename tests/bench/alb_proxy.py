"""Measure the CPU time of a request through the local load balancer: `python -m tests.bench alb_proxy`.

Everything runs on one loop in this process. The same requests are also sent directly to the target, and the difference
is the load balancer's share. Nothing is asserted, because machines differ.
"""

import asyncio
import time

import uvloop

from kit.local.endpoints import Endpoint
from kit.local.links import LinkRule, Links, Match
from tests.local.alb_rig import Rig, rig

CONNECTIONS = 16
REQUESTS = 20_000
BODY = b'{"clientId":"c1","idempotencyKey":"k","orderId":"o","symbol":"ACME","side":"BUY","qty":5}'
REQUEST = (
    b"POST /orders HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAccept: */*\r\n"
    b"User-Agent: bench\r\nTraceparent: 00-abc-def-01\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
)
RESPONSE = (
    b"HTTP/1.1 201 Created\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT\r\nserver: uvicorn\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
)


class Fixed(asyncio.Protocol):
    """A target that answers every read with the same response."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(RESPONSE)  # type: ignore[attr-defined]


class Client(asyncio.Protocol):
    """A client that sends the next request on each answer, `left` times."""

    def __init__(self, left: int, done: asyncio.Future[None]) -> None:
        self.left = left
        self.done = done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(REQUEST)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.left -= 1
        if self.left:
            self.transport.write(REQUEST)  # type: ignore[attr-defined]
        else:
            self.done.set_result(None)
            self.transport.close()


async def cpu_us_per_request(port: int) -> float:
    loop = asyncio.get_running_loop()
    waits = [loop.create_future() for _ in range(CONNECTIONS)]
    began = time.process_time()
    for wait in waits:
        await loop.create_connection(lambda wait=wait: Client(REQUESTS // CONNECTIONS, wait), "127.0.0.1", port)
    await asyncio.gather(*waits)
    return (time.process_time() - began) / REQUESTS * 1e6


async def bench_proxy(made: Rig) -> None:
    server = await asyncio.get_running_loop().create_server(Fixed, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await made.stop_checks()
    made.service.register_address(made.group_arn, "127.0.0.1", port)
    direct = await cpu_us_per_request(port)
    through = await cpu_us_per_request(made.port)
    made.links.add(LinkRule(name="elsewhere", src=Match(subnets=["nowhere"]), blackhole=True))
    with_rule = await cpu_us_per_request(made.port)
    made.links.add(LinkRule(name="light", src=Match(kinds=["alb"]), delay_ms=0.0))
    impaired = await cpu_us_per_request(made.port)
    server.close()
    print(f"directly to the target                 {direct:7.1f} µs a request")
    print(f"load balancer, no rules                {through - direct:7.1f} µs more")
    print(f"load balancer, a rule elsewhere        {with_rule - direct:7.1f} µs more")
    print(f"load balancer, a rule on every leg     {impaired - direct:7.1f} µs more")


async def bench_links() -> None:
    node = Endpoint(kind="alb", id="web", zone="a", subnet="p")
    task = Endpoint(kind="task", id="t", zone="a", subnet="q")
    for name, rules in (("no rules", 0), ("rules elsewhere", 3)):
        links = Links(1)
        for _ in range(rules):
            links.add(LinkRule(name="x", src=Match(subnets=["nowhere"]), blackhole=True))
        began = time.perf_counter()
        for _ in range(100_000):
            await links.carry(node, task)
        carry = (time.perf_counter() - began) * 10
        began = time.perf_counter()
        for _ in range(100_000):
            links.is_clear(node, task)
        print(f"links.carry, {name:24} {carry:7.2f} µs; links.is_clear {(time.perf_counter() - began) * 10:.2f} µs")


async def bench() -> None:
    await bench_links()
    async with rig() as made:
        await bench_proxy(made)


def main() -> None:
    """Print the figures."""
    uvloop.run(bench())


if __name__ == "__main__":
    main()
