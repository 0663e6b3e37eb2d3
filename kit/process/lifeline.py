"""Start child processes that end with their parent.

`spawn` puts a program under a small supervisor (`kit.process.supervisor`) that holds the reading end of a pipe.
Only the caller holds the writing end. When the caller ends, for any reason, the pipe closes, and the supervisor kills
the program and everything that it started. Linux only.
"""

import contextlib
import os
import select
import sys
import time

from kit.process.supervisor import FAILED, LINE_BYTES_MAX, STARTED, SUPERVISOR_FILE, stat

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
# What `close` allows beyond the grace: the kill, the removal, the reaping.
CLOSE_MARGIN_S = 8.0
POLL_S = 0.02


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
    fields = stat(pid)
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
            [sys.executable, "-I", "-S", SUPERVISOR_FILE, *options, str(len(paths)), *paths, *words],
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
        chunk = os.read(told, LINE_BYTES_MAX)
        if not chunk:
            raise ChildProcessError(f"supervisor of {words[0]} ended before it had started anything")
        line += chunk
    if line.startswith(FAILED):
        code = int(line[len(FAILED) :])
        raise OSError(code, os.strerror(code), words[0])
    return int(line[len(STARTED) :])
