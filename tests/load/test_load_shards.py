"""Several generators together send exactly what one generator sends."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit import scenarios
from kit.errors import UsageError
from kit.load import LoadPlan, LoadRun, Shard, read_history
from kit.load.engine import Engine
from kit.load.files import STOP_FILE
from kit.load.follow_ups import follow_ups
from kit.load.http_attempt import Attempt
from kit.load.merged_history import merge_shards, shard_folder
from kit.load.orders import Operation, OrderFlow
from kit.load.shards import operations_before, scheduled_ns
from kit.load.subscriber_habits import roles, roles_of
from kit.model import NS_PER_S
from kit.parameter_specs import SEED_MAX
from tests.load.load_exchange import Exchange, plan_of, within

MARKETS = ("ACME", "BOLT", "CORE", "DYNE")
EVERY_FOLLOW_UP: dict[str, float] = {
    f"{name}_ratio": 1.0
    for name in ("read_back", "unauthorized", "taken_order_id", "malformed", "malformed_request", "late")
}


def shards(count: int, starts_at_ns: int = 1) -> list[Shard]:
    return [Shard(index=index, count=count, starts_at_ns=starts_at_ns) for index in range(count)]


def plan_for(scenario: str, seed: int, **changes: Any) -> LoadPlan:
    """Return the plan of a scenario, as a run makes it, for some seconds."""
    load = scenarios.get(scenario).load
    return LoadPlan(
        **{"api_url": "http://x", "markets": MARKETS, "seed": seed, "duration_max_s": 6.0, **load, **changes}
    )


def sent(plan: LoadPlan, shard: Shard) -> list[tuple[int, Operation]]:
    """Return each operation of a shard with its offset."""
    flow = OrderFlow(plan)
    return [(offset_ns, flow.operation(number)) for number, offset_ns in shard.arrivals(plan)]


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(scenarios.names()), st.integers(0, SEED_MAX), st.integers(1, 64))
def test_shards_of_any_plan_send_each_operation_of_it_once_and_at_its_time(scenario: str, seed: int, count: int):
    plan = plan_for(scenario, seed)
    parts = [sent(plan, shard) for shard in shards(count)]
    assert sorted(one for part in parts for one in part) == sent(plan, Shard())
    for shard, part in zip(shards(count), parts, strict=True):
        assert all(shard.has_operation(operation.op_id) for _, operation in part)
        assert len(part) == shard.share_of(len(list(scheduled_ns(plan))))


@settings(max_examples=8, deadline=None)
@given(st.integers(0, SEED_MAX), st.integers(2, 64))
def test_what_follows_an_operation_belongs_to_its_shard_and_has_an_id_of_its_own(seed: int, count: int):
    plan, flow = plan_for("az-loss", seed, **EVERY_FOLLOW_UP), OrderFlow(plan_for("az-loss", seed))
    parts, ids = shards(count), []
    for number in range(60):
        operation = flow.operation(number)
        for op_id in (number, *(one.operation.op_id for one in follow_ups(plan, operation, operation.order_id))):
            ids.append(op_id)
            assert [shard.index for shard in parts if shard.has_operation(op_id)] == [number % count]
    assert len(set(ids)) == len(ids) > 120


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 8), st.integers(1, len(MARKETS)), st.integers(0, 3), st.booleans())
def test_each_subscriber_belongs_to_one_shard_with_the_number_that_it_has_in_the_plan(count, markets, steady, unusual):
    habits: dict[str, Any] = {"absent_s": 5.0, "slow_pause_s": 5.0, "trickle_share": 0.5} if unusual and steady else {}
    plan = LoadPlan(api_url="http://x", markets=MARKETS[:markets], subscribers_per_market=steady, **habits)
    parts = [roles_of(plan, shard) for shard in shards(count)]
    whole = [role._replace(number=number) for number, role in enumerate(roles(plan))]
    assert sorted((role for part in parts for role in part), key=lambda role: role.number) == whole
    symbols = [{role.symbol for role in part} for part in parts]
    assert sum(len(one) for one in symbols) == len(set().union(*symbols))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"index": 3, "count": 3, "starts_at_ns": 1}, "index=3 must be a whole number from 0 to 2"),
        ({"index": -1}, "index=-1 must be"),
        ({"count": 0}, "count=0 must be a whole number from 1 to 64"),
        ({"count": 65, "starts_at_ns": 1}, "count=65 must be"),
        ({"count": 2}, "starts_at_ns=0, but 2 shards need one start time"),
        ({"starts_at_ns": -1}, "starts_at_ns=-1 must be"),
    ],
)
def test_a_part_that_no_plan_has_is_refused(changes: dict[str, int], message: str):
    with pytest.raises(UsageError, match=message):
        Shard(**changes)


def test_engines_of_all_shards_on_one_start_time_send_the_plan_and_end_at_one_operation():
    """The intended times are exact, because they are offsets of one start time."""

    async def main() -> tuple[list[list[Attempt]], list[Engine], LoadPlan, int]:
        exchange = Exchange()
        server = await exchange.start()
        plan = plan_of(exchange.url, rate_per_s=300.0, duration_max_s=30.0)
        rows: list[list[Attempt]] = [[] for _ in range(3)]
        loop = asyncio.get_running_loop()
        zero_ns = time.monotonic_ns() + NS_PER_S // 10
        engines = [Engine(plan, loop, record=rows[shard.index].append, shard=shard) for shard in shards(3)]
        runs = [asyncio.create_task(engine.run(zero_ns)) for engine in engines]
        await asyncio.sleep(0.2)
        for engine in engines:
            engine.pacer.stop_at(zero_ns + NS_PER_S // 2)
        async with asyncio.timeout(20):
            await asyncio.gather(*runs)
        server.close()
        return rows, engines, plan, zero_ns

    rows, engines, plan, zero_ns = within(main())
    assert {engine.pacer.end_ns for engine in engines} == {NS_PER_S // 2}
    total = operations_before(plan, NS_PER_S // 2)
    assert [engine.intended for engine in engines] == [shard.share_of(total) for shard in shards(3)]
    firsts = [(row.intended_ns - zero_ns, row.content) for part in rows for row in part if row.kind == "first"]
    assert sorted(firsts) == sent(plan, Shard())[:total]


def test_a_stop_that_comes_too_late_shows_in_the_end_of_the_schedule():
    async def main() -> Engine:
        exchange = Exchange()
        server = await exchange.start()
        plan = plan_of(exchange.url, rate_per_s=300.0, duration_max_s=30.0)
        engine = Engine(plan, asyncio.get_running_loop(), record=lambda _: None)
        zero_ns = time.monotonic_ns()
        run = asyncio.create_task(engine.run(zero_ns))
        async with asyncio.timeout(20):
            while engine.intended < 20:  # noqa: ASYNC110 - nothing signals an operation
                await asyncio.sleep(0.01)
        engine.pacer.stop_at(zero_ns + 1)
        await asyncio.wait_for(run, 20)
        server.close()
        return engine

    engine = within(main())
    assert engine.intended >= 20
    assert engine.pacer.end_ns > 1


def test_an_engine_that_is_stopped_before_its_start_sends_nothing():
    async def main() -> Engine:
        plan = plan_of("http://127.0.0.1:9")
        engine = Engine(plan, asyncio.get_running_loop(), record=lambda _: None)
        engine.stop_issuing()
        await engine.pacer.wait_until(time.monotonic_ns() + 60 * NS_PER_S)
        await engine.run()
        return engine

    engine = within(main())
    assert (engine.intended, engine.pacer.end_ns) == (0, 0)


def test_a_generator_that_is_ready_too_late_ends_invalid(tmp_path: Path):
    """A load that begins in its middle measures nothing."""
    file = tmp_path / "plan.json"
    file.write_text(LoadPlan(api_url="http://127.0.0.1:9", markets=("ACME",)).to_json())
    argv = [sys.executable, "-m", "kit.load", "--plan", str(file), "--out", str(tmp_path / "out")]
    argv += ["--shard", "1", "--shards", "3", "--starts-at-ns", str(time.time_ns())]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1
    # In one line, because a run's reason is made of it.
    assert re.fullmatch(r"load: shard 1 of 3 was ready [\d.]+ s after the common start > 0\.1 s\n", ended.stderr)
    assert not (tmp_path / "out" / "summary.json").exists()


@pytest.mark.slow
def test_three_generators_leave_the_history_that_one_leaves(exchange_thread: Exchange, tmp_path: Path):
    """The exchange answers the second sender of a key as the first, so both loads can use it at once."""
    plan = replace(plan_of(exchange_thread.url), rate_per_s=150.0, duration_max_s=60.0, resubmit_early_ratio=0.2)
    starts_at_ns = time.time_ns() + 15 * NS_PER_S
    parts = [*shards(3, starts_at_ns), Shard(starts_at_ns=starts_at_ns)]
    folders = [*(shard_folder(tmp_path / "shards", index) for index in range(3)), tmp_path / "whole"]
    runs = [LoadRun.start(plan, folder, shard) for shard, folder in zip(parts, folders, strict=True)]
    for run in runs:
        run.stop_issuing_at(starts_at_ns + 3 * NS_PER_S)
    assert (tmp_path / "whole" / STOP_FILE).exists()
    deadline_s = time.monotonic() + 60
    while any(run.alive for run in runs):
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    summary = merge_shards(
        plan, count=3, starts_at_ns=starts_at_ns, shards_dir=tmp_path / "shards", out_dir=tmp_path / "merged"
    )
    merged, whole = read_history(tmp_path / "merged"), read_history(tmp_path / "whole")
    assert merged.stats.intended == whole.stats.intended == summary["intended"] > 300
    columns = ["op_id", "op", "client_id", "idempotency_key", "order_id", "qty", "price", "intended_ns"]
    one, other = (
        history.attempts.query("kind == 'first'")[columns].sort_values("op_id", ignore_index=True)
        for history in (merged, whole)
    )
    # Each generator reads both clocks once, so that its epoch times are exact to the time between the two readings.
    assert (one.pop("intended_ns") - other.pop("intended_ns")).abs().max() < 1_000_000
    assert one.equals(other)
