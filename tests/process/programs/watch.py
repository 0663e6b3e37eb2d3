"""Watch the machine twice, once with a process as a member of the run, and print both CPU times: watch.py PID"""

import sys
import time

from kit.process.machine import MachineWatch

watches = [MachineWatch.start(), MachineWatch.start([int(sys.argv[1])])]
time.sleep(3)
for watch in watches:
    watch.stop()
print(*(watch.samples[-1].own_s - watch.samples[0].own_s for watch in watches))  # noqa: T201  # the answer to the test
