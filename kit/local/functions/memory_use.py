"""Measure the memory of an execution environment: the resident memory of its processes, from /proc."""

from __future__ import annotations

from pathlib import Path

PROC = Path("/proc")
KIB, MIB = 1024, 1024 * 1024
# Processes of one environment that are looked at.
PROCESSES_MAX = 256


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process and its descendants; 0 if it has ended."""
    return sum(_status(each, "VmRSS:") for each in descendants(pid))


def peak_bytes(pid: int) -> int:
    """Return the largest resident memory that the process itself has had."""
    return _status(pid, "VmHWM:")


def descendants(pid: int) -> list[int]:
    """Return a process and all that it has started and not yet waited for."""
    found = [pid]
    for each in found:
        for children in (PROC / str(each) / "task").glob("*/children"):
            found += _numbers(children)
        if len(found) >= PROCESSES_MAX:
            break
    return found[:PROCESSES_MAX]


def _numbers(file: Path) -> list[int]:
    try:
        return [int(word) for word in file.read_text(encoding="ascii").split()]
    except OSError:
        return []


def _status(pid: int, name: str) -> int:
    try:
        text = (PROC / str(pid) / "status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * KIB
    return 0
