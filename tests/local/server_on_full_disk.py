"""Run the local AWS with a full disk: every write goes to /dev/full, which fails with ENOSPC. Argument: its folder."""

import sys
from pathlib import Path

from kit.local.__main__ import main


def write_to_full_disk(_path: Path, data: bytes) -> int:
    with open("/dev/full", "wb", buffering=0) as device:
        return device.write(data) or 0


Path.write_bytes = write_to_full_disk  # type: ignore[method-assign,assignment]
sys.exit(main(["--state-dir", sys.argv[1]]))
