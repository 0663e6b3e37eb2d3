"""Claim a folder and end. Argument: the folder."""

import sys
from pathlib import Path

from kit.process import leftovers

leftovers.claim(Path(sys.argv[1]))
