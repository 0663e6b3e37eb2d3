"""Start a local AWS that outlives this process. Argument: its folder."""

import sys
from pathlib import Path

from kit import aws

aws.start_local_detached(Path(sys.argv[1]))
