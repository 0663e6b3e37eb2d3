"""The local AWS raises its priority if it may, unless the caller has set a niceness."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kit.local.__main__ import NICENESS

PROGRAMS = Path(__file__).with_name("programs")


def taken(niceness: int) -> str:
    """Return the result and the niceness afterwards, for a process that starts with a niceness."""
    argv = [sys.executable, str(PROGRAMS / "take_priority.py")]
    start = lambda: os.setpriority(os.PRIO_PROCESS, 0, niceness)  # noqa: E731
    return subprocess.run(argv, capture_output=True, text=True, preexec_fn=start).stdout.strip()


@pytest.mark.skipif(os.getpriority(os.PRIO_PROCESS, 0) != 0, reason="the tests run with a niceness")
def test_the_priority_is_raised_if_the_user_may():
    argv = [sys.executable, str(PROGRAMS / "raise_priority.py"), str(NICENESS)]
    may = subprocess.run(argv, capture_output=True).returncode == 0
    assert taken(0) == (f"True {NICENESS}" if may else "False 0")


def test_the_callers_niceness_is_kept():
    assert taken(15) == "False 15"
