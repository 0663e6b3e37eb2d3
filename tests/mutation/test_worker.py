"""The worker: the first failure in order, a hang that is ended with its processes, and a good tree after it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.mutation.selection import select
from tests.polling import wait_until

WORKER = Path(__file__).with_name("worker.py")
TESTS = """
import subprocess, sys, time
from pathlib import Path

def test_good(): pass
def test_bad(): assert 1 == 2, "planted"
def test_hangs():
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"], start_new_session=True)
    Path("child.pid").write_text(str(child.pid))
    time.sleep(60)
"""
FILE = "tests/paperbroker/test_planted.py"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tests/paperbroker").mkdir(parents=True)
    (tmp_path / FILE).write_text(TESTS)
    return tmp_path


def ask(tree: Path, *requests: dict) -> list[dict]:
    lines = "".join(json.dumps({"kind": "run", **request}) + "\n" for request in requests)
    done = subprocess.run([sys.executable, WORKER], cwd=tree, input=lines, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_first_failure_in_order_is_told_and_a_hang_ends_with_its_processes(tree: Path):
    good, bad, hangs = ({f"{FILE}::test_{name}": 30.0} for name in ("good", "bad", "hangs"))
    answers = ask(
        tree,
        {"tests": good | bad | hangs, "limit_s": 30},
        {"tests": hangs | bad, "limit_s": 2.0},
        {"tests": good, "limit_s": 30},
    )
    first, hung, last = answers
    assert first["failed"] == {"test": f"{FILE}::test_bad", "how": "AssertionError: planted\nassert 1 == 2"}
    assert first["ran"] == 2
    assert hung["failed"]["how"].startswith("hung") and hung["took_s"] < 10
    child = int((tree / "child.pid").read_text())
    wait_until(lambda: not psutil.pid_exists(child), "the child of the test is dead")
    assert last["failed"] == {} and last["ran"] == 1


def test_a_worker_that_is_ended_leaves_no_process_of_a_test(tree: Path):
    request = {"kind": "run", "tests": {f"{FILE}::test_hangs": 60.0}, "limit_s": 60}
    worker = subprocess.Popen([sys.executable, WORKER], cwd=tree, stdin=subprocess.PIPE, text=True)
    assert worker.stdin
    worker.stdin.write(json.dumps(request) + "\n")
    worker.stdin.flush()
    wait_until((tree / "child.pid").exists, "the test has started its child")
    wait_until(lambda: (tree / "child.pid").read_text(), "the child's pid")
    family = psutil.Process(worker.pid).children(recursive=True)
    worker.terminate()
    worker.wait(20)
    assert len(family) >= 2 and psutil.wait_procs(family, timeout=5)[1] == []


BASELINE = {
    "slow": {"s": 9.0, "process": False, "lines": {"a.py": [1, 2]}},
    "quick": {"s": 0.1, "process": False, "lines": {"a.py": [2], "b.py": [1]}},
    "elsewhere": {"s": 0.1, "process": False, "lines": {"b.py": [1]}},
    "runs it": {"s": 5.0, "process": True, "lines": {}},
}


@pytest.mark.parametrize(
    ("path", "lines", "processes", "expected"),
    [
        ("a.py", [2], False, ["quick", "slow"]),
        ("a.py", [1], True, ["slow", "runs it"]),
        ("a.py", [7], False, ["quick", "slow"]),
        ("c.py", [1], False, []),
        ("c.py", [1], True, ["runs it"]),
    ],
    ids=["fastest first", "processes last", "a line of no test belongs to all of its module", "no test", "a process"],
)
def test_the_tests_that_run_the_line_are_chosen(path, lines, processes, expected):
    selection = select(BASELINE, path, lines, processes=processes)
    assert list(selection.limits_s) == expected
    assert selection.limit_s > sum(selection.limits_s.values()) / 2
