"""Test a load in its own process: started, watched, stopped, killed, orphaned."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kit.errors import EvidenceMissing, UsageError
from kit.load import LoadPlan, LoadRun, read_history
from kit.model import NS_PER_S
from tests.load.load_exchange import Exchange, plan_of
from tests.polling import wait_until


def plan(exchange: Exchange, **changes: object) -> LoadPlan:
    return plan_of(exchange.url, **{"rate_per_s": 100.0, "duration_max_s": 60.0, "resubmit_early_ratio": 0.2} | changes)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_stopped_run_leaves_a_complete_history(exchange_thread: Exchange, tmp_path: Path) -> None:
    """SIGTERM ends issuing, and the history contains everything that was sent."""
    run = LoadRun.start(plan(exchange_thread), tmp_path)
    assert run.alive
    wait_until(lambda: (run.progress() or {})["ok"] > 50)
    os.kill(run.pid, signal.SIGINT)  # a Ctrl-C in the terminal reaches the generator too and must not end it
    seen = run.progress()
    assert seen is not None and {"t", "sent", "ok", "fail", "info", "p95_ms_last", "inflight"} <= seen.keys()
    stats = run.finish(20)
    assert not run.alive
    read = read_history(tmp_path)
    assert stats == read.stats
    assert stats.sent == len(read.attempts) == stats.ok >= 50
    assert stats.dropped == 0
    assert read.attempts["kind"].tolist().count("first") == stats.intended
    assert abs(read.attempts["intended_ns"].to_numpy()[-1] / NS_PER_S - time.time()) < 10
    assert {request.headers["x-amzn-trace-id"] for request in exchange_thread.requests}
    assert read.summary["caught_up"] and not read.summary["cut_short"]
    last = run.progress()
    assert last is not None and last["state"] == "done"


def test_run_ends_after_its_longest_duration(exchange_thread: Exchange, tmp_path: Path) -> None:
    """It ends without being stopped."""
    run = LoadRun.start(plan(exchange_thread, duration_max_s=0.5), tmp_path)
    wait_until(lambda: not run.alive)
    assert run.finish(1).sent > 20


def test_killed_generator_is_missing_evidence(exchange_thread: Exchange, tmp_path: Path) -> None:
    """A generator that dies raises an error instead of returning numbers."""
    run = LoadRun.start(plan(exchange_thread), tmp_path)
    os.kill(run.pid, signal.SIGKILL)
    wait_until(lambda: not run.alive)
    with pytest.raises(EvidenceMissing, match="exit code 137"):
        run.progress()
    with pytest.raises(EvidenceMissing, match="exit code 137"):
        run.finish(1)


def test_generator_whose_writer_dies_ends_with_an_error(exchange_thread: Exchange, tmp_path: Path) -> None:
    """Without a history the load is useless, so the generator ends."""
    run = LoadRun.start(plan(exchange_thread), tmp_path)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    assert len(children) == 1
    os.kill(int(children[0]), signal.SIGKILL)
    wait_until(lambda: not run.alive)
    with pytest.raises(EvidenceMissing, match="exit code 1"):
        run.finish(1)


def test_orphaned_load_leaves_nothing_running(exchange_thread: Exchange, tmp_path: Path) -> None:
    """When the parent is killed, generator and writer end, and no more requests arrive."""
    program = Path(__file__).with_name("programs") / "load_owner.py"
    argv = [sys.executable, str(program), plan(exchange_thread).to_json(), str(tmp_path)]
    parent = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    generator = int(parent.stdout.readline())
    writers = [int(word) for word in Path(f"/proc/{generator}/task/{generator}/children").read_text().split()]
    assert writers
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not any(runs(pid) for pid in (generator, *writers)))
    heard = len(exchange_thread.requests)
    time.sleep(0.2)
    assert len(exchange_thread.requests) == heard


def test_bad_plan_is_refused_with_exit_code_4(tmp_path: Path) -> None:
    """The command prints the error and starts nothing."""
    file = tmp_path / "plan.json"
    file.write_text('{"api_url": "http://x", "markets": ["ACME"], "rate_per_s": -1}')
    argv = [sys.executable, "-m", "kit.load", "--plan", str(file), "--out", str(tmp_path / "out")]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert ended.returncode == 4
    assert "rate_per_s=-1" in ended.stderr
    assert not (tmp_path / "out").exists()


def test_folder_of_an_earlier_load_is_refused(exchange_thread: Exchange, tmp_path: Path) -> None:
    """Two loads must not mix their segments."""
    (tmp_path / "progress.json").write_text("{}")
    with pytest.raises(UsageError, match="holds an earlier load"):
        LoadRun.start(plan(exchange_thread), tmp_path)
