"""Start a child that sleeps, and sleep, both with an argument that tells them from other processes: MARKER"""

import subprocess
import sys
import time

subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)", sys.argv[1]])
time.sleep(300)
