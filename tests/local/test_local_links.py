"""Test what each kind of link rule does to a leg, and that removing the rule restores it."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from kit.errors import UsageError
from kit.local.endpoints import Endpoint
from kit.local.links import RETRANSMIT_MS, LinkReset, LinkRule, Links, Match

TASK_A = Endpoint(kind="task", id="t1", zone="us-east-1a", subnet="app-a", vpc="v", service="api")
TASK_B = Endpoint(kind="task", id="t2", zone="us-east-1b", subnet="app-b", vpc="v", service="api")
TABLE = Endpoint(kind="aws", service="dynamodb")
CUT: dict[str, Any] = {"src": Match(subnets=["app-a"]), "dst": Match(not_subnets=["app-a"])}


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


async def timed(work: Coroutine[Any, Any, None]) -> float:
    began_at = time.perf_counter()
    await work
    return (time.perf_counter() - began_at) * 1000


def test_a_leg_without_a_matching_rule_is_not_delayed() -> None:
    """Another subnet's blackhole does not slow a task down."""

    async def scenario() -> None:
        links = Links(1)
        links.add(LinkRule(name="cut", blackhole=True, **CUT))
        assert links.is_clear(TASK_B, TABLE)
        await asyncio.wait_for(links.carry(TASK_B, TABLE), 1)

    run(scenario())


def test_a_delay_applies_to_each_leg() -> None:
    async def scenario() -> None:
        links = Links(1)
        links.add(LinkRule(name="slow", delay_ms=30, **CUT))
        assert 29 < await timed(links.carry(TASK_A, TABLE)) < 200
        assert 29 < await timed(links.carry(TABLE, TASK_A)) < 200

    run(scenario())


def test_a_one_way_rule_does_not_affect_the_way_back() -> None:
    links = Links(1)
    links.add(LinkRule(name="half", blackhole=True, both_ways=False, **CUT))
    assert not links.is_clear(TASK_A, TABLE)
    assert links.is_clear(TABLE, TASK_A)


def test_a_blackholed_leg_waits_until_the_rule_is_removed() -> None:
    async def scenario() -> None:
        links = Links(1)
        rule = LinkRule(name="cut", blackhole=True, **CUT)
        rule_id = links.add(rule)
        leg = asyncio.ensure_future(links.carry(TASK_A, TABLE))
        await asyncio.sleep(0.05)
        assert not leg.done()
        assert (rule.touched, rule.held) == (1, 1)
        links.remove(rule_id)
        await asyncio.wait_for(leg, 1)
        assert rule.held == 0

    run(scenario())


def test_a_leg_under_two_blackholes_waits_for_both() -> None:
    async def scenario() -> None:
        links = Links(1)
        first = links.add(LinkRule(name="one", blackhole=True, **CUT))
        second = links.add(LinkRule(name="two", blackhole=True, **CUT))
        leg = asyncio.ensure_future(links.carry(TASK_A, TABLE))
        await asyncio.sleep(0)
        links.remove(first)
        await asyncio.sleep(0.02)
        assert not leg.done()
        links.remove(second)
        await asyncio.wait_for(leg, 1)

    run(scenario())


def test_a_cancelled_waiter_leaves_the_blackhole() -> None:
    async def scenario() -> None:
        links = Links(1)
        rule = LinkRule(name="cut", blackhole=True, **CUT)
        links.add(rule)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(links.carry(TASK_A, TABLE), 0.02)
        assert rule.held == 0

    run(scenario())


def test_a_reset_raises_and_names_the_rule() -> None:
    async def scenario() -> None:
        links = Links(1)
        links.add(LinkRule(name="rst", reset=True, **CUT))
        with pytest.raises(LinkReset, match="'rst' reset task/api/us-east-1a/t1 → aws/dynamodb"):
            await links.carry(TASK_A, TABLE)

    run(scenario())


def test_loss_costs_retransmissions_and_is_the_same_for_the_same_seed() -> None:
    """With half of the packets lost, some legs take 200 ms or more, none fails, and the seed decides which."""

    def draw(seed: int) -> list[float]:
        links = Links(seed)
        rule = LinkRule(name="lossy", loss_pct=50, **CUT)
        return [links._draw_delay_ms((rule,)) for _ in range(200)]

    drawn = draw(7)
    assert drawn == draw(7)
    assert drawn != draw(8)
    assert 60 < sum(ms == 0 for ms in drawn) < 140
    assert RETRANSMIT_MS in drawn
    assert max(drawn) <= RETRANSMIT_MS * 63


def test_jitter_spreads_the_delay_both_ways_and_never_below_zero() -> None:
    links = Links(3)
    rule = LinkRule(name="jitter", delay_ms=10, jitter_ms=20)
    drawn = [links._draw_delay_ms((rule,)) for _ in range(300)]
    assert min(drawn) == 0
    assert 25 < max(drawn) <= 30


def test_the_operator_is_never_impaired() -> None:
    links = Links(1)
    links.add(LinkRule(name="everything", blackhole=True))
    assert links.is_clear(Endpoint(kind="admin"), TABLE)


def test_a_rule_can_be_removed_twice() -> None:
    """Undo may be repeated after a crash."""
    links = Links(1)
    rule_id = links.add(LinkRule(name="once", reset=True))
    links.remove(rule_id)
    links.remove(rule_id)
    assert links.rules() == []


def test_meaningless_rules_are_refused() -> None:
    with pytest.raises(UsageError, match="loss_pct=101"):
        LinkRule(name="bad", loss_pct=101)
    with pytest.raises(UsageError, match=r"Match\.zones='us-east-1a'"):
        Match(zones="us-east-1a")


def test_a_rule_on_a_share_of_flows_is_drawn_from_the_seed() -> None:
    """About a quarter of the legs is impaired."""

    def draw(seed: int) -> list[int]:
        links = Links(seed)
        rule = LinkRule(name="some", delay_ms=1, flows_pct=25)
        return [len(links._draw_rules((rule,))) for _ in range(400)]

    drawn = draw(7)
    assert drawn == draw(7)
    assert drawn != draw(8)
    assert 60 < sum(drawn) < 140


def test_a_leg_that_is_not_drawn_is_neither_delayed_nor_counted() -> None:
    async def scenario() -> None:
        links = Links(1)
        rule = LinkRule(name="none", delay_ms=500, flows_pct=0, **CUT)
        links.add(rule)
        assert await timed(links.carry(TASK_A, TABLE)) < 400
        assert rule.touched == 0

    run(scenario())


def test_a_blackhole_takes_all_flows() -> None:
    with pytest.raises(UsageError, match=r"flows_pct=50"):
        LinkRule(name="bad", blackhole=True, flows_pct=50)
