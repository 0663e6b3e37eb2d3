"""Start, find and stop the local AWS, which ends with this process or runs detached from it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from kit.aws.session import LOCAL_ACCOUNT_ID, Credentials, Session, local_environment, local_session
from kit.errors import CloudError, UsageError
from kit.files.replacement import open_appending, replacing_file
from kit.process import leftovers, lifeline

READY_S_MAX = 40.0
POLL_S = 0.01
# A detached local AWS gives its tasks this time to stop. One that ends with its run does not wait for its tasks.
DETACHED_GRACE_S = 10.0
STOP_S_MAX = 20.0
LOG_TAIL_BYTES = 2_000
TEMPORARY_PREFIX = "gameday-"
CLOUD_FILE = "cloud.json"
RECORD_FILE = "running.json"
LOCK_FILE = "lock"
LOG_FILE = "server.log"
# What outlives a detached local AWS: templates, experiments and the safety lever of FIS.
KEPT_FOLDER = "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCloud:
    """A running local AWS. `owned` is its process if it ends with this process, and None if it is detached."""

    endpoint: str
    region: str
    account_id: str
    credentials: Credentials
    state_dir: Path
    pid: int
    owned: lifeline.Child | None = None

    def session(self) -> Session:
        """Make a session for this local AWS."""
        return local_session(self.endpoint, self.region, self.credentials)

    def environment(self) -> dict[str, str]:
        """Return the environment variables with which any AWS tool or SDK calls this local AWS."""
        return local_environment(self.endpoint, self.region, self.credentials)

    def alive(self) -> bool:
        """Return whether the process of this local AWS still runs."""
        return lifeline.started_at(self.pid) is not None

    def close(self) -> None:
        """Stop this local AWS with its tasks and remove its folder. A detached local AWS is not stopped."""
        if self.owned is not None:
            self.owned.close()

    def __enter__(self) -> LocalCloud:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start_local(
    state_dir: Path | None = None,
    *,
    port: int = 0,
    seed: int = 1,
    region: str = "us-east-1",
    log: Path | None = None,
) -> LocalCloud:
    """Start a local AWS that ends with this process, even if this process is killed.

    `state_dir` (default: a temporary folder) is removed at the end, unless it was not empty before. The log is kept if
    `log` is given. Raises CloudError, with the end of the log, if the local AWS is not ready in time.
    """
    folder = _temporary_folder() if state_dir is None else state_dir.absolute()
    removable = _make_folder(folder)
    log_path = log or folder / LOG_FILE
    with _log_reader(log_path) as reader:
        owned = _spawn(
            lambda argv, env: lifeline.spawn(argv, env=env, log=log_path, remove=[folder] if removable else ()),
            _argv(folder, port, seed, region),
        )
        try:
            details = _await_ready(folder, owned.child_pid, owned.poll, reader)
            leftovers.claim(folder, owned.pid)
        except BaseException:
            owned.close()
            raise
    return _cloud(folder, details, owned)


def _temporary_folder() -> Path:
    """Make a folder for a local AWS, and remove those of local AWSs that were killed with all their owners."""
    root = Path(tempfile.gettempdir())
    leftovers.sweep(root.glob(f"{TEMPORARY_PREFIX}*"))
    try:
        folder = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX))
        leftovers.claim(folder)
    except OSError as error:
        raise CloudError(f"no folder can be made in {root}: {error.strerror or error}") from error
    return folder


def start_local_detached(
    state_dir: Path,
    *,
    port: int = 0,
    seed: int = 1,
    region: str = "us-east-1",
) -> LocalCloud:
    """Start a local AWS that outlives this process. `find_local` and `stop_local` find it by `state_dir`.

    It starts empty, but with the FIS templates, experiments and safety levers that its predecessor in this folder had.

    Raises UsageError if one is running there already, also when two callers start at the same time.
    """
    _make_folder(state_dir)
    with _locked(state_dir):
        if (running := find_local(state_dir)) is not None:
            raise UsageError(f"a local AWS is running already at {running.endpoint} (pid {running.pid}, {state_dir})")
        # Stop a local AWS whose starter was killed before it was ready. It would occupy the folder.
        _stop(state_dir)
        folder, log = state_dir / "cloud", state_dir / LOG_FILE
        log.unlink(missing_ok=True)
        # A supervisor that was killed has left it. Nothing but what is in KEPT_FOLDER outlives a local AWS.
        shutil.rmtree(folder, ignore_errors=True)
        _make_folder(state_dir / KEPT_FOLDER)
        supervisor, server = _spawn(
            lambda argv, env: lifeline.spawn_detached(
                argv, env=env, log=log, remove=[folder], grace_s=DETACHED_GRACE_S
            ),
            [*_argv(folder, port, seed, region), "--kept-dir", str(state_dir / KEPT_FOLDER)],
        )
        # Written before the server is ready, so that `stop_local` finds it even if this caller is killed while waiting.
        record = {
            "supervisor": {"pid": supervisor, "started": lifeline.started_at(supervisor)},
            "server": {"pid": server, "started": lifeline.started_at(server)},
        }
        _write(state_dir / RECORD_FILE, record)
        try:
            with _log_reader(log) as reader:
                details = _await_ready(folder, server, _exit_probe(server), reader)
        except BaseException:
            _stop(state_dir)
            raise
    return _cloud(folder, details, None)


def find_local(state_dir: Path) -> LocalCloud | None:
    """Return the detached local AWS of this folder; None if its process died, even if another one has its pid now."""
    record = _read(state_dir / RECORD_FILE)
    if record is None or not _is_running(record["server"]):
        return None
    details = _read(state_dir / "cloud" / CLOUD_FILE)
    if details is None or details["pid"] != record["server"]["pid"]:
        return None
    return _cloud(state_dir / "cloud", details, None)


def stop_local(state_dir: Path) -> bool:
    """Stop the detached local AWS of this folder and every process that it started; False if there is none."""
    if not state_dir.is_dir():
        return False
    with _locked(state_dir):
        return _stop(state_dir)


def _stop(state_dir: Path) -> bool:
    record = _read(state_dir / RECORD_FILE)
    if record is None:
        return False
    stopped = _signal(record["supervisor"], signal.SIGTERM)
    if not _await_end(record["supervisor"]):
        for process in (record["supervisor"], record["server"]):
            _signal(process, signal.SIGKILL)
        if not _await_end(record["server"]):
            raise CloudError(f"local AWS pid {record['server']['pid']} still runs {STOP_S_MAX:g} s after SIGKILL")
    (state_dir / RECORD_FILE).unlink(missing_ok=True)
    return stopped


def _argv(folder: Path, port: int, seed: int, region: str) -> list[str]:
    options = ["--state-dir", str(folder), "--port", str(port), "--seed", str(seed), "--region", region]
    return [sys.executable, "-m", "kit.local", *options]


def _spawn(start: Callable[[list[str], dict[str, str]], Any], argv: list[str]) -> Any:
    try:
        # The server keeps of the environment only what its tasks and functions may see.
        return start(argv, dict(os.environ))
    except OSError as error:
        raise CloudError(f"the local AWS could not be started: {error}") from error


def _await_ready(folder: Path, pid: int, exited: Callable[[], int | None], log: BinaryIO) -> dict[str, Any]:
    deadline = time.monotonic() + READY_S_MAX
    while True:
        details = _read(folder / CLOUD_FILE)
        if details is not None and details["pid"] == pid:
            return details
        code = exited()
        if code is not None:
            raise CloudError(f"the local AWS ended with {code} before it was ready: {_tail(log)}")
        if time.monotonic() > deadline:
            raise CloudError(f"the local AWS was not ready within {READY_S_MAX:g} s: {_tail(log)}")
        time.sleep(POLL_S)


def _exit_probe(pid: int) -> Callable[[], int | None]:
    return lambda: None if lifeline.started_at(pid) is not None else -1


def _is_running(process: dict[str, int]) -> bool:
    return process["started"] is not None and lifeline.started_at(process["pid"]) == process["started"]


def _signal(process: dict[str, int], signum: int) -> bool:
    """Signal this process, and no other one that has got its pid.

    The pidfd is opened before the start time is compared, so it refers to the process that was compared.
    """
    try:
        pidfd = os.pidfd_open(process["pid"])
    except ProcessLookupError:
        return False
    try:
        if not _is_running(process):
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signum)
        return True
    finally:
        os.close(pidfd)


def _await_end(process: dict[str, int]) -> bool:
    deadline = time.monotonic() + STOP_S_MAX
    while _is_running(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _cloud(folder: Path, details: dict[str, Any], owned: lifeline.Child | None) -> LocalCloud:
    return LocalCloud(
        endpoint=details["endpoint"],
        region=details["region"],
        account_id=details.get("account_id", LOCAL_ACCOUNT_ID),
        credentials=Credentials(access_key=details["access_key"], secret_key=details["secret_key"]),
        state_dir=folder,
        pid=details["pid"],
        owned=owned,
    )


def _make_folder(folder: Path) -> bool:
    """Make the folder, for this user only; True if nothing of others is in it, so that it may be removed later."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return not any(path.name != leftovers.CLAIM_FILE for path in folder.iterdir())
    except OSError as error:
        raise CloudError(f"state dir {folder} cannot be used: {error.strerror or error}") from error


@contextlib.contextmanager
def _log_reader(path: Path) -> Iterator[BinaryIO]:
    """Open the log for reading before the server starts, because a failing server removes its folder with the log."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        reader = open_appending(path)
    except OSError as error:
        raise CloudError(f"log {path} cannot be written: {error.strerror or error}") from error
    with reader:
        yield reader


def _tail(log: BinaryIO) -> str:
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - LOG_TAIL_BYTES))
    return log.read().decode(errors="replace").strip() or "(no output)"


@contextlib.contextmanager
def _locked(state_dir: Path) -> Iterator[None]:
    """Hold the folder's lock. The kernel releases it when its holder dies."""
    deadline = time.monotonic() + READY_S_MAX + STOP_S_MAX
    try:
        file = open_appending(state_dir / LOCK_FILE)
    except OSError as error:
        raise CloudError(f"state dir {state_dir} cannot be written: {error.strerror or error}") from error
    with file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise CloudError(f"{state_dir / LOCK_FILE} is held by another process for too long") from None
                time.sleep(POLL_S)
        yield


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def _write(path: Path, value: dict[str, Any]) -> None:
    # The folder itself may be a link that its user made.
    with replacing_file(path.parent.resolve() / path.name) as file:
        file.write(json.dumps(value).encode())
