"""Measure the time and memory in which a run is judged, from 10⁵ to 10⁷ ledger events, each size in its own process.

The judge has one core. Two million events are the promised million orders. Printed are wall and CPU time, peak resident
memory, and whether columns went to files.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SIZES = (100_000, 1_000_000, 2_000_000, 10_000_000)
TIMEOUT_S = 600
SPINS, SPIN = 300, 1_000_000
PROMISED_EVENTS, PROMISED_S, PROMISED_MIB = 2_000_000, 12, 1024
COLUMNS = ("events", "orders", "wall s", "cpu s", "µs an event", "peak MiB", "spilled", "failed")
WIDTHS = (12, 10, 8, 8, 12, 9, 8, 7)


def make(folder: str, events: str) -> None:
    """Write the run. It has its own process, so that its memory is not counted."""
    from tests.histories.large import write_run

    print(json.dumps(write_run(Path(folder), int(events))))


def judge(folder: str) -> None:
    """Judge the run on one core and print its cost."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    from kit import integrity
    from kit.integrity.arrays.columns import ColumnStorage

    spilled, file = [], ColumnStorage.file
    ColumnStorage.file = lambda storage: spilled.append(1) or file(storage)  # type: ignore[method-assign]
    started, cpu = time.perf_counter(), time.process_time()
    found = integrity.check_run(Path(folder))
    print(
        json.dumps(
            {
                "wall_s": time.perf_counter() - started,
                "cpu_s": time.process_time() - cpu,
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "spilled": bool(spilled),
                "failed": sum(one.status.value != "pass" for one in found),
            }
        )
    )


def busy_factor() -> float:
    """How much slower this machine is now than at its best, because other processes share its cores."""
    spins = []
    for _ in range(SPINS):
        started = time.process_time()
        sum(range(SPIN))
        spins.append(time.process_time() - started)
    return sorted(spins)[SPINS // 2] / min(spins)


def _in_own_process(what: str, *arguments: str) -> dict[str, Any]:
    code = f"from tests.bench.integrity import {what}; {what}(*{arguments!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    return json.loads(done.stdout)


def _print(*cells: Any) -> None:
    print("".join(f"{cell!s:>{width}}" for cell, width in zip(cells, WIDTHS, strict=True)), flush=True)


def main() -> None:
    """Measure the sizes in INTEGRITY_EVENTS (separated by commas), by default all."""
    chosen = os.environ.get("INTEGRITY_EVENTS", "")
    _print(*COLUMNS)
    for events in [int(float(one)) for one in chosen.split(",") if one] or SIZES:
        with tempfile.TemporaryDirectory() as folder:
            rows = _in_own_process("make", folder, str(events))
            cost = _in_own_process("judge", folder)
        _print(
            f"{rows['events']:,}",
            f"{rows['orders']:,}",
            f"{cost['wall_s']:.1f}",
            f"{cost['cpu_s']:.1f}",
            f"{cost['cpu_s'] / rows['events'] * 1e6:.1f}",
            f"{cost['peak_mib']:.0f}",
            "yes" if cost["spilled"] else "no",
            cost["failed"],
        )
    print(f"this machine was {busy_factor():.1f} times slower than at its best")
    print(f"promised: {PROMISED_EVENTS:,} events (1M orders, 1M attempts) in {PROMISED_S} s and {PROMISED_MIB} MiB")
