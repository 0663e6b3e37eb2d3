"""The supervisor under which `kit.process.lifeline` starts programs: a script of its own, run without site-packages.

Holds the reading end of a pipe; when its writing end is closed, however that came about, it asks the program to stop,
waits, kills it with everything that it started (also what fled into a session of its own), and removes what was to be
removed. Imports nothing of the kit and little else, to start in milliseconds. Linux only.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import time

# Supervisors below get this long to end what they own and delete its files, before they are killed too.
NESTED_S_MAX = 4.0
# Killing all descendants is repeated, because they may fork while being killed, but not for ever.
KILL_S_MAX = 5.0
KILL_PAUSE_S = 0.01

# What it tells its starter, one line each: the program's process id, or why there is none.
STARTED = b"started "
FAILED = b"failed "
LINE_BYTES_MAX = 256

# Where the options of `_main` begin on a supervisor's command line: python -I -S FILE hold tell grace count path…
OPTIONS_AT = 4

# The script itself: starters run it by this path, and it tells its like below it by the same.
SUPERVISOR_FILE = os.path.abspath(__file__)

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


class _Supervisor:
    """One program, its descendants, and the pipe that says whether anyone still wants them."""

    def __init__(self, hold: int, tell: int, grace_s: float, remove: list[str]) -> None:
        self._hold = hold
        self._tell = tell
        self._grace_s = grace_s
        self._remove = remove
        self._child = 0
        self._status: int | None = None
        self._stop_asked = False
        self._woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)

    def run(self, argv: list[str]) -> int:
        """Start, watch, end, clean up; the exit code."""
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        failed = self._start(argv)
        if not failed:
            self._watch()
            self._end()
        for path in self._remove:
            _remove(path)
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
            self._become(argv, parent, failed_write)
        os.close(failed_write)
        failed = os.read(failed_read, 16)  # empty as soon as exec succeeded
        os.close(failed_read)
        with contextlib.suppress(OSError):
            if failed:
                os.write(self._tell, FAILED + failed + b"\n")
            else:
                os.write(self._tell, STARTED + str(self._child).encode() + b"\n")
        os.close(self._tell)
        return int(failed or 0)

    def _become(self, argv: list[str], parent: int, failed_write: int) -> None:
        """In the forked child: turn into the program. Never returns."""
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(137)
            for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD):
                signal.signal(signum, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            for descriptor in (self._hold, self._tell):
                if descriptor >= 0:
                    os.set_inheritable(descriptor, False)
            os.execvp(argv[0], argv)
        except OSError as error:
            os.write(failed_write, str(error.errno).encode())
        finally:
            os._exit(127)

    def _watch(self) -> None:
        """Until the program ends, the holder lets go, or SIGTERM."""
        watched = [self._woken] if self._hold < 0 else [self._woken, self._hold]
        while not self._stop_asked and not self._reap():
            readable, _, _ = select.select(watched, [], [])
            if self._hold in readable and not os.read(self._hold, LINE_BYTES_MAX):
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
        """Let supervisors below this one end their own trees, and take over what they were to remove.

        One that is not done in time is killed with all the rest, perhaps in the middle of its removal.
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
        """Collect every dead child, adopted ones too; True when the program itself has ended."""
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
    """Fields 3 and on of /proc/<pid>/stat; the name before them may hold spaces and brackets."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None


def _descendants(without: "set[int] | None" = None) -> list[int]:
    """Every living process below this one. As subreaper, it is the ancestor of all that was ever started.

    `without`: processes that are not descended into.
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
    """The supervisors below this one, told by the file that they run."""
    return {pid for pid in _descendants() if _runs_this_file(pid)}


def _runs_this_file(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().split(b"\0")[1:4] == [b"-I", b"-S", SUPERVISOR_FILE.encode()]
    except OSError:
        return False


def _to_remove(pid: int) -> list[str]:
    """The paths on the command line of the supervisor `pid` (see `_main`); empty when it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = [os.fsdecode(word) for word in file.read().split(b"\0")]
        count = int(words[OPTIONS_AT + 3])
    except (OSError, IndexError):
        return []
    return words[OPTIONS_AT + 4 : OPTIONS_AT + 4 + count]


def _remove(path: str) -> None:
    """Delete a file or a folder; what cannot be deleted is left."""
    import shutil

    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        os.unlink(path)


def _main(words: list[str]) -> int:
    hold, tell, grace_s, count = int(words[0]), int(words[1]), float(words[2]), int(words[3])
    return _Supervisor(hold, tell, grace_s, words[4 : 4 + count]).run(words[4 + count :])


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
