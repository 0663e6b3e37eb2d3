"""Start a load, print the pid of its generator, and sleep: load_owner.py PLAN FOLDER"""

import sys
import time
from pathlib import Path

from kit.load import LoadPlan, LoadRun

run = LoadRun.start(LoadPlan.from_json(sys.argv[1]), Path(sys.argv[2]))
print(run.pid, flush=True)  # noqa: T201  # the answer to the test
time.sleep(60)
