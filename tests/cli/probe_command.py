"""Run the `gameday` command with a given notebook instead of the game-day notebook: probe_command.py NOTEBOOK WORD…"""

import sys
from pathlib import Path

from kit import gameday
from kit.cli.main import main

NOTEBOOK = Path(sys.argv[1])

gameday.NOTEBOOK = NOTEBOOK
sys.exit(main(sys.argv[2:]))
