"""The phases of a run: recorded as they begin, so that other processes can follow it, and as windows to judge by."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kit.errors import EvidenceMissing
from kit.model import FaultWindow, Phase
from kit.scenarios import Scenario

PHASES_FILE = "phases.jsonl"
# The recovery window takes at most this share of the load after the fault, the rest is `after`.
RECOVERY_SHARE_MAX = 0.6


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
    file = os.open(run_dir / PHASES_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        # One write with O_APPEND: the kernel does not interleave it with another writer's line.
        os.write(file, line.encode())
    finally:
        os.close(file)


def read_phases(run_dir: Path) -> tuple[PhaseStart, ...]:
    """Read the phases that have begun, in order; none if the run has not reached its first phase.

    A last line without its line end is still being written, or its writer was killed, and is left out.
    Raises EvidenceMissing for any other line that is not a phase.
    """
    try:
        text = (run_dir / PHASES_FILE).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ()
    *lines, _incomplete = text.split("\n")
    return tuple(_parse(line) for line in lines)


def _parse(line: str) -> PhaseStart:
    try:
        read = json.loads(line)
        return PhaseStart(RunPhase(read["phase"]), float(read["t"]))
    except (ValueError, KeyError, TypeError) as error:
        raise EvidenceMissing(f"{PHASES_FILE}: {line[:100]!r} is not a phase of a run ({error})") from error


def phase_windows(start: float, fault: FaultWindow | None, end: float, scenario: Scenario) -> tuple[Phase, ...]:
    """Divide a load into before, during, recovery and after (epoch s); only `before` if nothing was injected.

    Objectives of `after` must hold once the scenario's recovery time is over. A load that ends early leaves the last
    1 - RECOVERY_SHARE_MAX of its time after the fault to `after`.
    """
    if not start or end <= start:
        return ()
    if fault is None or fault.injected_at is None:
        return (Phase(name="before", start=start, end=end),)
    over = min(fault.ended_at or end, end)
    recovered = over + min(scenario.recovery_s_max, RECOVERY_SHARE_MAX * (end - over))
    return (
        Phase(name="before", start=start, end=fault.injected_at),
        Phase(name="during", start=fault.injected_at, end=over),
        Phase(name="recovery", start=over, end=recovered),
        Phase(name="after", start=recovered, end=end),
    )
