"""Supervise one program for `kit.process.lifeline`: a script that runs without site-packages.

It holds the reading end of a pipe. When the writing end is closed, for whatever reason, it asks the program to stop,
waits, kills it with everything that it started (processes in sessions of their own included), and removes the files
that it was told to remove. It imports next to nothing, so that it starts in milliseconds. Linux only.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import time

# Nested supervisors get this long to end their programs and delete their files before they are killed too.
NESTED_S_MAX = 4.0
# Killing all descendants is repeated for at most this long, because they may fork while being killed.
KILL_S_MAX = 5.0
KILL_PAUSE_S = 0.01

# The line that it writes to its starter: the program's process id, or the error number of a failed start.
STARTED = b"started "
FAILED = b"failed "
LINE_BYTES_MAX = 256

# Where the options of `_main` begin: python -I -S FILE lifeline start_write grace_s count path… program…
OPTIONS_AT = 4

# Starters run the script by this path, and supervisors recognise nested ones by it.
SUPERVISOR_FILE = os.path.abspath(__file__)

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


class _Supervisor:
    """One program, its descendants, and the pipe that is open as long as their owner lives."""

    def __init__(self, lifeline: int, start_write: int, grace_s: float, remove: list[str]) -> None:
        self._lifeline = lifeline
        self._start_write = start_write
        self._grace_s = grace_s
        self._remove = remove
        self._child = 0
        self._status: int | None = None
        self._stop_asked = False
        self._woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)

    def run(self, argv: list[str]) -> int:
        """Start the program, wait for its end or for a reason to end it, clean up; returns the exit code."""
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        failed = self._start(argv)
        if not failed:
            self._wait()
            self._end()
        for path in self._remove:
            remove(path)
        if failed:
            return 127
        status = self._status
        return 137 if status is None else _exit_code(status)

    def _on_sigterm(self, *_: object) -> None:
        self._stop_asked = True

    def _start(self, argv: list[str]) -> int:
        failed_read, failed_write = os.pipe2(os.O_CLOEXEC)
        parent = os.getpid()
        self._child = os.fork()
        if self._child == 0:
            self._exec(argv, parent, failed_write)
        os.close(failed_write)
        failed = os.read(failed_read, 16)  # empty as soon as exec succeeded
        os.close(failed_read)
        with contextlib.suppress(OSError):
            if failed:
                os.write(self._start_write, FAILED + failed + b"\n")
            else:
                os.write(self._start_write, STARTED + str(self._child).encode() + b"\n")
        os.close(self._start_write)
        return int(failed or 0)

    def _exec(self, argv: list[str], parent: int, failed_write: int) -> None:
        """Replace the forked child by the program. Never returns."""
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(137)
            for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD):
                signal.signal(signum, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            for descriptor in (self._lifeline, self._start_write):
                if descriptor >= 0:
                    os.set_inheritable(descriptor, False)
            os.execvp(argv[0], argv)
        except OSError as error:
            os.write(failed_write, str(error.errno).encode())
        finally:
            os._exit(127)

    def _wait(self) -> None:
        """Wait until the program ends, the lifeline is closed, or SIGTERM arrives."""
        watched = [self._woken] if self._lifeline < 0 else [self._woken, self._lifeline]
        while not self._stop_asked and not self._reap():
            readable, _, _ = select.select(watched, [], [])
            if self._lifeline in readable and not os.read(self._lifeline, LINE_BYTES_MAX):
                return
            self._drain()

    def _end(self) -> None:
        if not self._reap():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGTERM)
            deadline = time.monotonic() + self._grace_s
            while not self._reap() and (left_s := deadline - time.monotonic()) > 0:
                select.select([self._woken], [], [], left_s)
                self._drain()
        self._end_nested()
        deadline = time.monotonic() + KILL_S_MAX
        while (pids := _descendants()) and time.monotonic() < deadline:
            self._kill(pids)
        self._reap()

    def _end_nested(self) -> None:
        """Let nested supervisors end their own trees, and remember the files that they were told to remove.

        One that takes too long is killed with all the rest, perhaps before it has removed its files.
        """
        deadline = time.monotonic() + NESTED_S_MAX
        asked: set[int] = set()
        while time.monotonic() < deadline:
            nested = _nested()
            if not nested:
                return
            for pid in nested - asked:
                self._remove += _to_remove(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            asked |= nested
            self._kill([pid for pid in _descendants(without=nested) if pid not in nested])

    def _kill(self, pids: list[int]) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        self._reap()
        time.sleep(KILL_PAUSE_S)

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4096)

    def _reap(self) -> bool:
        """Collect every dead child, adopted ones included; True if the program itself has ended."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if pid == self._child:
                    self._status = status
        return self._status is not None


def _exit_code(status: int) -> int:
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat after the name, which may hold spaces and brackets; None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None


def _descendants(without: "set[int] | None" = None) -> list[int]:
    """Return every living descendant. As subreaper, this process is the ancestor of all that was ever started.

    `without`: processes whose own descendants are left out.
    """
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := stat(int(entry))) is not None and fields[0] != "Z":
            children.setdefault(int(fields[1]), []).append(int(entry))
    found: list[int] = []
    queue = [os.getpid()]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += [pid for pid in below if pid not in (without or ())]
    return found


def _nested() -> set[int]:
    """Return the supervisors below this one, recognised by the file that they run."""
    return {pid for pid in _descendants() if _runs_this_file(pid)}


def _runs_this_file(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().split(b"\0")[1:4] == [b"-I", b"-S", SUPERVISOR_FILE.encode()]
    except OSError:
        return False


def _to_remove(pid: int) -> list[str]:
    """Return the paths on the command line of the supervisor `pid` (see `_main`); empty if it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = [os.fsdecode(word) for word in file.read().split(b"\0")]
        count = int(words[OPTIONS_AT + 3])
    except (OSError, IndexError):
        return []
    return words[OPTIONS_AT + 4 : OPTIONS_AT + 4 + count]


def remove(path: str) -> None:
    """Delete a file or a folder; what cannot be deleted stays."""
    import shutil

    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        os.unlink(path)


def _main(words: list[str]) -> int:
    lifeline, start_write, grace_s, count = int(words[0]), int(words[1]), float(words[2]), int(words[3])
    return _Supervisor(lifeline, start_write, grace_s, words[4 : 4 + count]).run(words[4 + count :])


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
