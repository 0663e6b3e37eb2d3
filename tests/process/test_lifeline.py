"""Test the lifeline by killing real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kit.process import lifeline
from tests.polling import wait_until

PROGRAMS = Path(__file__).with_name("programs")
WAIT_S_MAX = 10.0
# After the parent was killed, everything must be dead within this time.
DEAD_S_MAX = 2.0
SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(300)"]


def alive(pid: int) -> bool:
    return lifeline.started_at(pid) is not None


def wait_until_dead(*pids: int, timeout_s: float = WAIT_S_MAX) -> None:
    wait_until(lambda: not any(alive(pid) for pid in pids), f"death of {pids}", timeout_s)


def tree(tmp_path: Path, *words: str) -> list[str]:
    """A program with two descendants, one of them in its own session."""
    return [sys.executable, "-S", str(PROGRAMS / "tree.py"), str(tmp_path / "pids"), *words]


def pids(tmp_path: Path) -> list[int]:
    wait_until((tmp_path / "pids").exists)
    return [int(word) for word in (tmp_path / "pids").read_text().split()]


def owner(how: str, remove: Path, *program: str, log: Path = Path(os.devnull)) -> list[str]:
    """A parent that starts the program under a lifeline and then sleeps."""
    return [sys.executable, str(PROGRAMS / "owner.py"), how, str(remove), str(log), *program]


def test_close_ends_the_program_and_every_descendant(tmp_path):
    """A descendant in a session of its own ends, too."""
    child = lifeline.spawn(tree(tmp_path))
    started = pids(tmp_path)
    assert child.child_pid == started[0]
    assert child.poll() is None
    assert child.close() == 128 + signal.SIGTERM
    assert not any(alive(pid) for pid in [*started, child.pid])


def a_folder(path: Path) -> Path:
    path.mkdir()
    (path / "file").write_text("x")
    return path


def test_a_killed_parent_takes_a_stubborn_tree_with_it(tmp_path):
    """After SIGKILL of the parent all processes end within the limit, although they ignore SIGTERM."""
    folder = a_folder(tmp_path / "state")
    with subprocess.Popen(owner("spawn", folder, *tree(tmp_path, "stubborn"))) as parent:
        started = pids(tmp_path)
        parent.kill()
    wait_until_dead(*started, timeout_s=DEAD_S_MAX)
    wait_until(lambda: not folder.exists())


def test_files_of_a_nested_supervisor_that_is_killed_are_removed(tmp_path):
    """A nested supervisor that takes too long is killed before it has removed its files: the outer one removes them."""
    folder = a_folder(tmp_path / "state")
    outer = lifeline.spawn(owner("patient", folder, *tree(tmp_path, "stubborn")))
    pids(tmp_path)
    outer.close()
    assert not folder.exists()


def test_a_killed_supervisor_takes_its_program_with_it(tmp_path):
    """The kernel kills the program when its supervisor has ended."""
    child = lifeline.spawn(SLEEP)
    os.kill(child.pid, signal.SIGKILL)
    wait_until_dead(child.child_pid, timeout_s=DEAD_S_MAX)
    assert child.close() == -signal.SIGKILL


def test_descendants_do_not_outlive_a_program_that_was_killed(tmp_path):
    """After SIGKILL of the program its children are killed, and the supervisor returns 137."""
    child = lifeline.spawn(tree(tmp_path), remove=[tmp_path / "pids"])
    started = pids(tmp_path)
    os.kill(started[0], signal.SIGKILL)
    assert child.wait(DEAD_S_MAX) == 128 + signal.SIGKILL
    assert not any(alive(pid) for pid in started)
    assert not (tmp_path / "pids").exists()


def test_a_program_that_exits_gives_its_exit_code():
    with lifeline.spawn([sys.executable, "-S", "-c", "raise SystemExit(7)"]) as child:
        assert child.wait(WAIT_S_MAX) == 7
    assert child.close() == 7


def test_the_program_gets_its_grace_period(tmp_path):
    """A program that ends within the grace period is not killed."""
    child = lifeline.spawn([sys.executable, "-S", str(PROGRAMS / "slow_end.py"), str(tmp_path / "end")])
    wait_until((tmp_path / "end.up").exists)
    assert child.close() == 3
    assert (tmp_path / "end").read_text() == "done"


def test_terminate_asks_and_returns_at_once(tmp_path):
    child = lifeline.spawn(tree(tmp_path))
    pids(tmp_path)
    begun = time.monotonic()
    child.terminate()
    assert time.monotonic() - begun < 0.2
    assert child.wait(WAIT_S_MAX) == 128 + signal.SIGTERM


def test_an_interrupt_does_not_reach_the_program(tmp_path):
    """After Ctrl-C in the notebook the local AWS must end in order, so the signal must not reach it."""
    child = lifeline.spawn(SLEEP)
    assert os.getpgid(child.pid) != os.getpgrp()
    os.kill(child.pid, signal.SIGINT)
    time.sleep(0.1)
    assert child.poll() is None
    child.close()


def test_a_forked_copy_of_the_owner_holds_nothing(tmp_path):
    """A worker of multiprocessing that outlives the owner must not keep the program alive."""
    with subprocess.Popen(owner("fork", tmp_path / "x", *tree(tmp_path)), start_new_session=True) as parent:
        started = pids(tmp_path)
        try:
            time.sleep(0.2)
            parent.kill()
            wait_until_dead(*started, timeout_s=DEAD_S_MAX)
        finally:
            os.killpg(parent.pid, signal.SIGKILL)


def test_output_goes_to_the_log(tmp_path):
    log = tmp_path / "log"
    child = lifeline.spawn([sys.executable, "-S", "-c", "import os; os.write(1, b'out'); os.write(2, b'err')"], log=log)
    child.wait(WAIT_S_MAX)
    assert log.read_text() == "outerr"


def test_environment_and_folder_are_as_given(tmp_path):
    log = tmp_path / "log"
    code = "import os; print(os.getcwd(), os.environ.get('A'), 'HOME' in os.environ)"
    lifeline.spawn([sys.executable, "-S", "-c", code], env={"A": "1"}, cwd=tmp_path, log=log).wait(WAIT_S_MAX)
    assert log.read_text().split() == [str(tmp_path), "1", "False"]


def test_a_missing_program_is_an_error_at_once():
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        lifeline.spawn(["no-such-program"])


def test_close_removes_what_a_killed_supervisor_has_left(tmp_path):
    folder = a_folder(tmp_path / "folder")
    child = lifeline.spawn(SLEEP, remove=[folder])
    os.kill(child.pid, signal.SIGKILL)
    child.close()
    assert not folder.exists()


def test_a_detached_program_outlives_its_starter_and_ends_on_sigterm(tmp_path):
    argv = owner("detach", tmp_path / "x", *tree(tmp_path))
    done = subprocess.run(argv, capture_output=True, check=True, text=True, timeout=WAIT_S_MAX)
    supervisor, program = (int(word) for word in done.stdout.split())
    started = pids(tmp_path)
    assert program == started[0]
    assert all(alive(pid) for pid in started)
    os.kill(supervisor, signal.SIGTERM)
    wait_until_dead(*started, supervisor)


def test_starting_is_quick():
    """Every local AWS and every load process takes this time."""
    begun = time.monotonic()
    child = lifeline.spawn(["/bin/sleep", "60"])
    took_s = time.monotonic() - begun
    child.close()
    assert took_s < 0.5
