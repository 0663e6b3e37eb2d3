"""aws:ecs:task-kill-process: signal the processes of a task by name. Nothing to undo: ECS replaces what it lost.

A name matches the process's own name, or the file name of any word of its command line: everything in a
container may be `python`, and then `worker.py` says which.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Self

import psutil

from kit.local.fis.actions.context import ActionContext
from kit.local.fis.actions.task_links import tasks_of
from kit.local.fis.errors import ConfigurationFailure

if TYPE_CHECKING:
    from kit.local.ecs.tasks import Task

SIGNAL = "SIGTERM"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskKillProcess:
    """AWS's default is SIGTERM."""

    process_name: str
    signal: signal.Signals = signal.Signals[SIGNAL]

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        return cls(process_name=parameters["processName"], signal=_signal_of(parameters.get("signal", SIGNAL)))

    async def start(self, context: ActionContext) -> None:
        """Find first, then kill: a template that names no process of some task must not hurt the others."""
        tasks = tasks_of(context)
        found = await asyncio.gather(*(asyncio.to_thread(self._find, task) for task in tasks))
        for task, processes in zip(tasks, found, strict=True):
            if not processes:
                raise ConfigurationFailure(f"process {self.process_name!r} does not run in task {task.id}")
        for process in (process for processes in found for process in processes):
            try:
                process.send_signal(self.signal)
            except psutil.NoSuchProcess:
                continue  # It ended by itself, or with its parent that was signalled a moment ago.

    def _find(self, task: Task) -> list[psutil.Process]:
        found = []
        for pid in task.pids():
            try:
                process = psutil.Process(pid)
                if self._matches(process):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue  # It ended while we looked.
        return found

    def _matches(self, process: psutil.Process) -> bool:
        return process.name() == self.process_name or any(
            self.process_name in (word, PurePath(word).name) for word in process.cmdline()
        )


def _signal_of(name: str) -> signal.Signals:
    """`SIGKILL`, or `KILL` as kill(1) also takes it."""
    try:
        return signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
    except KeyError:
        raise ConfigurationFailure(f"signal {name!r} does not exist") from None
