"""Measure how much load three shards carry, compared with one, when each has the cores of one.

Tasks of Fargate have cores of their own, this machine has two. So that is simulated: the shards of one plan run one
after the other, each alone on the core that the single generator had, against a server that does nothing on the other
core. What is left out is what tasks would share on AWS: the network, and PaperBroker itself.

A rate is honest if every operation was sent, and 99 % of them within the lag that the gate allows any run. The target
is that three shards carry at least 2.5 times the honest rate of one, which is found in steps of 40 %.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from kit.load import LoadPlan, Shard
from kit.load.shards import duration_ns, operations_before
from kit.model import NS_PER_S
from kit.slo import LAG_MS_P99_MAX
from tests.bench.load_engine import DURATION_S, measure, start_server

SHARDS = 3
FACTOR = 2.5
# A plan accepts at most 20,000 operations a second.
RATE_FIRST, RATE_STEP, RATE_MAX = 2_000.0, 1.4, 20_000 / FACTOR
# From a shard's start to its first operation.
LEAD_S = 3.0


def main() -> None:
    """Find the honest rate of one generator, then send 2.5 times as much from three."""
    with server() as url:
        plan = LoadPlan(
            api_url=url, markets=("ACME", "BOLT", "CRUX"), duration_max_s=DURATION_S, subscribers_per_market=0
        )
        honest = honest_rate(plan)
        print(f"one generator is honest up to {honest:.0f} operations/s", flush=True)
        if honest:
            carried = carry(replace(plan, rate_per_s=FACTOR * honest))
            print(f"{SHARDS} shards carry {FACTOR} times the honest rate of one: {carried}", flush=True)


def honest_rate(plan: LoadPlan) -> float:
    """Return the highest rate, in steps of 40 %, that one generator sends in time; 0 if even the first is not."""
    honest, rate = 0.0, RATE_FIRST
    while rate <= RATE_MAX:
        at_rate = replace(plan, rate_per_s=rate)
        if not sends_in_time("one", at_rate, None):
            break
        honest, rate = rate, rate * RATE_STEP
    return honest


def carry(plan: LoadPlan) -> bool:
    """Send the plan from three shards, one after the other; returns whether each was in time."""
    in_time = []
    for index in range(SHARDS):
        starts_at_ns = time.time_ns() + int(LEAD_S * NS_PER_S)
        shard = Shard(index=index, count=SHARDS, starts_at_ns=starts_at_ns)
        in_time.append(sends_in_time(f"{index} of {SHARDS}", plan, shard))
    return all(in_time)


def sends_in_time(name: str, plan: LoadPlan, shard: Shard | None) -> bool:
    """Send a plan, or one shard of it, and return whether that was honest."""
    measured = measure(plan, shard)
    print(f"{name:7}", json.dumps(measured), flush=True)
    planned = (shard or Shard()).share_of(operations_before(plan, duration_ns(plan)))
    complete = measured["intended"] == planned and not measured["dropped"]
    return complete and measured["lag_ms_p99"] <= LAG_MS_P99_MAX


@contextmanager
def server() -> Iterator[str]:
    """Run the trivial server on the last core and this process, with its children, on the first; yields its URL."""
    cores = sorted(os.sched_getaffinity(0))
    listening = socket.create_server(("127.0.0.1", 0), backlog=1_024)
    serving = start_server(listening, {cores[-1]})
    os.sched_setaffinity(0, {cores[0]})
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        os.sched_setaffinity(0, set(cores))
        serving.kill()
        serving.wait()
        listening.close()


if __name__ == "__main__":
    main()
