"""Processes that cannot outlive whoever started them.

`spawn` puts a program under a small supervisor that holds the reading end of a pipe whose writing end only the
caller holds. When the caller ends, however it ends, the pipe closes; the supervisor asks the program to stop,
waits, kills it with everything it started (also what fled into a session of its own), and removes what was to
be removed. Owns processes only; imports nothing of the kit, because the supervisor runs this very file as a
script, without site-packages, to start in milliseconds. Linux only.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import time

# PEP 484 typing names and subprocess cost more start-up time than everything else here; callers pay it, not
# the supervisor.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from subprocess import Popen

GRACE_S = 1.0
# A supervisor that has not started its program by then never will.
STARTED_S_MAX = 10.0
# Supervisors below get this long to end what they own and delete its files, before they are killed too.
NESTED_S_MAX = 4.0
# Killing all descendants is repeated, because they may fork while being killed, but not for ever.
KILL_S_MAX = 5.0
KILL_PAUSE_S = 0.01
# What `close` allows beyond the grace: the kill, the removal, the reaping.
CLOSE_MARGIN_S = 8.0
POLL_S = 0.02

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_STARTED = b"started "
_FAILED = b"failed "
_LINE_BYTES_MAX = 256


# Writing ends that this process holds. A child forked without exec (multiprocessing) must not keep them open, or
# it would keep alive what its parent owned.
_held: set[int] = set()


def _drop_held() -> None:
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_drop_held)


class Owned:
    """A program that lives at most as long as this object's process.

    `close` (or leaving the `with` block) ends it in order; `terminate` only asks. Safe to close twice.
    """

    __slots__ = ("_grace_s", "_hold", "_supervisor", "argv", "child_pid")

    def __init__(
        self, supervisor: "Popen[bytes]", hold: int | None, child_pid: int, argv: tuple[str, ...], grace_s: float
    ) -> None:
        self._supervisor = supervisor
        self._hold = hold
        self._grace_s = grace_s
        self.child_pid = child_pid
        self.argv = argv

    @property
    def pid(self) -> int:
        """The supervisor's."""
        return self._supervisor.pid

    def poll(self) -> int | None:
        """The program's exit code, 128 + n when signal n ended it; None while anything of it runs."""
        return self._supervisor.poll()

    def wait(self, timeout_s: float) -> int:
        """Wait for the end; raises TimeoutError."""
        import subprocess

        try:
            return self._supervisor.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.argv[0]} (pid {self.child_pid}) still runs after {timeout_s:g} s") from None

    def terminate(self) -> None:
        """Ask the program to end; whatever it leaves behind after the grace is killed. Returns at once."""
        self._let_go()

    def close(self, timeout_s: float | None = None) -> int:
        """End it and everything it started; returns its exit code. Raises TimeoutError if it cannot be killed."""
        self._let_go()
        limit_s = self._grace_s + CLOSE_MARGIN_S if timeout_s is None else timeout_s
        try:
            return self.wait(limit_s)
        except TimeoutError:
            # The program itself dies with its supervisor (PR_SET_PDEATHSIG).
            self._supervisor.kill()
            self._supervisor.wait(CLOSE_MARGIN_S)
            raise

    def _let_go(self) -> None:
        # A forked copy of this object finds its descriptor dropped, its number perhaps reused.
        if self._hold is not None and self._hold in _held:
            _held.discard(self._hold)
            os.close(self._hold)
        self._hold = None

    def __enter__(self) -> "Owned":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # Forgotten without close(): the program must not go on until the interpreter ends.
        with contextlib.suppress(AttributeError, OSError):
            self._let_go()


def spawn(
    argv: "Sequence[str | Path]",
    *,
    env: "Mapping[str, str] | None" = None,
    cwd: "str | Path | None" = None,
    log: "Path | None" = None,
    remove: "Sequence[Path]" = (),
    grace_s: float = GRACE_S,
) -> Owned:
    """Start `argv` so that it ends with this process; its output is appended to `log`, or dropped.

    `remove`: files and folders deleted when everything has ended. Raises OSError when it cannot be started.
    """
    reading, writing = os.pipe()  # both non-inheritable: no other child of ours can hold the writing end
    try:
        supervisor, child_pid = _supervise(argv, env, cwd, log, remove, grace_s, reading)
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    _held.add(writing)
    return Owned(supervisor, writing, child_pid, tuple(str(word) for word in argv), grace_s)


def spawn_detached(
    argv: "Sequence[str | Path]",
    *,
    env: "Mapping[str, str] | None" = None,
    cwd: "str | Path | None" = None,
    log: "Path | None" = None,
    remove: "Sequence[Path]" = (),
    grace_s: float = GRACE_S,
) -> tuple[int, int]:
    """Start `argv` so that it outlives this process: (supervisor's pid, program's pid).

    SIGTERM to the supervisor ends it in order.
    """
    supervisor, child_pid = _supervise(argv, env, cwd, log, remove, grace_s, None)
    # It is not ours to reap: without this, Popen would warn that it still runs.
    supervisor.returncode = 0
    return supervisor.pid, child_pid


def started_at(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None if there is none. Tells reused pids apart."""
    fields = _stat(pid)
    return None if fields is None or fields[0] == "Z" else int(fields[19])


def _supervise(argv, env, cwd, log, remove, grace_s, reading) -> "tuple[Popen[bytes], int]":  # type: ignore[no-untyped-def]
    import subprocess

    words = [str(word) for word in argv]
    told, tell = os.pipe()
    output = subprocess.DEVNULL if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    pass_fds = [tell] if reading is None else [tell, reading]
    options = [str(-1 if reading is None else reading), str(tell), str(grace_s)]
    paths = [os.path.abspath(path) for path in remove]
    try:
        supervisor = subprocess.Popen(
            [sys.executable, "-I", "-S", os.path.abspath(__file__), *options, str(len(paths)), *paths, *words],
            env=None if env is None else dict(env), cwd=cwd, pass_fds=pass_fds, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    finally:
        os.close(tell)
        if output != subprocess.DEVNULL:
            os.close(output)
    try:
        child_pid = _await_start(told, words)
    except BaseException:
        supervisor.kill()
        supervisor.wait(CLOSE_MARGIN_S)
        raise
    finally:
        os.close(told)
    return supervisor, child_pid


def _await_start(told: int, words: list[str]) -> int:
    deadline = time.monotonic() + STARTED_S_MAX
    line = b""
    while not line.endswith(b"\n"):
        readable, _, _ = select.select([told], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            raise TimeoutError(f"supervisor of {words[0]} did not start within {STARTED_S_MAX:g} s")
        chunk = os.read(told, _LINE_BYTES_MAX)
        if not chunk:
            raise ChildProcessError(f"supervisor of {words[0]} ended before it had started anything")
        line += chunk
    if line.startswith(_FAILED):
        code = int(line[len(_FAILED) :])
        raise OSError(code, os.strerror(code), words[0])
    return int(line[len(_STARTED) :])


# ---- The supervisor: everything below runs in a process of its own ----


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
                os.write(self._tell, _FAILED + failed + b"\n")
            else:
                os.write(self._tell, _STARTED + str(self._child).encode() + b"\n")
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
            if self._hold in readable and not os.read(self._hold, _LINE_BYTES_MAX):
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
        """Let supervisors below this one end their own trees: killed outright, they would leave their files."""
        deadline = time.monotonic() + NESTED_S_MAX
        asked: set[int] = set()
        while time.monotonic() < deadline:
            nested = _nested()
            if not nested:
                return
            for pid in nested - asked:
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


def _stat(pid: int) -> list[str] | None:
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
        if entry.isdigit() and (fields := _stat(int(entry))) is not None and fields[0] != "Z":
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
            return file.read().split(b"\0")[1:4] == [b"-I", b"-S", os.path.abspath(__file__).encode()]
    except OSError:
        return False


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
