"""Run the `gameday` command with a given notebook instead of a scenario's: probe_command.py NOTEBOOK WORD…"""

import sys
from pathlib import Path

from kit import gameday
from kit.cli.main import main

NOTEBOOK = Path(sys.argv[1])

gameday.notebook_of = lambda scenario: NOTEBOOK
sys.exit(main(sys.argv[2:]))
