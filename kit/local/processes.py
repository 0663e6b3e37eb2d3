"""Run a program as a process that ends with this one, and end it with everything that it started. Linux only."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

# PR_SET_PDEATHSIG makes the kernel kill the process when the server dies, even by SIGKILL. A stub sets it and then
# executes the program, because Python code between fork and exec is unsafe with MiniStack's threads. The signal fires
# when the spawning *thread* ends, so the event loop's thread, which is the main thread, spawns all processes. The
# changed parent process id reveals a server that died before prctl().
_STUB = (
    "import ctypes,os,sys\n"
    "ctypes.CDLL(None).prctl(1,9,0,0,0)\n"
    "if os.getppid()!=int(sys.argv[1]):os._exit(137)\n"
    "os.execv(sys.argv[2],sys.argv[3:])\n"
)
# A process ends soon after SIGKILL. This bounds the wait for the kernel and uninterruptible I/O.
KILLED_S_MAX = 5.0
# asyncio's own limit.
LINE_BYTES_MAX = 64 * 1024


class _Ended:
    """What is kept of a process that has ended."""

    stdin = stdout = stderr = None

    def __init__(self, returncode: int) -> None:
        self.returncode = returncode

    async def wait(self) -> int:
        return self.returncode


class Process:
    """A running program in its own session.

    `marker` is an environment assignment that only its processes have. It identifies processes that left the session,
    which a real container's PID namespace would hold.
    """

    __slots__ = ("_child", "marker", "pid")

    def __init__(self, child: asyncio.subprocess.Process, marker: str) -> None:
        self._child: asyncio.subprocess.Process | _Ended = child
        self.marker = marker
        self.pid = child.pid

    @classmethod
    async def spawn(
        cls,
        program: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        marker: str,
        talks: bool = False,
        line_bytes_max: int = LINE_BYTES_MAX,
    ) -> "Process":
        """Start `program`, whose first word is a path, in `cwd` with exactly the environment `env`. Raises OSError.

        Its stdout and stderr are merged into one pipe. If it `talks`, its stdin and stdout are pipes to this process,
        and its stderr is another one. `line_bytes_max` bounds what `readline` of its pipes returns.
        """
        pipe, stdin, stderr = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL, asyncio.subprocess.STDOUT
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", "-c", _STUB, str(os.getpid()), program[0], *program,
            env=dict(env), cwd=cwd, start_new_session=True,
            stdin=pipe if talks else stdin, stdout=pipe, stderr=pipe if talks else stderr, limit=line_bytes_max,
        )  # fmt: skip
        return cls(child, marker)

    @property
    def input(self) -> asyncio.StreamWriter:
        """The input of a program that talks."""
        assert self._child.stdin is not None, "spawned with a pipe"
        return self._child.stdin

    @property
    def output(self) -> asyncio.StreamReader:
        """The program's stdout; its stderr, too, if it does not talk."""
        assert self._child.stdout is not None, "spawned with a pipe"
        return self._child.stdout

    @property
    def errors(self) -> asyncio.StreamReader:
        """The stderr of a program that talks."""
        assert self._child.stderr is not None, "spawned with a pipe"
        return self._child.stderr

    @property
    def exit_code(self) -> int | None:
        """The exit code as a container runtime reports it (137 for SIGKILL, 143 for SIGTERM). None while it runs."""
        code = self._child.returncode
        return None if code is None else (code if code >= 0 else 128 - code)

    async def wait(self) -> int:
        """Wait for the main process to end, without a time limit, and return its exit code."""
        await self._child.wait()
        code = self.exit_code
        assert code is not None, "the process has ended"
        return code

    def release(self) -> None:
        """Keep the exit code only. A task that has ended is shown for an hour, and its pipes would stay as long."""
        if self._child.returncode is not None:
            self._child = _Ended(self._child.returncode)

    def pids(self) -> list[int]:
        """Return the main process and its descendants, the main process first. Empty once it has ended."""
        if self._child.returncode is not None:
            return []
        try:
            descendants = psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return [self.pid, *(process.pid for process in descendants)]

    def send(self, signum: int) -> None:
        """Signal the main process, as a container runtime signals PID 1."""
        if self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def send_all(self, signum: int) -> int:
        """Signal the main process and its descendants. Returns the number of processes."""
        pids = self.pids()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)
        return len(pids)

    def kill(self) -> None:
        """SIGKILL the main process, its descendants and its group."""
        self.send_all(signal.SIGKILL)
        self.kill_group()

    def kill_group(self) -> None:
        """SIGKILL the rest of the session's first process group."""
        self.send_group(signal.SIGKILL)

    def send_group(self, signum: int) -> None:
        """Signal the session's first process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signum)

    async def stop(self, timeout_s: float) -> bool:
        """Send SIGTERM, and SIGKILL after `timeout_s`, and kill all leftovers. Returns False if it did not end."""
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(timeout_s):
                await self._child.wait()
        except TimeoutError:
            self.kill()
        return await self.kill_leftovers()

    async def kill_leftovers(self) -> bool:
        """Wait at most KILLED_S_MAX for the main process, and kill its leftovers. Returns False if it did not end."""
        try:
            async with asyncio.timeout(KILLED_S_MAX):
                await self._child.wait()
        except TimeoutError:
            return False
        self.kill_group()
        await asyncio.to_thread(kill_marked, self.marker)
        return True


def kill_marked(marker: str) -> int:
    """SIGKILL every process whose initial environment contains `marker`. Returns the number of processes.

    It reads all of /proc, some 30 µs per process: acceptable at the end of a task, too slow for every tick.
    """
    needle = marker.encode()
    killed = 0
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if needle in Path("/proc", entry, "environ").read_bytes().split(b"\0"):
                os.kill(int(entry), signal.SIGKILL)
                killed += 1
    return killed
