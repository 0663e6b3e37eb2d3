"""Test the load balancer under link faults on either hop, its health checks and its draining."""

import asyncio
import random
import time
from collections import Counter
from typing import Any

import pytest
import websockets

from kit.local.links import LinkRule, Match
from tests.local.alb_rig import Request, Rig, TargetServer, call, hang, pick, reply, run
from tests.polling import wait_until_async

# The app subnet of zone a is cut off from everything else. The nodes are in pub-a and pub-b.
APP_A_CUT: dict[str, Any] = {"src": Match(subnets=["app-a"]), "dst": Match(not_subnets=["app-a"]), "blackhole": True}
TO_TARGETS: dict[str, Any] = {"src": Match(kinds=["alb"]), "dst": Match(kinds=["task"])}
TO_NODES: dict[str, Any] = {"src": Match(kinds=["client"]), "dst": Match(kinds=["alb"])}


async def until_every_node_sees(made: Rig, server: TargetServer, state: str) -> None:
    """Wait until every node sees this state. Each node routes by its own checks."""
    views = made.service._groups[made.group_arn].targets[(f"10.0.0.{server.name}", 8080)].views
    await wait_until_async(lambda: {view.state for view in views.values()} == {state}, f"every node sees {state}")


def test_a_cut_zone_turns_unhealthy_is_avoided_and_comes_back() -> None:
    async def scenario(made: Rig) -> None:
        a, b = await made.add_target("1", zone="a"), await made.add_target("2", zone="b")
        for target in (a, b):
            await until_every_node_sees(made, target, "healthy")
        rule_id = made.links.add(LinkRule(name="az", **APP_A_CUT))
        await until_every_node_sees(made, a, "unhealthy")
        described = await call("DescribeTargetHealth", TargetGroupArn=made.group_arn)
        assert pick("Reason", described) == "Target.Timeout"
        client = await made.connect()
        assert Counter([(await client.ask())[1] for _ in range(10)]) == {b"2": 10}
        made.links.remove(rule_id)
        await until_every_node_sees(made, a, "healthy")
        assert Counter([(await client.ask())[1] for _ in range(10)]) == {b"1": 5, b"2": 5}

    run(scenario)


def test_a_node_that_is_cut_off_alone_does_not_make_targets_unhealthy() -> None:
    """Node a reaches no target and node b reaches all, so the targets are healthy."""

    async def scenario(made: Rig) -> None:
        targets = [await made.add_target("1", zone="b"), await made.add_target("2", zone="b")]
        for target in targets:
            await made.until_health(target, "healthy")
        made.links.add(LinkRule(name="node", src=Match(kinds=["alb"], subnets=["pub-a"]), blackhole=True))
        group = made.service._groups[made.group_arn]
        await wait_until_async(
            lambda: all(t.views["pub-a"].state == "unhealthy" for t in group.targets.values()), "a blind"
        )
        assert [made.health(target) for target in targets] == ["healthy", "healthy"]

    run(scenario)


def test_dns_stops_returning_a_node_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kit.local.alb.nodes.NODE_PROBE_INTERVAL_S", 0.05)
    monkeypatch.setattr("kit.local.alb.nodes.NODE_PROBE_TIMEOUT_S", 0.05)

    async def scenario(made: Rig) -> None:
        await made.add_target("1")
        rule_id = made.links.add(LinkRule(name="node", dst=Match(subnets=["pub-a"]), blackhole=True))
        balancer = made.service._balancers[made.arn]
        await wait_until_async(lambda: [n.in_dns for n in balancer.nodes] == [False, True], "node a out of DNS")
        for _ in range(4):
            assert await asyncio.wait_for(made.get(), 1) == (200, b"1")
        made.links.remove(rule_id)
        await wait_until_async(lambda: all(n.in_dns for n in balancer.nodes), "node a back in DNS")

    run(scenario)


def test_a_blackholed_reply_arrives_when_the_rule_is_removed() -> None:
    """The request was applied once before the cut, and only its reply is late."""

    async def scenario(made: Rig) -> None:
        answering = asyncio.Event()

        async def wait(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await answering.wait()
            writer.write(reply(200, b"late"))

        target = await made.add_target("1", wait)
        client = await made.connect()
        client.send("/", "POST", b"order")
        await wait_until_async(lambda: len(target.requests) == 1, "request applied")
        rule_id = made.links.add(LinkRule(name="az", **APP_A_CUT))
        answering.set()
        answer = asyncio.ensure_future(client.answer())
        await asyncio.sleep(0.2)
        assert not answer.done()
        made.links.remove(rule_id)
        assert await answer == (200, b"late")
        assert len(target.requests) == 1

    run(scenario)


def test_a_blackholed_request_is_not_applied_when_its_client_gives_up() -> None:
    async def scenario(made: Rig) -> None:
        target = await made.add_target("1")
        waiting, leaving = await made.connect(), await made.connect()
        for client in (waiting, leaving):
            assert await client.ask() == (200, b"1")
        target.requests.clear()
        for cut in (dict(TO_NODES), dict(TO_TARGETS)):
            rule_id = made.links.add(LinkRule(name="cut", blackhole=True, **cut))
            waiting.send("/waiting")
            leaving.send("/leaving")
            await asyncio.sleep(0.1)
            leaving.writer.transport.abort()
            await asyncio.sleep(0.05)
            made.links.remove(rule_id)
            assert await waiting.answer() == (200, b"1")
            await asyncio.sleep(0.05)
            assert {r.path for r in target.requests} == {"/waiting"}
            leaving = await made.connect()
            assert await leaving.ask("/waiting") == (200, b"1")

    run(scenario)


def test_a_new_connection_into_a_blackhole_is_504_after_the_connect_timeout() -> None:
    async def scenario(made: Rig) -> None:
        target = await made.add_target("1", zone="a")
        made.links.add(LinkRule(name="az", **APP_A_CUT))
        began_at = time.perf_counter()
        assert (await made.get())[0] == 504
        assert 0.25 < time.perf_counter() - began_at < 2
        assert target.requests == []

    run(scenario, connect_timeout_s=0.3)


def test_a_target_killed_inside_a_cut_zone_is_noticed_by_timeout_only() -> None:
    """Its FIN and RST do not leave the zone, so the answer is 504 after the idle timeout, not 502 at once."""

    async def scenario(made: Rig) -> None:
        await made.set_attributes(idle_timeout_s="0.6")
        target = await made.add_target("1", hang)
        client = await made.connect()
        client.send()
        await wait_until_async(lambda: len(target.requests) == 1, "request at the target")
        made.links.add(LinkRule(name="az", **APP_A_CUT))
        began_at = time.perf_counter()
        target.stop()
        assert (await client.answer())[0] == 504
        assert time.perf_counter() - began_at > 0.4

    run(scenario)


def test_a_reset_link_to_the_target_is_502_and_to_the_client_a_reset() -> None:
    async def scenario(made: Rig) -> None:
        await made.add_target("1")
        client = await made.connect()
        assert (await client.ask())[0] == 200
        rule_id = made.links.add(LinkRule(name="rst", reset=True, **TO_TARGETS))
        assert (await client.ask())[0] == 502
        made.links.remove(rule_id)
        assert (await client.ask())[0] == 200
        made.links.add(LinkRule(name="rst", reset=True, **TO_NODES))
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await client.ask()

    run(scenario)


def test_delay_costs_a_round_trip_on_each_hop_and_loss_retransmissions() -> None:
    async def scenario(made: Rig) -> None:
        await made.add_target("1")
        # No health checks, because they draw from the same random numbers.
        await made.stop_checks()
        client = await made.connect()
        await client.ask()

        async def ask_ms() -> float:
            began_at = time.perf_counter()
            # Head and body are two packets. Their delays must overlap.
            client.writer.write(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\n")
            await asyncio.sleep(0.005)
            client.writer.write(b"abc")
            assert (await client.answer())[0] == 200
            return (time.perf_counter() - began_at) * 1000

        rule_id = made.links.add(LinkRule(name="slow", delay_ms=60, **TO_TARGETS))
        # The best of three: a busy machine makes a request slower, never faster.
        assert 115 < min([await ask_ms() for _ in range(3)]) < 175
        made.links.remove(rule_id)
        rule_id = made.links.add(LinkRule(name="slow", delay_ms=60, **TO_NODES))
        # The best of three: a busy machine makes a request slower, never faster.
        assert 115 < min([await ask_ms() for _ in range(3)]) < 175
        made.links.remove(rule_id)
        made.links.add(LinkRule(name="lossy", loss_pct=25, **TO_TARGETS))
        assert max([await ask_ms() for _ in range(6)]) > 195

    run(scenario)


def test_a_websocket_continues_in_order_after_a_blackhole() -> None:
    async def scenario(made: Rig) -> None:
        async def count(connection: Any) -> None:
            for i in range(200):
                await connection.send(str(i))
                await asyncio.sleep(0.002)
            await connection.wait_closed()

        async with websockets.serve(count, "127.0.0.1", 0) as server:
            await made.stop_checks()
            made.service.register_address(made.group_arn, "127.0.0.1", server.sockets[0].getsockname()[1])
            async with websockets.connect(f"ws://127.0.0.1:{made.port}/", proxy=None) as client:
                seen = [await client.recv() for _ in range(10)]
                rule = LinkRule(name="cut", blackhole=True, **TO_TARGETS)
                rule_id = made.links.add(rule)
                await asyncio.sleep(0.1)
                with pytest.raises(TimeoutError):
                    while True:
                        seen.append(await asyncio.wait_for(client.recv(), 0.2))
                assert len(seen) < 150
                assert rule.touched > 0
                made.links.remove(rule_id)
                while len(seen) < 200:
                    seen.append(await asyncio.wait_for(client.recv(), 2))
                assert seen == [str(i) for i in range(200)]

    run(scenario)


def test_wrong_codes_and_recoveries_follow_the_thresholds() -> None:
    async def scenario(made: Rig) -> None:
        target, other = await made.add_target("1"), await made.add_target("2")
        for each in (target, other):
            await until_every_node_sees(made, each, "healthy")
        target.healthy = False
        await until_every_node_sees(made, target, "unhealthy")
        described = await call(
            "DescribeTargetHealth",
            **{"TargetGroupArn": made.group_arn, "Targets.member.1.Id": "10.0.0.1", "Targets.member.1.Port": 8080},
        )
        assert pick("Reason", described) == "Target.ResponseCodeMismatch"
        assert pick("Description", described) == "Health checks failed with these codes: [503]"
        assert {(await made.get())[1] for _ in range(4)} == {b"2"}
        other.healthy = False
        await until_every_node_sees(made, other, "unhealthy")
        # Fail open: when no target is healthy, all get requests.
        assert {(await made.get())[1] for _ in range(4)} == {b"1", b"2"}
        target.healthy = True
        await made.until_health(target, "healthy")

    run(scenario)


def test_a_target_group_that_no_rule_forwards_to_is_unused() -> None:
    async def scenario(made: Rig) -> None:
        target = await made.add_target("1")
        assert made.health(target) == "unused"
        described = await call("DescribeTargetHealth", TargetGroupArn=made.group_arn)
        assert pick("Reason", described) == "Target.NotInUse"

    run(scenario, listener=False)


def test_deregistration_drains_requests_in_flight_and_sends_no_new_ones() -> None:
    async def scenario(made: Rig) -> None:
        async def slow(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.3)
            writer.write(reply(200, b"slow"))

        leaving = await made.add_target("1", slow)
        client = await made.connect()
        client.send()
        await wait_until_async(lambda: len(leaving.requests) == 1, "request at the target")
        staying = await made.add_target("2")
        await until_every_node_sees(made, staying, "healthy")
        drained = asyncio.ensure_future(made.deregister(leaving))
        await asyncio.sleep(0.05)
        assert made.health(leaving) == "draining"
        described = await call("DescribeTargetHealth", TargetGroupArn=made.group_arn)
        assert "Target.DeregistrationInProgress" in described
        assert {(await made.get())[1] for _ in range(4)} == {b"2"}
        assert not drained.done()
        assert await client.answer() == (200, b"slow")
        await asyncio.wait_for(drained, 1)
        assert made.health(leaving) == "unused"

    run(scenario)


def test_the_end_of_the_deregistration_delay_ends_requests_and_websockets() -> None:
    async def scenario(made: Rig) -> None:
        await made.set_attributes(deregistration_delay_s="0.3")

        async def idle(connection: Any) -> None:
            await connection.wait_closed()

        async with websockets.serve(idle, "127.0.0.1", 0) as server:
            await made.stop_checks()
            port = server.sockets[0].getsockname()[1]
            made.service.register_address(made.group_arn, "127.0.0.1", port)
            async with websockets.connect(f"ws://127.0.0.1:{made.port}/", proxy=None) as client:
                began_at = time.perf_counter()
                await made.service.deregister(made.group_arn, "127.0.0.1", port)
                assert 0.25 < time.perf_counter() - began_at < 1.5
                with pytest.raises(websockets.ConnectionClosedError):
                    await asyncio.wait_for(client.recv(), 1)

    run(scenario)


def test_under_random_faults_every_answer_matches_its_request_and_nothing_leaks() -> None:
    """24 clients and 4 targets under rules and killed targets for two seconds, without a wrong byte."""
    rng = random.Random(5)
    outcomes: Counter[str] = Counter()

    async def echo(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(rng.uniform(0, 0.004))
        writer.write(reply(200, request.path.encode() + b":" + request.body))

    async def ask_for_ever(made: Rig, number: int) -> None:
        client, turn = await made.connect(), 0
        while True:
            turn += 1
            body = b"x" * rng.choice((0, 10, 5_000, 150_000))
            try:
                async with asyncio.timeout(0.3):
                    status, answer = await client.ask(f"/{number}/{turn}", "POST", body)
            except (TimeoutError, OSError, asyncio.IncompleteReadError):
                outcomes["cut"] += 1
                client.writer.transport.abort()
                client = await made.connect()
                continue
            assert status != 200 or answer == f"/{number}/{turn}:".encode() + body
            outcomes[str(status)] += 1

    async def harm(made: Rig) -> None:
        while True:
            effects: tuple[dict[str, Any], ...] = ({"delay_ms": 5.0}, {"reset": True}, {"blackhole": True})
            where: dict[str, Any] = rng.choice((TO_NODES, TO_TARGETS, {"src": Match(subnets=["app-a"])}))
            rule_id = made.links.add(LinkRule(name="random", **where, **rng.choice(effects)))
            try:
                await asyncio.sleep(rng.uniform(0.01, 0.1))
            finally:
                made.links.remove(rule_id)
            victim = rng.choice(made.targets)
            victim.stop()
            await asyncio.sleep(0.02)
            await victim.start()

    async def scenario(made: Rig) -> None:
        for name in "1234":
            await made.add_target(name, echo, zone="ab"[int(name) % 2])
        await made.until_all_healthy()
        work = [asyncio.ensure_future(ask_for_ever(made, number)) for number in range(24)]
        work.append(asyncio.ensure_future(harm(made)))
        done, _ = await asyncio.wait(work, timeout=2)
        for task in work:
            task.cancel()
        results = await asyncio.gather(*work, return_exceptions=True)
        assert not done, [r for r in results if not isinstance(r, asyncio.CancelledError)]
        # Low limits, for a busy machine. The point is that no answer is wrong and nothing is left.
        assert outcomes["200"] > 20, outcomes
        assert outcomes["502"] + outcomes["504"] + outcomes["cut"] > 0, outcomes
        for client in made.clients:
            client.writer.transport.abort()
        balancer = made.service._balancers[made.arn]
        group = made.service._groups[made.group_arn]
        await wait_until_async(lambda: not balancer.clients, "no client left")
        left = [target.id for target in group.targets.values() if target.in_flight]
        assert not left, f"requests in flight without a client at {left}"
        idle = sum(len(pool._idle) for node in balancer.nodes for pool in node._pools.values())
        await wait_until_async(lambda: sum(n.connections() for n in balancer.nodes) <= idle, "no busy upstream left")

    run(scenario)


def test_a_draining_target_that_is_registered_again_serves_again() -> None:
    async def scenario(made: Rig) -> None:
        target = await made.add_target("1")
        await made.until_health(target, "healthy")
        target.handler = lambda *_: asyncio.sleep(30)
        client = await made.connect()
        client.send()
        await wait_until_async(lambda: len(target.requests) == 1, "request at the target")
        drained = asyncio.ensure_future(made.deregister(target))
        await asyncio.sleep(0.02)
        made.register(target)
        await asyncio.wait_for(drained, 1)
        await made.until_health(target, "healthy")

    run(scenario)
