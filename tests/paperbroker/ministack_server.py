"""Run MiniStack, which has DynamoDB and SQS, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.paperbroker.paperbroker_rig import free_port
from tests.polling import wait_until


@contextmanager
def ministack(folder: Path) -> Iterator[str]:
    """Start it with its state and log in `folder`, and end it. Yields its endpoint."""
    port = free_port()
    env = {**os.environ, "IOT_MTLS_ENABLED": "0", "STATE_DIR": str(folder), "GATEWAY_PORT": str(port)}
    argv = [sys.executable, "-m", "uvicorn", "ministack.app:app", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([*argv, "--log-level", "warning"], env=env, cwd=folder, stdout=log, stderr=log)
    try:
        wait_until(lambda: _is_up(f"http://127.0.0.1:{port}/_ministack/health"), "MiniStack answers")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


def _is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except OSError:
        return False
