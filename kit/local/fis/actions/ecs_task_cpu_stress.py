"""aws:ecs:task-cpu-stress: leave a task only a part of its CPU time.

On Fargate the stress workers run inside the task's CPU quota: they use it up early in each 100 ms period, and the
kernel then freezes the whole task until the next period. Here the task's own processes are stopped and continued
(SIGSTOP, SIGCONT) in that rhythm instead. Without cgroups, real workers would slow every process on the machine.

Unlike AWS: no stress process runs; the task is stopped and continued within each 100 ms, so that it starves alone.

The task keeps this share of its time: vcpu / (vcpu + workers x percent).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import os
import signal
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from kit.local.ecs.tasks import Task
from kit.local.fis.actions.context import ActionContext
from kit.local.fis.actions.task_links import tasks_of
from kit.local.fis.collaborators import Collaborators
from kit.local.fis.errors import InvalidTarget
from kit.local.fis.journal import Entry

UNDO_KIND = "ecs-task-cpu-stress"
PERCENT = 100
# 0 means one worker for each processor that the task sees.
WORKERS = 0
# A Fargate task sees at least two processors, however small its share of them is.
PROCESSORS_SEEN_MIN = 2
VCPU_UNITS = 1024
# The size of a task definition without `cpu`: the smallest one of Fargate.
VCPU_DEFAULT = 0.25
# The kernel's period of CPU quotas.
PERIOD_S = 0.1
# The least share that a task keeps, however many workers there are.
SHARE_MIN = 0.02
# New processes of the task are looked for this often, because each look reads all of /proc.
LOOK_S = 1.0

# The loops in force, by the handle in their journal entry.
_loops: dict[str, asyncio.Task[None]] = {}
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCpuStress:
    """AWS's defaults."""

    percent: int = PERCENT
    workers: int = WORKERS

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        return cls(percent=int(parameters.get("percent", PERCENT)), workers=int(parameters.get("workers", WORKERS)))

    async def start(self, context: ActionContext) -> None:
        tasks = tasks_of(context)
        for task in tasks:
            if not task.pids():
                raise InvalidTarget(f"task {task.id} is {task.status}: it has no process to stress")
        for task in tasks:
            entry = context.remember(UNDO_KIND, {"task": task.arn, "markers": _markers(task)})
            handle = f"stress-{next(_numbers)}"
            entry.handles.append(handle)
            awake_s = PERIOD_S * self.share_left(_vcpu(task))
            _loops[handle] = asyncio.create_task(_starve(task, awake_s), name=f"fis-stress-{task.id[:8]}")

    def share_left(self, vcpu: float) -> float:
        """Return the share of its time that a task of this size keeps."""
        workers = self.workers or max(PROCESSORS_SEEN_MIN, math.ceil(vcpu))
        return max(SHARE_MIN, vcpu / (vcpu + workers * self.percent / 100))


async def undo(services: Collaborators, entry: Entry) -> None:
    """End the loop and continue every stopped process, also those that a killed server left stopped."""
    loops = [_loops.pop(handle) for handle in entry.handles if handle in _loops]
    for loop in loops:
        loop.cancel()
    ended = await asyncio.gather(*loops, return_exceptions=True)
    await asyncio.to_thread(_resume_marked, entry.data["markers"])
    for error in ended:
        # A crashed loop means that the fault ended early: the action must fail.
        if isinstance(error, Exception):
            raise error


async def _starve(task: Task, awake_s: float) -> None:
    """Stop and continue the task's processes until cancelled, or until the task is over."""
    clock = asyncio.get_running_loop().time
    processes: list[psutil.Process] = []
    look_at = 0.0
    try:
        while awake_s < PERIOD_S and not task.done.is_set():
            if clock() >= look_at:
                processes = await asyncio.to_thread(_processes, task)
                look_at = clock() + LOOK_S
            _signal(processes, signal.SIGSTOP)
            await asyncio.sleep(PERIOD_S - awake_s)
            _signal(processes, signal.SIGCONT)
            await asyncio.sleep(awake_s)
    finally:
        _signal(processes, signal.SIGCONT)


def _processes(task: Task) -> list[psutil.Process]:
    found = []
    for pid in task.pids():
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(pid))
    return found


def _signal(processes: Collection[psutil.Process], signum: int) -> None:
    for process in processes:
        # Psutil compares start times first, so that a process id used again is never hit.
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signum)


def _markers(task: Task) -> list[str]:
    return sorted({container.process.marker for container in task.containers if container.process is not None})


def _resume_marked(markers: Collection[str]) -> None:
    """Continue every process that was started with one of these environment assignments."""
    needles = {marker.encode() for marker in markers}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError):
            if needles.intersection(Path("/proc", entry, "environ").read_bytes().split(b"\0")):
                os.kill(int(entry), signal.SIGCONT)


def _vcpu(task: Task) -> float:
    units = str(task.definition.get("cpu") or "")
    return int(units) / VCPU_UNITS if units.isdigit() and int(units) else VCPU_DEFAULT
