"""Fail a case that takes too much memory, or that waits for something that never comes."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"
PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


class TooMuchMemory(AssertionError):
    """One case took more memory than it may."""


class Blocked(Exception):
    """One case did not end."""


@contextmanager
def limited(*, memory_mb: int, seconds: float) -> Iterator[None]:
    """Raise TooMuchMemory if the block needs more than `memory_mb` beyond what the process has, Blocked if it hangs."""
    CLEAR.write_text(RESET_PEAK)
    before_mb = _peak_mb()
    with _ended_within(seconds):
        yield
    if (took_mb := _peak_mb() - before_mb) > memory_mb:
        raise TooMuchMemory(f"took {took_mb:.0f} MB of memory, more than {memory_mb} MB")


@contextmanager
def _ended_within(seconds: float) -> Iterator[None]:
    """Interrupt the block after some seconds. The timer of pytest-timeout goes on afterwards."""

    def interrupt(*_: object) -> None:
        raise Blocked(f"did not end within {seconds:g} s")

    handler = signal.signal(signal.SIGALRM, interrupt)
    rest_s, interval_s = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, rest_s, interval_s)
        signal.signal(signal.SIGALRM, handler)


def _peak_mb() -> float:
    found = PEAK.search(STATUS.read_text())
    assert found, "the kernel reports no peak of the resident memory"
    return int(found.group(1)) / 1024
