"""Need 0.3 s to end in order after SIGTERM, then write a file and exit with 3: slow_end.py FILE"""

import signal
import sys
import time
from pathlib import Path


def end(*_: object) -> None:
    time.sleep(0.3)
    Path(sys.argv[1]).write_text("done")
    sys.exit(3)


signal.signal(signal.SIGTERM, end)
Path(f"{sys.argv[1]}.up").touch()
time.sleep(300)
