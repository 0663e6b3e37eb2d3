"""Run mutants one after the other in a copy of the tree, through one worker process."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.mutation.mutants import Mutant
from tests.mutation.selection import Selection, select
from tests.paperbroker.ministack_server import ministack
from tests.paperbroker.paperbroker_rig import SHARED_ENDPOINT

ROOT = Path(__file__).parents[2]
COPIED = ("paperbroker", "tests/paperbroker", "tests/conftest.py", "tests/polling.py", "pyproject.toml")
BASELINE_S_MAX = 900.0
# A test that fails on a mutant must fail again, alone; otherwise it was a flake, and the others decide.
FLAKES_MAX = 3
GOOD_TIME = 1_000_000_000


class Runner:
    """Decide for a mutant whether a test notices it. Use `runner()`."""

    def __init__(self, tree: Path, worker: subprocess.Popen[str]) -> None:
        self._tree = tree
        self._worker = worker
        # Python takes compiled code for current by a file's size and time in seconds, so each mutant has its own time.
        self._time = GOOD_TIME
        self.baseline: dict[str, Any] = {}

    def measure(self, cache: Path) -> None:
        """Run all tests on the good tree, or read what an earlier run on the same files recorded.

        A test that fails there tells nothing about a mutant and is left out. Raises RuntimeError if none is left.
        """
        file = cache / f"baseline-{_digest(self._tree)}.json"
        if not file.exists():
            answer = self._ask({"kind": "baseline", "limit_s": BASELINE_S_MAX})
            good = {name: test for name, test in answer.get("tests", {}).items() if name not in answer["failed"]}
            if not good:
                raise RuntimeError(f"no test passes on the good tree: {answer['failed']}")
            cache.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(good))
        self.baseline = json.loads(file.read_text())

    def run(self, mutant: Mutant, *, processes: bool) -> dict[str, Any]:
        """Return status (killed, survived), the test that noticed it and how, and the number of tests that ran."""
        selection, flaky, took_s = select(self.baseline, mutant.path, mutant.lines, processes=processes), [], 0.0
        while True:
            answer = self._run(mutant, selection)
            took_s += answer["took_s"]
            failed = answer["failed"]
            if not failed or len(flaky) == FLAKES_MAX:
                break
            if not failed["test"] or self._fails_again(mutant, failed, selection):
                return {"status": "killed", "by": failed["test"], "how": failed["how"],
                        "tests": answer.get("ran", 0), "flaky": flaky, "took_s": round(took_s, 1)}  # fmt: skip
            flaky.append(failed["test"])
            selection = selection.without(failed["test"])
        return {"status": "survived", "by": "", "how": "", "tests": len(selection.limits_s), "flaky": flaky,
                "took_s": round(took_s, 1)}  # fmt: skip

    def _fails_again(self, mutant: Mutant, failed: dict[str, str], selection: Selection) -> bool:
        # A test that was stopped at its limit took eight times as long as usual: it hung.
        if failed["how"].startswith("Failed: Timeout"):
            return True
        alone = Selection({failed["test"]: selection.limits_s[failed["test"]]})
        return bool(self._run(mutant, alone)["failed"])

    def _run(self, mutant: Mutant, selection: Selection) -> dict[str, Any]:
        if not selection.limits_s:
            return {"failed": {}, "ran": 0, "took_s": 0.0}
        path = self._tree / mutant.path
        path.write_text(mutant.after, encoding="utf-8")
        self._time += 1
        os.utime(path, (self._time, self._time))
        try:
            return self._ask({"kind": "run", "tests": selection.limits_s, "limit_s": selection.limit_s})
        finally:
            path.write_text(mutant.before, encoding="utf-8")
            os.utime(path, (GOOD_TIME, GOOD_TIME))

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._worker.stdin and self._worker.stdout
        self._worker.stdin.write(json.dumps(request) + "\n")
        self._worker.stdin.flush()
        line = self._worker.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker ended with {self._worker.wait()}")
        return json.loads(line)


@contextmanager
def runner() -> Iterator[Runner]:
    """Copy the tree, start MiniStack and the worker, and end both."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        tree = Path(folder) / "tree"
        _copy(tree)
        (tree.parent / "aws").mkdir()
        with ministack(tree.parent / "aws") as endpoint:
            env = {**os.environ, SHARED_ENDPOINT: endpoint, "PYTHONPATH": str(tree)}
            argv = [sys.executable, str(Path(__file__).with_name("worker.py"))]
            worker = subprocess.Popen(argv, cwd=tree, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            try:
                yield Runner(tree, worker)
            finally:
                worker.terminate()
                worker.wait(30)


def _digest(tree: Path) -> str:
    """Return a digest of the names and contents of all modules."""
    found = hashlib.sha256()
    for path in sorted(tree.rglob("*.py")):
        found.update(f"{path.relative_to(tree)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def _copy(tree: Path) -> None:
    for name in COPIED:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tree / name)
    for path in tree.rglob("*.py"):
        os.utime(path, (GOOD_TIME, GOOD_TIME))
