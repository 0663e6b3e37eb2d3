"""What the load generator costs and how late it sends, against a server that does nothing.

Two plans: bare orders, and the mix of a game day (retries, cancels, probes, reads). Generator on one core, server on
another. The claim to look at: at 2,000 requests a second, lag p99 ≤ 1 ms, with the history being written. On a virtual
machine whose host is busy the bare timer alone is later than that; so it is measured as well, to be compared with.
"""

from __future__ import annotations

import asyncio
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

from kit.load.__main__ import take_priority
from kit.load.files import read_summary
from kit.load.plan import LoadPlan
from kit.load.runner import LoadRun

DURATION_S = float(os.environ.get("BENCH_S", "8"))
RATES = (500, 2_000, 4_000)
ANSWER = b'{"orderId":"o","status":"ACCEPTED"}'
HEAD = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
REPLY = HEAD % len(ANSWER) + ANSWER


class Trivial(asyncio.Protocol):
    """Answers every request that arrives in one piece, which those of the generator do."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(REPLY * (data.count(b" HTTP/1.1\r\n")))


async def _serve(listening: socket.socket) -> None:
    server = await asyncio.get_running_loop().create_server(Trivial, sock=listening)
    await server.serve_forever()


def serve(descriptor: int) -> None:
    """The trivial server on a socket that the parent opened; ends when it is killed."""
    import uvloop

    uvloop.run(_serve(socket.socket(fileno=descriptor)))


def _start_server(listening: socket.socket, cores: set[int]) -> subprocess.Popen[bytes]:
    descriptor = listening.fileno()
    code = f"from tests.bench.load_engine import serve; serve({descriptor})"
    server = subprocess.Popen([sys.executable, "-c", code], pass_fds=[descriptor])
    os.sched_setaffinity(server.pid, cores)
    return server


def _measure(plan: LoadPlan) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        run = LoadRun.start(plan, Path(folder))
        try:
            time.sleep(plan.duration_max_s + 0.5)
            stats = run.finish()
            summary = read_summary(Path(folder))
        finally:
            run.close()
    return {
        "rate": plan.rate_per_s,
        "requests_per_s": round(stats.sent / plan.duration_max_s),
        "lag_ms_p50": summary["lag_ms_p50"],
        "lag_ms_p99": stats.lag_ms_p99,
        "lag_ms_max": summary["lag_ms_max"],
        "cpu_us_a_request": round(summary["cpu_s"] / stats.sent * 1e6),
        "dropped": stats.dropped,
        "not_ok": stats.fail + stats.info,
        "connections": summary["connections_opened"],
    }


def timer_lag_ms(rate_per_s: float, duration_s: float) -> dict[str, float]:
    """How late a process that does nothing else wakes up at this rate: what no generator on this machine can beat."""
    take_priority()
    lags, due = [], time.monotonic_ns()
    for _ in range(int(rate_per_s * duration_s)):
        due += int(1e9 / rate_per_s)
        time.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
        lags.append((time.monotonic_ns() - due) / 1e6)
    lags.sort()
    return {"rate": rate_per_s, "lag_ms_p50": round(lags[len(lags) // 2], 3), "lag_ms_p99": lags[len(lags) * 99 // 100]}


def main() -> None:
    """Measure each rate, bare and mixed, and the bare timer before and after."""
    # In a process of its own: its priority must not be that of everything measured later.
    timer = [sys.executable, "-c", "from tests.bench.load_engine import timer_lag_ms; print(timer_lag_ms(2000, 4))"]
    subprocess.run(timer, check=True)
    cores = sorted(os.sched_getaffinity(0))
    listening = socket.create_server(("127.0.0.1", 0), backlog=1_024)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    server = _start_server(listening, {cores[-1]})
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
            bare = replace(mixed, retry_ratio=0, cancel_ratio=0, book_ratio=0, probe_ratio=0, get_ratio=0)
            for name, plan in (("bare", bare), ("mixed", mixed)):
                print(f"{name:6}", json.dumps(_measure(plan)), flush=True)
    finally:
        os.sched_setaffinity(0, set(cores))
        server.kill()
        server.wait()
        listening.close()
    subprocess.run(timer, check=True)


if __name__ == "__main__":
    main()
