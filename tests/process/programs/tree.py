"""Start two descendants, one in a session of its own, write all pids to a file, and sleep: tree.py FILE [stubborn]

A stubborn one ignores SIGTERM.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(300)"]

if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
descendants = [subprocess.Popen(SLEEP), subprocess.Popen(SLEEP, start_new_session=True)]
part = Path(f"{sys.argv[1]}.part")
part.write_text(" ".join(str(pid) for pid in (os.getpid(), *(child.pid for child in descendants))))
part.rename(sys.argv[1])
time.sleep(300)
