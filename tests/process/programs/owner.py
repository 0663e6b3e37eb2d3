"""Start a program and sleep, as its owner: owner.py HOW REMOVE LOG PROGRAM…

HOW is one of
- spawn: start it and sleep;
- patient: the same, but its supervisor gives it 60 s to end;
- fork: the same as spawn, and a forked copy of the owner sleeps as well;
- detach: print the pids of the supervisor and of the program, and end.
"""

import os
import sys
import time
from pathlib import Path

from kit.process import lifeline

how, remove, log, *program = sys.argv[1:]

if how == "detach":
    sys.stdout.write("{} {}".format(*lifeline.spawn_detached(program)))
    sys.exit()
child = lifeline.spawn(program, remove=[Path(remove)], log=Path(log), grace_s=60 if how == "patient" else 1)
if how == "fork":
    os.fork()
time.sleep(300)
