"""Start whole runs through the command, as a user does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from kit import aws
from kit.gameday.commands import standing_cloud
from tests.e2e.repetition import first_valid
from tests.polling import wait_until

SHORT = (
    "-p", "steady_s=5", "-p", "fault_duration_s=10", "-p", "recovery_s=8", "-p", "past_orders=200", "--rate", "25",
)  # fmt: skip
TEMPORARY = "tmp"
# Every run of these tests has a proxy that does not answer, because nothing on this machine may go through a proxy.
PROXY_NAMES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
DEAD_PROXY = "http://127.0.0.1:9"
# After the end of a run, or of its owner, all processes and files of the run must be removed within this time.
GONE_S_MAX = 5.0
RUN_S_MAX = 600.0


@dataclass
class Run:
    """One `gameday run` and every process that it has started."""

    process: subprocess.Popen[str]
    run_dir: Path
    log: Path
    family: dict[int, psutil.Process] = field(default_factory=dict)

    def wait_for_line(self, text: str, timeout_s: float = 90) -> None:
        """Wait until the log has `text`, and record its processes."""
        self.wait_until(lambda: text in self.log.read_text(), timeout_s, f"{text!r} in the log")

    def wait_until(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Wait until `condition` holds, and record its processes."""

        def holds() -> bool:
            self.look()
            assert self.process.poll() is None, f"ended before {what}:\n{self.log.read_text()}"
            return condition()

        wait_until(holds, what, timeout_s, interval_s=0.1)

    def look(self) -> None:
        """Record which processes the run has now."""
        try:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                self.family.setdefault(child.pid, child)
        except psutil.NoSuchProcess:
            return

    def find(self, *words: str) -> list[psutil.Process]:
        """Return the living processes of the run whose command line contains `words` in a row; at least one."""
        self.look()
        found = [process for process in self.family.values() if has_words(process, words)]
        assert found, f"no process {' '.join(words)} in {[p.pid for p in self.family.values()]}"
        return found

    def end(self) -> int:
        """Wait for its end and return its exit code."""

        def has_ended() -> bool:
            self.look()
            return self.process.poll() is not None

        wait_until(has_ended, "the end of the run", RUN_S_MAX, interval_s=0.1)
        return self.process.wait(1)

    def survivors(self) -> list[str]:
        """Return the processes of the run that are still alive after the time in which they must end."""
        _, alive = psutil.wait_procs(list(self.family.values()), timeout=GONE_S_MAX)
        return [" ".join(process.cmdline())[:120] for process in alive if process.status() != psutil.STATUS_ZOMBIE]

    def verdict(self) -> dict:
        return json.loads((self.run_dir / "verdict.json").read_text())


def has_words(process: psutil.Process, words: tuple[str, ...]) -> bool:
    try:
        line = process.cmdline()
    except psutil.Error:
        return False
    # A supervisor's command line contains its program's. The supervisor is the one in isolated mode.
    if "-I" in line[:2]:
        return False
    return any(tuple(line[at : at + len(words)]) == words for at in range(len(line)))


@pytest.fixture
def start_run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Start `gameday run az-loss` with short times; it is always ended after the test."""
    runs: list[Run] = []

    def start(*arguments: str, command: tuple[str, ...] = ()) -> Run:
        run_id = f"e2e-{len(runs)}"
        log = tmp_path / f"{run_id}.log"
        argv = command or (sys.executable, "-m", "kit", "run", "az-loss", *SHORT)
        argv = (*argv, "--run-id", run_id, "--reports", str(tmp_path), *arguments) if not command else argv
        temporary = tmp_path / TEMPORARY
        temporary.mkdir(exist_ok=True)
        environment = {**os.environ, **dict.fromkeys(PROXY_NAMES, DEAD_PROXY), "TMPDIR": str(temporary)}
        with log.open("w") as output:
            process = subprocess.Popen(
                argv, stdout=output, stderr=output, text=True, env=environment, start_new_session=True
            )
        runs.append(Run(process=process, run_dir=tmp_path / run_id, log=log))
        return runs[-1]

    yield start
    for run in runs:
        run.look()
        run.process.kill()
        run.process.wait(10)
        run.survivors()


@pytest.fixture
def good_run(start_run: Callable[..., Run]) -> Callable[..., Run]:
    """Run until a run is not invalidated by CPU contention; returns the last run."""

    def run(*arguments: str) -> Run:
        def attempt(_number: int) -> tuple[Run, dict[str, Any]]:
            last = start_run(*arguments)
            last.end()
            return last, last.verdict()

        last, _record = first_valid(attempt)
        return last

    return run


@pytest.fixture
def gameday() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a short command to its end."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "kit", *arguments], capture_output=True, text=True, timeout=60)

    return run


@pytest.fixture
def cloud(gameday: Callable[..., subprocess.CompletedProcess[str]]) -> Iterator[aws.Session]:
    """A local AWS that stays up between runs, and is down at the end of the test."""
    gameday("cloud", "down")
    started = gameday("cloud", "up")
    assert started.returncode == 0, started.stderr
    running = standing_cloud()
    assert running is not None, started.stdout
    yield running.session()
    assert gameday("cloud", "down").returncode == 0
    assert gameday("cloud", "status").stdout.strip() == "down"


@pytest.fixture
def temporary_files(tmp_path: Path) -> Callable[[], list[str]]:
    """Return the names of all that the runs have left in their folder for temporary files."""
    return lambda: sorted(path.name for path in (tmp_path / TEMPORARY).iterdir())
