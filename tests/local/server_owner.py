"""Start a local AWS that this process owns, print its endpoint and pid, and sleep. Argument: a folder, or none."""

import sys
import time
from pathlib import Path

from kit import aws

cloud = aws.start_local(Path(sys.argv[1]) / "state" if sys.argv[1:] else None)
sys.stdout.write(f"{cloud.endpoint} {cloud.pid}\n")
sys.stdout.flush()
time.sleep(300)
