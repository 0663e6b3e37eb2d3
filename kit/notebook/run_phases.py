"""Record the phases of a run as they begin (`phases.jsonl`), so that other processes can follow it."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from kit.errors import EvidenceMissing, UnreadableFile
from kit.files import parse_json, read_bytes

PHASES_FILE = "phases.jsonl"
PHASES_BYTES_MAX = 64 * 1024
# The year 9999.
TIME_S_MAX = 253_402_300_799


class RunPhase(StrEnum):
    """The phases of a run, in order. A run that is stopped early skips to `closed`."""

    DEPLOY = "deploy"
    STEADY_STATE = "steady_state"
    FAULT = "fault"
    RECOVERY = "recovery"
    RECONCILE = "reconcile"
    CHECK = "check"
    VERDICT = "verdict"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class PhaseStart:
    """A phase of a run and when it began, in epoch seconds."""

    phase: RunPhase
    t: float


def record_phase(run_dir: Path, phase: RunPhase) -> None:
    """Append that the phase begins now; other processes see the whole line or none of it."""
    line = json.dumps({"phase": phase.value, "t": time.time()}) + "\n"
    try:
        file = os.open(run_dir / PHASES_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            # One write with O_APPEND: the kernel does not interleave it with another writer's line.
            os.write(file, line.encode())
        finally:
            os.close(file)
    except OSError as error:
        raise EvidenceMissing(f"{run_dir / PHASES_FILE} cannot be written: {error.strerror}") from error


def read_phases(run_dir: Path) -> tuple[PhaseStart, ...]:
    """Read the phases that have begun, in order; none if the run has not reached its first phase.

    A last line without its line end is still being written, or its writer was killed, and is left out.
    Raises EvidenceMissing for any other line that is not a phase.
    """
    if not (run_dir / PHASES_FILE).exists():
        return ()
    text = read_bytes(run_dir / PHASES_FILE, PHASES_BYTES_MAX).decode(errors="replace")
    *lines, _incomplete = text.split("\n")
    return tuple(_parse(line) for line in lines)


def _parse(line: str) -> PhaseStart:
    try:
        read: Any = parse_json(line, PHASES_FILE)[0]
        t = float(read["t"])
        if not 0 <= t <= TIME_S_MAX:
            raise ValueError(f"t={t} is not a time in epoch seconds")
        return PhaseStart(RunPhase(read["phase"]), t)
    except (UnreadableFile, ValueError, KeyError, TypeError) as error:
        raise EvidenceMissing(f"{PHASES_FILE}: {line[:100]!r} is not a phase of a run ({error})") from error
