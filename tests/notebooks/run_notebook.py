"""Run a notebook headless, as `gameday run` does: run_notebook.py NOTEBOOK RUN_DIR"""

import sys
from pathlib import Path

from kit.notebook import runner

notebook, run_dir = map(Path, sys.argv[1:])
runner.execute(runner.Request(notebook=notebook, parameters={}, run_dir=run_dir, reproduce=""))
