"""Start child processes that end with their parent.

`spawn` runs a program under a small supervisor (`kit.process.supervisor`) that holds the reading end of a pipe, the
lifeline. Only the caller holds the writing end. When the caller ends, for any reason, the pipe closes, and the
supervisor kills the program and everything that it started. Linux only.
"""

import contextlib
import os
import select
import sys
import time

from kit.process.supervisor import FAILED, LINE_BYTES_MAX, STARTED, SUPERVISOR_FILE, remove, stat

# Importing `subprocess` and the typing names takes longer than everything else here, and not every process that
# imports this module starts a child.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from subprocess import Popen

GRACE_S = 1.0
# A supervisor that has not started its program by then is given up.
STARTED_S_MAX = 10.0
# `close` waits this much longer than the grace: for the kill, the removal of files, and the reaping.
CLOSE_MARGIN_S = 8.0
# Nothing is appended through a link that somebody planted in place of the log.
LOG_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW


# Writing ends of the pipes of this process. A child forked without exec (multiprocessing) closes its copies, because
# an open one would keep the programs running after this process has ended.
_lifelines: set[int] = set()


def _close_lifelines() -> None:
    for descriptor in _lifelines:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _lifelines.clear()


os.register_at_fork(after_in_child=_close_lifelines)


class Child:
    """A program that runs at most as long as the process that started it.

    `close` (or leaving the `with` block) ends it and waits; `terminate` only asks it to end. Both may be repeated.
    """

    __slots__ = ("_grace_s", "_lifeline", "_remove", "_supervisor", "argv", "child_pid")

    def __init__(
        self, supervisor: "Popen[bytes]", lifeline: int | None, child_pid: int, argv: tuple[str, ...], grace_s: float,
        remove: tuple[str, ...],
    ) -> None:  # fmt: skip
        self._supervisor = supervisor
        self._lifeline = lifeline
        self._grace_s = grace_s
        self._remove = remove
        self.child_pid = child_pid
        self.argv = argv

    @property
    def pid(self) -> int:
        """The process id of the supervisor."""
        return self._supervisor.pid

    def poll(self) -> int | None:
        """Return the exit code, 128 + n if signal n ended the program; None while any process of it runs."""
        return self._supervisor.poll()

    def wait(self, timeout_s: float) -> int:
        """Wait for the end and return the exit code. Raises TimeoutError."""
        import subprocess

        try:
            return self._supervisor.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.argv[0]} (pid {self.child_pid}) still runs after {timeout_s:g} s") from None

    def terminate(self) -> None:
        """Ask the program to end, and return at once. What still runs after the grace is killed."""
        self._close_lifeline()

    def close(self, timeout_s: float | None = None) -> int:
        """End the program and everything it started, and return its exit code.

        Raises TimeoutError if it cannot be killed.
        """
        self._close_lifeline()
        limit_s = self._grace_s + CLOSE_MARGIN_S if timeout_s is None else timeout_s
        try:
            return self.wait(limit_s)
        except TimeoutError:
            # The program itself dies with its supervisor (PR_SET_PDEATHSIG).
            self._supervisor.kill()
            self._supervisor.wait(CLOSE_MARGIN_S)
            raise
        finally:
            # The supervisor has removed them, unless it was killed.
            for path in self._remove:
                remove(path)

    def _close_lifeline(self) -> None:
        # In a forked copy of this object the descriptor is closed already, and its number may be reused.
        if self._lifeline is not None and self._lifeline in _lifelines:
            _lifelines.discard(self._lifeline)
            os.close(self._lifeline)
        self._lifeline = None

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # Without close() the program would otherwise run until the interpreter ends.
        with contextlib.suppress(AttributeError, OSError):
            self._close_lifeline()


def spawn(
    argv: "Sequence[str | Path]",
    *,
    env: "Mapping[str, str] | None" = None,
    cwd: "str | Path | None" = None,
    log: "Path | None" = None,
    remove: "Sequence[Path]" = (),
    grace_s: float = GRACE_S,
) -> Child:
    """Start `argv` so that it ends with this process. Its output is appended to `log`, or dropped.

    `remove`: files and folders to delete after everything has ended. Raises OSError if it cannot be started.
    """
    # Neither end is inheritable, so that no other child of this process can hold the writing end.
    reading, writing = os.pipe()
    paths = tuple(os.path.abspath(path) for path in remove)
    try:
        supervisor, child_pid = _supervise(argv, env, cwd, log, paths, grace_s, reading)
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    _lifelines.add(writing)
    return Child(supervisor, writing, child_pid, tuple(str(word) for word in argv), grace_s, paths)


def spawn_detached(
    argv: "Sequence[str | Path]",
    *,
    env: "Mapping[str, str] | None" = None,
    log: "Path | None" = None,
    remove: "Sequence[Path]" = (),
    grace_s: float = GRACE_S,
) -> tuple[int, int]:
    """Start `argv` so that it outlives this process; returns the pids of its supervisor and of the program.

    SIGTERM to the supervisor ends the program in order.
    """
    supervisor, child_pid = _supervise(argv, env, None, log, remove, grace_s, None)
    # This process will never reap it, and Popen warns about children that still run.
    supervisor.returncode = 0
    return supervisor.pid, child_pid


def started_at(pid: int) -> int | None:
    """Return when the process started, in clock ticks since boot, which tells reused pids apart; None if it is gone."""
    fields = stat(pid)
    return None if fields is None or fields[0] == "Z" else int(fields[19])


def _supervise(argv, env, cwd, log, remove, grace_s, reading) -> "tuple[Popen[bytes], int]":  # type: ignore[no-untyped-def]
    import subprocess

    words = [str(word) for word in argv]
    start_read, start_write = os.pipe()
    output = subprocess.DEVNULL if log is None else os.open(log, LOG_FLAGS, 0o644)
    pass_fds = [start_write] if reading is None else [start_write, reading]
    options = [str(-1 if reading is None else reading), str(start_write), str(grace_s)]
    paths = [os.path.abspath(path) for path in remove]
    try:
        supervisor = subprocess.Popen(
            [sys.executable, "-I", "-S", SUPERVISOR_FILE, *options, str(len(paths)), *paths, *words],
            env=None if env is None else dict(env), cwd=cwd, pass_fds=pass_fds, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    finally:
        os.close(start_write)
        if output != subprocess.DEVNULL:
            os.close(output)
    try:
        child_pid = _await_start(start_read, words)
    except BaseException:
        supervisor.kill()
        supervisor.wait(CLOSE_MARGIN_S)
        raise
    finally:
        os.close(start_read)
    return supervisor, child_pid


def _await_start(start_read: int, words: list[str]) -> int:
    deadline = time.monotonic() + STARTED_S_MAX
    line = b""
    while not line.endswith(b"\n"):
        readable, _, _ = select.select([start_read], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            raise TimeoutError(f"supervisor of {words[0]} did not start within {STARTED_S_MAX:g} s")
        chunk = os.read(start_read, LINE_BYTES_MAX)
        if not chunk:
            raise ChildProcessError(f"supervisor of {words[0]} ended before it had started the program")
        line += chunk
    if line.startswith(FAILED):
        code = int(line[len(FAILED) :])
        raise OSError(code, os.strerror(code), words[0])
    return int(line[len(STARTED) :])
