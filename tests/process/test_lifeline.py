"""The lifeline: real processes, really killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from kit.process import lifeline
from tests.polling import wait_until

WAIT_S_MAX = 10.0
# What the contract promises when the parent is killed.
DEAD_S_MAX = 2.0

# A program that starts two descendants, one in a session of its own, writes their pids, and ignores SIGTERM
# if told to.
TREE = """
import os, signal, subprocess, sys, time
if "stubborn" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
sleep = [sys.executable, "-S", "-c", "import time; time.sleep(300)"]
a = subprocess.Popen(sleep); b = subprocess.Popen(sleep, start_new_session=True)
with open(sys.argv[1] + ".new", "w") as f: f.write(f"{os.getpid()} {a.pid} {b.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(300)
"""


def alive(pid: int) -> bool:
    return lifeline.started_at(pid) is not None


def tree(tmp_path: Path, *words: str) -> list[str]:
    return [sys.executable, "-S", "-c", TREE, str(tmp_path / "pids"), *words]


def pids(tmp_path: Path) -> list[int]:
    wait_until((tmp_path / "pids").exists)
    return [int(word) for word in (tmp_path / "pids").read_text().split()]


def orphan_maker(tmp_path: Path, *, remove: Path) -> subprocess.Popen[bytes]:
    """A parent that owns the tree and then only sleeps."""
    code = f"""
        import time
        from pathlib import Path
        from kit.process import lifeline
        owned = lifeline.spawn({tree(tmp_path, "stubborn")!r}, remove=[Path({str(remove)!r})])
        time.sleep(300)
    """
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])


def test_close_ends_the_program_and_every_descendant(tmp_path):
    """Also the one in a session of its own."""
    owned = lifeline.spawn(tree(tmp_path))
    started = pids(tmp_path)
    assert owned.child_pid == started[0]
    assert owned.poll() is None
    assert owned.close() == 128 + signal.SIGTERM
    assert not any(alive(pid) for pid in [*started, owned.pid])


def test_a_killed_parent_takes_a_stubborn_tree_with_it(tmp_path):
    """SIGKILL of the parent: all dead within the promised time, although SIGTERM is ignored."""
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "file").write_text("x")
    parent = orphan_maker(tmp_path, remove=folder)
    started = pids(tmp_path)
    parent.kill()
    parent.wait(WAIT_S_MAX)
    wait_until(lambda: not any(alive(pid) for pid in started), timeout_s=DEAD_S_MAX)
    wait_until(lambda: not folder.exists())


NEST = """
import signal, sys, time
from pathlib import Path
from kit.process import lifeline
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(300)"
state, log = map(Path, sys.argv[1:])
owned = lifeline.spawn([sys.executable, "-S", "-c", stubborn], remove=[state], grace_s=60, log=log)
time.sleep(300)
"""


def test_files_of_a_nested_supervisor_that_is_killed_are_removed(tmp_path):
    """One that takes longer than its elder waits is killed before it has removed anything: the elder does it."""
    folder, log = tmp_path / "state", tmp_path / "log"
    folder.mkdir()
    (folder / "file").write_text("x")
    owned = lifeline.spawn([sys.executable, "-c", NEST, str(folder), str(log)])
    wait_until(lambda: log.exists() and log.read_text())
    owned.close()
    assert not folder.exists()


def test_a_killed_supervisor_takes_its_program_with_it(tmp_path):
    """The kernel kills the program when its supervisor is gone."""
    owned = lifeline.spawn([sys.executable, "-S", "-c", "import time; time.sleep(300)"])
    os.kill(owned.pid, signal.SIGKILL)
    wait_until(lambda: not alive(owned.child_pid), timeout_s=DEAD_S_MAX)
    assert owned.close() == -signal.SIGKILL


def test_descendants_do_not_outlive_a_program_that_was_killed(tmp_path):
    """SIGKILL of the program itself: its children die, the supervisor reports 137."""
    owned = lifeline.spawn(tree(tmp_path), remove=[tmp_path / "pids"])
    started = pids(tmp_path)
    os.kill(started[0], signal.SIGKILL)
    assert owned.wait(DEAD_S_MAX) == 128 + signal.SIGKILL
    assert not any(alive(pid) for pid in started)
    assert not (tmp_path / "pids").exists()


def test_a_program_that_ends_by_itself_gives_its_exit_code():
    with lifeline.spawn([sys.executable, "-S", "-c", "raise SystemExit(7)"]) as owned:
        assert owned.wait(WAIT_S_MAX) == 7
    assert owned.close() == 7


def test_the_program_gets_its_grace(tmp_path):
    """An orderly end within the grace is not cut short."""
    code = """
import signal, sys, time
def end(*_):
    time.sleep(0.3); open(sys.argv[1], "w").write("done"); sys.exit(3)
signal.signal(signal.SIGTERM, end); open(sys.argv[1] + ".up", "w").close(); time.sleep(300)
"""
    owned = lifeline.spawn([sys.executable, "-S", "-c", code, str(tmp_path / "end")])
    wait_until((tmp_path / "end.up").exists)
    assert owned.close() == 3
    assert (tmp_path / "end").read_text() == "done"


def test_terminate_asks_and_returns_at_once(tmp_path):
    owned = lifeline.spawn(tree(tmp_path))
    pids(tmp_path)
    begun = time.monotonic()
    owned.terminate()
    assert time.monotonic() - begun < 0.2
    assert owned.wait(WAIT_S_MAX) == 128 + signal.SIGTERM


def test_an_interrupt_does_not_reach_it(tmp_path):
    """Ctrl-C in the notebook must end the cloud in order, not tear it."""
    owned = lifeline.spawn([sys.executable, "-S", "-c", "import time; time.sleep(300)"])
    assert os.getpgid(owned.pid) != os.getpgrp()
    os.kill(owned.pid, signal.SIGINT)
    time.sleep(0.1)
    assert owned.poll() is None
    owned.close()


def test_a_forked_copy_of_the_owner_holds_nothing(tmp_path):
    """A worker of multiprocessing that outlives the owner must not keep the program alive."""
    code = f"""
        import os, time
        from kit.process import lifeline
        owned = lifeline.spawn({tree(tmp_path)!r})
        if os.fork() == 0:
            time.sleep(300)
        print(owned.child_pid, flush=True)
        time.sleep(300)
    """
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, start_new_session=True) as owner:
        started = pids(tmp_path)
        try:
            time.sleep(0.2)
            owner.kill()
            wait_until(lambda: not any(alive(pid) for pid in started), timeout_s=DEAD_S_MAX)
        finally:
            os.killpg(owner.pid, signal.SIGKILL)


def test_output_goes_to_the_log(tmp_path):
    log = tmp_path / "log"
    owned = lifeline.spawn([sys.executable, "-S", "-c", "import os; os.write(1, b'out'); os.write(2, b'err')"], log=log)
    owned.wait(WAIT_S_MAX)
    assert log.read_text() == "outerr"


def test_environment_and_folder_are_as_given(tmp_path):
    log = tmp_path / "log"
    code = "import os; print(os.getcwd(), os.environ.get('A'), 'HOME' in os.environ)"
    lifeline.spawn([sys.executable, "-S", "-c", code], env={"A": "1"}, cwd=tmp_path, log=log).wait(WAIT_S_MAX)
    assert log.read_text().split() == [str(tmp_path), "1", "False"]


def test_a_missing_program_is_an_error_at_once():
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        lifeline.spawn(["no-such-program"])


def test_a_detached_program_outlives_its_starter_and_ends_on_sigterm(tmp_path):
    code = f"from kit.process import lifeline; print(*lifeline.spawn_detached({tree(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=WAIT_S_MAX)
    supervisor, program = (int(word) for word in done.stdout.split())
    started = pids(tmp_path)
    assert program == started[0]
    assert all(alive(pid) for pid in started)
    os.kill(supervisor, signal.SIGTERM)
    wait_until(lambda: not any(alive(pid) for pid in [*started, supervisor]))


def test_starting_is_quick():
    """Every local cloud and every load process pays this."""
    begun = time.monotonic()
    owned = lifeline.spawn(["/bin/sleep", "60"])
    took_s = time.monotonic() - begun
    owned.close()
    assert took_s < 0.5
