"""Use CPU time, and with "detached" in a process that is no descendant of the caller: burn.py SECONDS [detached]"""

import os
import sys
import time

if "detached" in sys.argv:
    # A double fork: the first child ends, so the second one belongs to init.
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
# CPU time, not wall time, so that it does not matter how busy the machine is.
while time.process_time() < float(sys.argv[1]):
    pass
