"""Test that listeners are served on their own ports, and that rules match real requests."""

import asyncio
import time
from collections import Counter
from typing import Any

import pytest

from kit.local.alb.listener_rules import Wildcard
from tests.local import alb_rig
from tests.local.alb_rig import VPC, Client, Rig, ask


def fixed(text: str, status: str = "200") -> dict[str, Any]:
    config = {"StatusCode": status, "MessageBody": text, "ContentType": "text/plain"}
    return {"Type": "fixed-response", "FixedResponseConfig": config}


async def add_listener(rig: Rig, port: int, action: dict[str, Any]) -> tuple[str, int]:
    """Create a listener. Returns its ARN and the port of this machine that serves it."""
    made = await ask("CreateListener", LoadBalancerArn=rig.arn, Port=port, Protocol="HTTP", DefaultActions=[action])
    arn = made["Listeners"][0]["ListenerArn"]
    attributes = (await ask("DescribeListenerAttributes", ListenerArn=arn))["Attributes"]
    address = next(each["Value"] for each in attributes if each["Key"] == "local.address")
    await asyncio.sleep(0.05)
    return arn, int(address.rpartition(":")[2])


async def main_listener(rig: Rig) -> str:
    return (await ask("DescribeListeners", LoadBalancerArn=rig.arn))["Listeners"][0]["ListenerArn"]


def test_each_listener_answers_on_its_own_port_with_its_own_rules() -> None:
    async def scenario(rig: Rig) -> None:
        await rig.add_target("one")
        await rig.stop_checks()
        second, port = await add_listener(rig, 8080, fixed("second"))
        client = Client(*await asyncio.open_connection("127.0.0.1", port))
        assert await client.ask("/") == (200, b"second")
        assert await rig.get("/") == (200, b"one")
        await ask("ModifyListener", ListenerArn=second, DefaultActions=[fixed("changed", "404")])
        await asyncio.sleep(0.05)
        assert await client.ask("/") == (404, b"changed")
        await ask("DeleteListener", ListenerArn=second)
        await asyncio.sleep(0.05)
        assert await client.reader.read() == b""
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)
        assert await rig.get("/") == (200, b"one")

    alb_rig.run(scenario)


CONDITIONS: list[tuple[dict[str, Any], str, list[str], bool]] = [
    ({"Field": "path-pattern", "Values": ["/img/*.p?g"]}, "/img/a/b.png", [], True),
    ({"Field": "path-pattern", "Values": ["/img/*"]}, "/IMG/a", [], False),
    ({"Field": "path-pattern", "Values": ["/img/*"]}, "/a?x=/img/", [], False),
    ({"Field": "host-header", "Values": ["*.example.com"]}, "/", ["Host: A.Example.com:80"], True),
    ({"Field": "host-header", "Values": ["example.com"]}, "/", ["Host: a.example.com"], False),
    ({"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "User-Agent", "Values": ["*chrome*"]}},
     "/", ["user-agent: Some CHROME/1"], True),
    ({"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "X-A", "Values": ["1"]}}, "/", ["X-A: 2"], False),
    ({"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": ["GET", "HEAD"]}}, "/", [], True),
    ({"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": ["POST"]}}, "/", [], False),
    ({"Field": "query-string", "QueryStringConfig": {"Values": [{"Key": "v", "Value": "1*"}]}}, "/?V=12", [], True),
    ({"Field": "query-string", "QueryStringConfig": {"Values": [{"Key": "v", "Value": "1*"}]}}, "/?w=12", [], False),
    ({"Field": "query-string", "QueryStringConfig": {"Values": [{"Value": "x"}]}}, "/?any=X", [], True),
    ({"Field": "query-string", "QueryStringConfig": {"Values": [{"Value": r"a\*"}]}}, "/?k=ab", [], False),
    ({"Field": "source-ip", "SourceIpConfig": {"Values": ["203.0.113.0/24"]}}, "/", [], False),
    ({"Field": "source-ip", "SourceIpConfig": {"Values": ["203.0.113.0/24", "127.0.0.0/8"]}}, "/", [], True),
]  # fmt: skip


def test_a_rule_answers_exactly_the_requests_that_meet_its_condition() -> None:
    async def scenario(rig: Rig) -> None:
        listener = await main_listener(rig)
        await ask("ModifyListener", ListenerArn=listener, DefaultActions=[fixed("default")])
        rule = await ask(
            "CreateRule", ListenerArn=listener, Priority=1, Conditions=[CONDITIONS[0][0]], Actions=[fixed("rule")]
        )
        for condition, path, headers, is_met in CONDITIONS:
            await ask("ModifyRule", RuleArn=rule["Rules"][0]["RuleArn"], Conditions=[condition])
            await asyncio.sleep(0.01)
            client = await rig.connect()
            host = [] if any(header.startswith("Host:") for header in headers) else ["Host: test"]
            client.writer.write("\r\n".join([f"GET {path} HTTP/1.1", *host, *headers, "", ""]).encode())
            assert await client.answer() == (200, b"rule" if is_met else b"default"), condition

    alb_rig.run(scenario)


def test_rules_are_tried_in_order_of_priority() -> None:
    async def scenario(rig: Rig) -> None:
        listener = await main_listener(rig)
        path = [{"Field": "path-pattern", "Values": ["/*"]}]
        arns = []
        for priority in (20, 10):
            made = await ask(
                "CreateRule", ListenerArn=listener, Priority=priority, Conditions=path, Actions=[fixed(str(priority))]
            )
            arns.append(made["Rules"][0]["RuleArn"])
        await asyncio.sleep(0.05)
        assert await rig.get("/") == (200, b"10")
        await ask("SetRulePriorities", RulePriorities=[{"RuleArn": arns[0], "Priority": 5}])
        await asyncio.sleep(0.05)
        assert await rig.get("/") == (200, b"20")

    alb_rig.run(scenario)


def test_a_weighted_forward_divides_requests_by_weight() -> None:
    async def scenario(rig: Rig) -> None:
        await rig.add_target("old")
        made = await ask(
            "CreateTargetGroup", Name="green", Protocol="HTTP", Port=8080, VpcId=VPC, TargetType="ip",
            HealthCheckPath="/healthz",
        )  # fmt: skip
        green = made["TargetGroups"][0]["TargetGroupArn"]
        blue, rig.group_arn = rig.group_arn, green
        await rig.add_target("new")
        listener = await main_listener(rig)

        async def shares(blue_weight: int, green_weight: int) -> Counter[bytes]:
            groups = [
                {"TargetGroupArn": blue, "Weight": blue_weight},
                {"TargetGroupArn": green, "Weight": green_weight},
            ]
            action = {"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}
            await ask("ModifyListener", ListenerArn=listener, DefaultActions=[action])
            await asyncio.sleep(0.3)
            client = await rig.connect()
            return Counter([(await client.ask("/"))[1] for _ in range(200)])

        assert set(await shares(1, 0)) == {b"old"}
        assert set(await shares(0, 999)) == {b"new"}
        mixed = await shares(1, 3)
        assert 110 <= mixed[b"new"] <= 185
        assert mixed[b"old"] + mixed[b"new"] == 200

    alb_rig.run(scenario)


def test_a_redirect_fills_its_placeholders_and_never_those_of_the_request() -> None:
    async def scenario(rig: Rig) -> None:
        config = {"StatusCode": "HTTP_302", "Protocol": "HTTPS", "Port": "443", "Path": "/new/#{path}"}
        action = {"Type": "redirect", "RedirectConfig": config}
        listener = await main_listener(rig)
        await ask("ModifyListener", ListenerArn=listener, DefaultActions=[action])
        await asyncio.sleep(0.05)
        client = await rig.connect()
        client.send("/a?b=#{host}")
        status, head, _ = await client.full_answer()
        assert status == 302
        assert "Location: https://test:443/new/a?b=#{host}" in head

    alb_rig.run(scenario)


def test_the_target_with_the_fewest_requests_in_flight_is_chosen_if_the_group_says_so() -> None:
    async def scenario(rig: Rig) -> None:
        await rig.add_target("slow", alb_rig.hang)
        await rig.add_target("fast")
        await rig.stop_checks()
        attribute = {"Key": "load_balancing.algorithm.type", "Value": "least_outstanding_requests"}
        await ask("ModifyTargetGroupAttributes", TargetGroupArn=rig.group_arn, Attributes=[attribute])
        rig.service._change()
        await asyncio.sleep(0.05)
        hanging = [await rig.connect() for _ in range(2)]
        for client in hanging:
            client.send("/")
        await asyncio.sleep(0.05)
        answered = await asyncio.gather(*(rig.get("/") for _ in range(1)))
        assert {body for _, body in answered} == {b"fast"}

    alb_rig.run(scenario)


@pytest.mark.parametrize(
    ("pattern", "text", "is_match"),
    [
        ("*", "", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("*b*", "abc", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("*ab*ab", "abab", True),
        ("*ab*ab", "ab", False),
        ("a.c", "abc", False),
    ],
)
def test_a_wildcard_matches_the_whole_text(pattern: str, text: str, is_match: bool) -> None:
    assert Wildcard.of(pattern, ignore_case=False).matches(text) is is_match


def test_a_wildcard_takes_little_time_on_a_hostile_text() -> None:
    wildcard = Wildcard.of("*a*a*a*a*a*b", ignore_case=True)
    began = time.process_time()
    assert not wildcard.matches("a" * 50_000)
    assert time.process_time() - began < 0.5
