"""aws:ecs:task-kill-process: signal the processes of a task by name, as killall(1) does.

The name must equal the process's own name (its first 15 characters: the kernel keeps no more). ECS replaces tasks that
end. Processes that a signal only stops (SIGSTOP) are continued when the experiment ends, unless one of its later
actions has sent SIGCONT.

Unlike AWS: any signal is sent, where the user guide names SIGTERM and SIGKILL only; a stopped process
stays stopped on AWS, until its container health check fails. `python` and `python3` also match the interpreter
that tasks share here, whatever its file is called.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Self

import psutil

from kit.local.ecs.tasks import Task
from kit.local.fis.actions.context import ActionContext
from kit.local.fis.actions.task_links import tasks_of
from kit.local.fis.collaborators import Collaborators
from kit.local.fis.errors import ConfigurationFailure
from kit.local.fis.journal import Entry

UNDO_KIND = "ecs-task-stopped-processes"
SIGNAL = "SIGTERM"
NAME_CHARS_MAX = 15
INTERPRETERS = frozenset({"python", "python3"})
STOPPING_SIGNALS = frozenset({signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskKillProcess:
    """AWS's default is SIGTERM."""

    process_name: str
    signal: signal.Signals = signal.Signals[SIGNAL]

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        return cls(process_name=parameters["processName"], signal=_signal_of(parameters.get("signal", SIGNAL)))

    async def start(self, context: ActionContext) -> None:
        """Find the processes in all tasks before any signal: if one task has no such process, no task is hit."""
        tasks = tasks_of(context)
        found = await asyncio.gather(*(asyncio.to_thread(self._find, task) for task in tasks))
        for task, processes in zip(tasks, found, strict=True):
            if not processes:
                raise ConfigurationFailure(f"process {self.process_name!r} does not run in task {task.id}")
        for task, processes in zip(tasks, found, strict=True):
            if self.signal in STOPPING_SIGNALS:
                context.remember(UNDO_KIND, {"task": task.arn, "processes": processes}, until_experiment_ends=True)
            for pid, started_at in processes:
                _send(pid, started_at, self.signal)
        if self.signal is signal.SIGCONT:
            _strike_out(context, {tuple(process) for processes in found for process in processes})

    def _find(self, task: Task) -> list[list[int]]:
        """Return [process id, start time] of each match. The start time distinguishes reused process ids."""
        identities = ([pid, started_at] for pid in task.pids() if (started_at := _started_at(pid)) is not None)
        return [identity for identity in identities if self._matches(identity[0])]

    def _matches(self, pid: int) -> bool:
        try:
            # psutil completes a name that the kernel has cut off; killall compares the cut one.
            name = psutil.Process(pid).name()[:NAME_CHARS_MAX]
        except psutil.NoSuchProcess:
            return False  # The process has just ended.
        names = {self.process_name[:NAME_CHARS_MAX]}
        if self.process_name in INTERPRETERS:
            names.add(PurePath(sys.executable).name[:NAME_CHARS_MAX])
        return name in names


async def undo(services: Collaborators, entry: Entry) -> None:
    """Continue the stopped processes that still exist."""
    for pid, started_at in entry.data["processes"]:
        _send(pid, started_at, signal.SIGCONT)


def _strike_out(context: ActionContext, continued: set[tuple[int, ...]]) -> None:
    """Forget the stops whose processes have all been continued or have ended."""
    for entry in [entry for entry in context.kept if entry.kind == UNDO_KIND]:
        stopped = {tuple(process) for process in entry.data["processes"]}
        if all(process in continued or _started_at(process[0]) != process[1] for process in stopped):
            context.strike_out(entry)


def _send(pid: int, started_at: int, signum: signal.Signals) -> None:
    if _started_at(pid) != started_at:
        return  # The process has ended already, perhaps with its parent that was signalled just before.
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return


def _started_at(pid: int) -> int | None:
    """Return the start time in clock ticks since boot; None when there is no such process."""
    try:
        stat = Path("/proc", str(pid), "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Field 22; the name in field 2 may hold spaces and brackets.
    return int(stat.rpartition(")")[2].split()[19])


def _signal_of(name: str) -> signal.Signals:
    """Read `SIGKILL`, or `KILL` as kill(1) accepts it too."""
    try:
        return signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
    except KeyError:
        raise ConfigurationFailure(f"signal {name!r} does not exist") from None
