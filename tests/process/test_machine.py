"""How busy the machine was with other things: real processes that burn."""

from __future__ import annotations

import os
import subprocess
import sys

from kit.process.machine import Sample, _own_s, class_of_machine, cores, foreign_share

BURN = [sys.executable, "-S", "-c", "while True: pass"]
WATCH_S = 3.0
BURNT_S = 1.0
# Watches twice at once from a process that is no parent of `pid`: as a stranger, and as one of its own.
WATCH = """
import time
from kit.process.machine import MachineWatch
watches = [MachineWatch.start(), MachineWatch.start([{pid}])]
time.sleep({seconds})
for watch in watches: watch.stop()
print(*(watch._samples[-1].own_s - watch._samples[0].own_s for watch in watches))
"""


def sample(t: float, busy_s: float, own_s: float) -> Sample:
    return Sample(t=t, busy_s=busy_s, own_s=own_s)


def test_what_the_run_itself_took_is_not_foreign():
    assert foreign_share([sample(0, 100, 10), sample(10, 115, 20)], 2) == (15 - 10) / (10 * 2)


def test_one_sample_says_nothing():
    assert foreign_share([sample(0, 1, 1)], 2) is None


def own_s_while(program: str) -> float:
    """Seconds of processor time that count as the run's own while `program` runs, until nobody holds its output."""
    before = _own_s({os.getpid()})
    subprocess.run([sys.executable, "-S", "-c", program], stdout=subprocess.PIPE, check=True, timeout=60)
    return _own_s({os.getpid()}) - before


def test_an_own_child_that_burns_counts_as_own_and_a_strangers_does_not():
    """A double fork makes the stranger: its parent is no descendant of ours. Both burn processor time, not time, so
    that it does not matter how busy the machine is.
    """
    burn = f"import time\nwhile time.process_time() < {BURNT_S}: pass"
    detach = "import os, sys\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n"
    assert own_s_while(burn) >= 0.9 * BURNT_S
    assert own_s_while(detach + burn) <= 0.5 * BURNT_S


def test_a_process_that_was_named_belongs_to_the_run():
    """A local AWS that stays up between runs is no child of the run, but works for it."""
    child = subprocess.Popen(BURN, start_new_session=True)
    other = [sys.executable, "-c", WATCH.format(pid=child.pid, seconds=WATCH_S)]
    shown = subprocess.run(other, capture_output=True, text=True, check=True, timeout=30).stdout.split()
    child.kill()
    child.wait()
    stranger_s, member_s = map(float, shown)
    assert member_s > 2 * stranger_s + 0.2


def test_the_class_of_the_machine_is_stable():
    assert class_of_machine() == class_of_machine()
    assert class_of_machine()["cpus"] == cores()
