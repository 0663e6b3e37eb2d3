"""A local cloud for the tests of this room: the real server, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

READY_S_MAX = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCloud:
    """A cloud that is up: its endpoint, its folder, and clients for it."""

    endpoint: str
    region: str
    account_id: str
    state_dir: Path
    pid: int
    log: Path

    def client(self, service: str, *, access_key: str = "gameday", **config: Any) -> Any:
        """A boto3 client as the kit would make it; `config` goes to botocore's Config."""
        import boto3
        from botocore.config import Config

        settings: dict[str, Any] = {
            "retries": {"total_max_attempts": 1}, "connect_timeout": 2, "read_timeout": 20, **config,
        }  # fmt: skip
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=access_key,
            aws_secret_access_key="gameday",
            config=Config(**settings),
        )


@pytest.fixture(scope="session")
def start_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RunningCloud]]:
    """Start clouds of one's own: `start_cloud("--seed", "3")`; all end with the session."""
    owned: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> RunningCloud:
        state_dir = tmp_path_factory.mktemp("cloud")
        log = state_dir.with_suffix(".log")
        argv = [sys.executable, "-m", "kit.local", "--state-dir", str(state_dir), *arguments]
        with log.open("wb") as output:
            process = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        owned.append(process)
        return _wait_ready(state_dir, process, log)

    yield start
    for process in owned:
        process.send_signal(signal.SIGTERM)
    for process in owned:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def cloud(start_cloud: Callable[..., RunningCloud]) -> RunningCloud:
    """The cloud that the tests of this room share; use names of your own in it."""
    return start_cloud()


def _wait_ready(state_dir: Path, process: subprocess.Popen[bytes], log: Path) -> RunningCloud:
    ready = state_dir / "cloud.json"
    deadline = time.monotonic() + READY_S_MAX
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"the local AWS did not start:\n{log.read_text(errors='replace')[-4000:]}")
        time.sleep(0.02)
    facts = json.loads(ready.read_text())
    names = ("endpoint", "region", "account_id", "pid")
    return RunningCloud(state_dir=state_dir, log=log, **{name: facts[name] for name in names})
