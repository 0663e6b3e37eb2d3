"""Run pytest on a copied tree again and again, each time in a fork: python worker.py (in the tree; not imported).

Reads one JSON request a line and writes one JSON answer a line. A fork saves the import of pytest, botocore and others,
which takes longer than most tests. A fork that exceeds its time is killed with everything that it has started.

Requests: {"kind": "baseline"} answers, for each test, its duration, whether it starts processes of PaperBroker, and the
lines of PaperBroker that it runs in its own process. {"kind": "run", "tests": {id: limit_s}, "limit_s": …} runs these
tests in this order until one fails, and answers which one and how.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

TREE = Path.cwd()
TESTS = "tests/paperbroker"
# They run a whole tree each, check the stack, or run for minutes.
LEFT_OUT = ("test_bad_change.py", "test_stack_template.py", "test_changes_under_load.py")
ANSWER, OUTPUT = TREE / "answer.json", TREE / "output.log"
PROCESS = "paperbroker.main"
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def preload() -> None:
    """Import what the tests need, and nothing of PaperBroker or of its tests."""
    import botocore.session
    import hypothesis
    import starlette.applications
    import uvicorn
    import yaml

    import kit.aws

    del botocore, hypothesis, kit, starlette, uvicorn, yaml
    assert not [name for name in sys.modules if name.split(".")[0] in ("paperbroker", "tests")]


class Baseline:
    """Record each test's duration, lines and processes."""

    def __init__(self) -> None:
        import coverage

        self._coverage = coverage.Coverage(data_file=None, source=[str(TREE / "paperbroker")], config_file=False)
        self.tests: dict[str, dict[str, Any]] = {}
        self.failed: list[str] = []
        self._current = ""

    def pytest_sessionstart(self) -> None:
        self._coverage.start()
        begin = subprocess.Popen.__init__

        def recorded(popen: Any, args: Any, *more: Any, **options: Any) -> None:
            if PROCESS in [str(each) for each in args] and self._current in self.tests:
                self.tests[self._current]["process"] = True
            begin(popen, args, *more, **options)

        subprocess.Popen.__init__ = recorded  # type: ignore[method-assign]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        self._current = item.nodeid
        self.tests[item.nodeid] = {"s": 0.0, "process": False, "lines": {}}
        self._coverage.switch_context(item.nodeid)
        begun = time.monotonic()
        try:
            return (yield)
        finally:
            self._coverage.switch_context("")
            self.tests[item.nodeid]["s"] = round(time.monotonic() - begun, 3)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()
        data = self._coverage.get_data()
        for file in data.measured_files():
            path = Path(file).relative_to(TREE).as_posix()
            for line, contexts in data.contexts_by_lineno(file).items():
                for context in contexts:
                    if context:
                        self.tests[context]["lines"].setdefault(path, []).append(line)
        _answer({"tests": self.tests, "failed": self.failed})


class Run:
    """Run the named tests only, in their order, each with its limit; record the first failure."""

    def __init__(self, tests: dict[str, float]) -> None:
        self._tests = tests
        self._failed: dict[str, str] = {}
        self._count = 0

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        place = {nodeid: number for number, nodeid in enumerate(self._tests)}
        items[:] = sorted((item for item in items if item.nodeid in place), key=lambda item: place[item.nodeid])
        for item in items:
            item.add_marker(pytest.mark.timeout(self._tests[item.nodeid]))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        report = yield
        if report.failed and not self._failed and call.excinfo is not None:
            how = call.excinfo.typename
            self._failed = {"test": item.nodeid, "how": f"{how}: {call.excinfo.value}"[:200]}
        return report

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self._failed:
            self._failed = {"test": "", "how": f"collection: {report.longreprtext.splitlines()[-1][:200]}"}

    def pytest_runtest_logfinish(self) -> None:
        self._count += 1

    def pytest_sessionfinish(self) -> None:
        _answer({"failed": self._failed, "ran": self._count})


def _answer(value: dict[str, Any]) -> None:
    ANSWER.write_text(json.dumps(value))


def _in_fork(request: dict[str, Any]) -> None:
    """Run pytest and leave the answer in a file. Never returns."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with OUTPUT.open("wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.close(0)
    sys.path.insert(0, str(TREE))
    arguments = ["-p", "no:cacheprovider", "--rootdir", str(TREE), "-q", "--hypothesis-seed=0"]
    if request["kind"] == "baseline":
        plugin: Any = Baseline()
        arguments += [TESTS, *(f"--ignore={TESTS}/{name}" for name in LEFT_OUT)]
    else:
        plugin = Run(request["tests"])
        arguments += ["-x", *sorted({nodeid.partition("::")[0] for nodeid in request["tests"]})]
    os._exit(pytest.main(arguments, plugins=[plugin]))


def _run(request: dict[str, Any]) -> dict[str, Any]:
    ANSWER.unlink(missing_ok=True)
    begun = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _in_fork(request)
    ended = _wait(pid, begun + request["limit_s"])
    _kill_descendants()
    shutil.rmtree(TREE / ".hypothesis", ignore_errors=True)
    took_s = round(time.monotonic() - begun, 2)
    if not ended:
        return {"failed": {"test": "", "how": f"hung: no end within {request['limit_s']:.0f} s"}, "took_s": took_s}
    if not ANSWER.exists():
        lines = OUTPUT.read_text(errors="replace").splitlines()
        return {"failed": {"test": "", "how": f"pytest ended early: {lines[-1:]}"}, "took_s": took_s}
    return {**json.loads(ANSWER.read_text()), "took_s": took_s}


def _wait(pid: int, deadline: float) -> bool:
    """Wait for the fork; kill it at the deadline and return False."""
    while True:
        found, _ = os.waitpid(pid, os.WNOHANG)
        if found:
            return True
        if time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return False
        time.sleep(0.02)


def _kill_descendants() -> None:
    """Kill what a fork has left behind. Orphans are children of this process, because it is their subreaper."""
    while children := psutil.Process().children(recursive=True):
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, timeout=5)


def _end(*_: object) -> None:
    _kill_descendants()
    os._exit(1)


def main() -> None:
    # Whoever ends this process, or its parent, leaves no process of a test behind.
    signal.signal(signal.SIGTERM, _end)
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    preload()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_run(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
