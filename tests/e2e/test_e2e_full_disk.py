"""The disk gets full in the middle of a run: the run is INVALID in words, and nothing is left of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parent / "programs" / "run_on_small_disk.py"
NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
INVALID = 3

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def ended(tmp_path: Path) -> dict[str, Any]:
    """How a run ended whose disk got full; skips where a user may not mount a disk of his own."""
    if subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system does not allow user namespaces, so that no small disk can be mounted")
    argv = [*NAMESPACE, sys.executable, str(PROGRAM), str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=380, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_a_disk_that_gets_full_makes_the_run_invalid_and_leaves_nothing(ended):
    assert ended["code"] == INVALID, ended["log"]
    assert "No space left on device" in ended["log"] and "INVALID" in ended["log"]
    assert "internal error" not in ended["log"]
    assert ended["temporary"] == [] and ended["parts"] == []
    assert ended["check_code"] == INVALID, ended["check"]
    assert "Traceback" not in ended["check"]
