"""How busy the machine was with other things: real processes that burn."""

from __future__ import annotations

import subprocess
import sys
import time

from kit.machine import MachineWatch, Sample, class_of_machine, cores, foreign_share

BURN = [sys.executable, "-S", "-c", "while True: pass"]
WATCH_S = 3.0
# Watches twice at once from a process that is no parent of `pid`: as a stranger, and as one of its own.
WATCH = """
import time
from kit.machine import MachineWatch
watches = [MachineWatch.start(), MachineWatch.start([{pid}])]
begun = time.time()
time.sleep({seconds})
for watch in watches: watch.stop()
print(*(watch.foreign_share(begun, time.time()) for watch in watches))
"""


def sample(t: float, busy_s: float, own_s: float) -> Sample:
    return Sample(t=t, busy_s=busy_s, own_s=own_s)


def test_what_the_run_itself_took_is_not_foreign():
    assert foreign_share([sample(0, 100, 10), sample(10, 115, 20)], 2) == (15 - 10) / (10 * 2)


def test_one_sample_says_nothing():
    assert foreign_share([sample(0, 1, 1)], 2) is None


def shares_while(*argv: str) -> float:
    """The foreign share while our own child runs `argv`."""
    watch = MachineWatch.start()
    child = subprocess.Popen(argv)
    begun = time.time()
    time.sleep(WATCH_S)
    child.kill()
    child.wait()
    watch.stop()
    share = watch.foreign_share(begun, time.time())
    assert share is not None
    return share


def test_an_own_child_that_burns_a_core_is_no_foreigner_and_a_strangers_is():
    """A double fork makes the stranger: its parent is no descendant of ours."""
    own = shares_while(*BURN)
    detach = "import os, sys\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n"
    stranger = f"{detach}import time\nend = time.monotonic() + {WATCH_S + 1}\nwhile time.monotonic() < end: pass"
    foreign = shares_while(sys.executable, "-S", "-c", stranger)
    assert foreign > own + 0.5 / cores()


def test_a_process_that_was_named_belongs_to_the_run():
    """A local AWS that stays up between runs is no child of the run, but works for it."""
    child = subprocess.Popen(BURN, start_new_session=True)
    other = [sys.executable, "-c", WATCH.format(pid=child.pid, seconds=WATCH_S)]
    shown = subprocess.run(other, capture_output=True, text=True, check=True, timeout=30).stdout.split()
    child.kill()
    child.wait()
    stranger, member = map(float, shown)
    assert stranger > member + 0.25 / cores()


def test_the_class_of_the_machine_is_stable():
    assert class_of_machine() == class_of_machine()
    assert class_of_machine()["cpus"] == cores()
