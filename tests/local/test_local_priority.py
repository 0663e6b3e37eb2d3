"""The local AWS raises its priority if it may, unless the caller has set a niceness."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kit.local.__main__ import NICENESS

ASK = """
import os
from kit.local.__main__ import take_priority
print(take_priority(), os.getpriority(os.PRIO_PROCESS, 0))
"""
RAISE = f"import os; os.setpriority(os.PRIO_PROCESS, 0, {NICENESS})"


def asked(niceness: int) -> str:
    """Return the result and the niceness afterwards, for a process that starts with a niceness."""
    start = lambda: os.setpriority(os.PRIO_PROCESS, 0, niceness)  # noqa: E731
    return subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, preexec_fn=start).stdout.strip()


@pytest.mark.skipif(os.getpriority(os.PRIO_PROCESS, 0) != 0, reason="the tests run with a niceness")
def test_the_priority_is_raised_if_the_user_may():
    may = subprocess.run([sys.executable, "-c", RAISE], capture_output=True).returncode == 0
    assert asked(0) == (f"True {NICENESS}" if may else "False 0")


def test_the_callers_niceness_is_kept():
    assert asked(15) == "False 15"
