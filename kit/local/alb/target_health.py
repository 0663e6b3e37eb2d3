"""Check the health of targets from load balancer nodes, through the links."""

import asyncio
import contextlib
import logging
import random

from kit.local.alb.heads import BadMessage, parse_response_head
from kit.local.alb.nodes import Node
from kit.local.alb.targets import CHECK_FAILED, TIMED_OUT, GroupSpec, NodeView, Reason, Target, TargetGroup, wrong_code
from kit.local.alb.upstream import HOST
from kit.local.endpoints import Endpoint
from kit.local.links import LinkReset, Links

# Only the head of a check's answer is read. A load balancer would not accept a longer one.
ANSWER_BYTES_MAX = 64 * 1024
# The first check of a target comes at once, with a random delay so that checks do not run in lockstep.
FIRST_CHECK_SPREAD_S = 0.1

log = logging.getLogger(__name__)


async def watch(node: Node, target: Target, group: TargetGroup, rng: random.Random) -> None:
    """Check a target from a node at the group's interval until cancelled."""
    loop = asyncio.get_running_loop()
    view = target.views.setdefault(node.name, NodeView())
    await asyncio.sleep(rng.uniform(0.0, FIRST_CHECK_SPREAD_S))
    while True:
        began_at, spec = loop.time(), group.spec
        before, failure = view.state, await check(node.links, node.endpoint, target, spec)
        view.record(failure, spec)
        if view.state is not before:
            facts = {"target": f"{target.id}:{target.port}", "node": node.name, "reason": view.reason.code}
            log.info("target health changed", extra={**facts, "from": str(before), "to": str(view.state)})
        await asyncio.sleep(max(0.0, spec.check_interval_s - (loop.time() - began_at)))


async def check(links: Links, node: Endpoint, target: Target, spec: GroupSpec) -> Reason | None:
    """Run one check. Returns None when it passed, else the reason."""
    try:
        async with asyncio.timeout(spec.check_timeout_s):
            status = await _ask(links, node, target, spec)
    except TimeoutError:
        return TIMED_OUT
    except (OSError, LinkReset, BadMessage, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return CHECK_FAILED
    return None if spec.accepts(status) else wrong_code(status)


async def _ask(links: Links, node: Endpoint, target: Target, spec: GroupSpec) -> int:
    await links.carry(node, target.endpoint)
    reader, writer = await asyncio.open_connection(HOST, _check_port(target, spec), limit=ANSWER_BYTES_MAX)
    try:
        await links.carry(target.endpoint, node)
        await links.carry(node, target.endpoint)
        writer.write(
            f"GET {spec.check_path} HTTP/1.1\r\nHost: {target.id}:{target.port}\r\n"
            "User-Agent: ELB-HealthChecker/2.0\r\nAccept-Encoding: gzip, compressed\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        raw = await reader.readuntil(b"\r\n\r\n")
        await links.carry(target.endpoint, node)
        return parse_response_head(raw[:-4])[0]
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _check_port(target: Target, spec: GroupSpec) -> int:
    if spec.check_port in ("traffic-port", str(target.port)):
        return target.host_port
    return int(spec.check_port)
