"""Measure the cost and the lag of the load generator against a server that does nothing.

There are two plans: orders only, and the mix of a game day (resubmissions, cancels, reads). The generator runs on one
core, the server on another. The target is a lag p99 of at most 1 ms at 2,000 requests a second, while the history is
written. On a virtual machine whose host is busy, a process that only wakes up at the scheduled times and uses as much
CPU may already miss that target, so the lag of such a process is measured for comparison.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import cast

from kit.load import LoadPlan, LoadRun
from kit.load.__main__ import take_priority
from kit.load.files import read_summary
from kit.load.schedule import arrivals_ns
from kit.load.shards import Shard
from kit.model import NS_PER_S

DURATION_S = float(os.environ.get("BENCH_S", "8"))
RATES = (500, 2_000, 4_000)
ANSWER = b'{"orderId":"o","status":"ACCEPTED"}'
HEAD = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
REPLY = HEAD % len(ANSWER) + ANSWER


class Trivial(asyncio.Protocol):
    """Answers every request. Each must arrive in one piece, as those of the generator do."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(REPLY * (data.count(b" HTTP/1.1\r\n")))


async def _serve(listening: socket.socket) -> None:
    server = await asyncio.get_running_loop().create_server(Trivial, sock=listening)
    await server.serve_forever()


def serve(descriptor: int) -> None:
    """Run the trivial server on a socket that the parent opened, until it is killed."""
    import uvloop

    uvloop.run(_serve(socket.socket(fileno=descriptor)))


def start_server(listening: socket.socket, cores: set[int]) -> subprocess.Popen[bytes]:
    """Start the trivial server on these cores."""
    descriptor = listening.fileno()
    code = f"from tests.bench.load_engine import serve; serve({descriptor})"
    server = subprocess.Popen([sys.executable, "-c", code], pass_fds=[descriptor])
    os.sched_setaffinity(server.pid, cores)
    return server


def measure(plan: LoadPlan, shard: Shard | None = None) -> dict[str, float]:
    """Send a plan, or one shard of it, to its end, and return what that cost and how late it was."""
    begins_s = shard.starts_at_ns / NS_PER_S if shard else 0.0
    with tempfile.TemporaryDirectory() as folder:
        run = LoadRun.start(plan, Path(folder), shard)
        try:
            time.sleep(max(0.0, begins_s - time.time()) + plan.duration_max_s + 0.5)
            stats = run.finish()
            summary = read_summary(Path(folder))
        finally:
            run.close()
    return {
        "rate": plan.rate_per_s,
        "intended": stats.intended,
        "requests_per_s": round(stats.sent / plan.duration_max_s),
        "lag_ms_p50": summary["lag_ms_p50"],
        "lag_ms_p99": stats.lag_ms_p99,
        "lag_ms_max": summary["lag_ms_max"],
        "cpu_us_per_request": round(summary["cpu_s"] / stats.sent * 1e6),
        "dropped": stats.dropped,
        "not_ok": stats.fail + stats.info,
        "connections": summary["connections_opened"],
    }


def timer_lag_ms(rate_per_s: float, spin_us: float) -> dict[str, float]:
    """Measure the least possible lag: that of a loop that wakes up at Poisson times and spins for `spin_us`."""
    take_priority()
    gc.disable()
    lags, zero = [], time.monotonic_ns() + 100_000_000
    for offset_ns in arrivals_ns(7, rate_per_s, DURATION_S):
        time.sleep(max(0.0, (zero + offset_ns - time.monotonic_ns()) / 1e9))
        woken = time.monotonic_ns()
        lags.append((woken - zero - offset_ns) / 1e6)
        while time.monotonic_ns() < woken + spin_us * 1_000:
            pass
    lags.sort()
    return {
        "rate": rate_per_s,
        "spin_us": spin_us,
        "lag_ms_p50": lags[len(lags) // 2],
        "lag_ms_p99": lags[len(lags) * 99 // 100],
    }


def _print_timer(rate_per_s: float, spin_us: float) -> None:
    # In a process of its own, so that its priority does not affect later measurements.
    code = f"from tests.bench.load_engine import timer_lag_ms; print('timer ', timer_lag_ms({rate_per_s}, {spin_us}))"
    subprocess.run([sys.executable, "-c", code], check=True)


def main() -> None:
    """Measure each rate with both plans, each followed by a timer loop of the same CPU cost."""
    cores = sorted(os.sched_getaffinity(0))
    listening = socket.create_server(("127.0.0.1", 0), backlog=1_024)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    server = start_server(listening, {cores[-1]})
    os.sched_setaffinity(0, {cores[0]})
    try:
        for rate in RATES:
            mixed = LoadPlan(
                api_url=url,
                markets=("ACME", "BOLT"),
                rate_per_s=rate,
                duration_max_s=DURATION_S,
                subscribers_per_market=0,
            )
            reads = {"book_ratio": 0, "trades_ratio": 0, "read_back_ratio": 0}
            bare = replace(mixed, resubmit_early_ratio=0, cancel_ratio=0, resubmit_ratio=0, **reads)
            for name, plan in (("bare", bare), ("mixed", mixed)):
                measured = measure(plan)
                print(f"{name:6}", json.dumps(measured), flush=True)
                _print_timer(rate, measured["cpu_us_per_request"])
    finally:
        os.sched_setaffinity(0, set(cores))
        server.kill()
        server.wait()
        listening.close()


if __name__ == "__main__":
    main()
