"""Let a child use 0.4 s of CPU time, use 0.3 s itself, print an empty line and sleep."""

import subprocess
import sys
import time
from pathlib import Path

subprocess.run([sys.executable, "-S", str(Path(__file__).with_name("burn.py")), "0.4"], check=True)
end = time.process_time() + 0.3
while time.process_time() < end:
    pass
sys.stdout.write("\n")
sys.stdout.flush()
time.sleep(60)
