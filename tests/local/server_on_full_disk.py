"""Run the local AWS with a full disk: every new file is /dev/full, which fails with ENOSPC. Argument: its folder."""

import os
import sys
from typing import BinaryIO

from kit.files import replacement
from kit.local.__main__ import main


def on_full_disk(descriptor: int, _mode: str) -> BinaryIO:
    os.close(descriptor)
    return open("/dev/full", "wb")


replacement.open = on_full_disk  # type: ignore[attr-defined]
sys.exit(main(["--state-dir", sys.argv[1]]))
