"""Start a run whose reports are on a small disk, fill the disk during the fault, and print how the run ended, as JSON.

Arguments: an empty folder. It runs in a user namespace of its own, in which it may mount a disk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil

from kit.gameday.parameters import DISK_FREE_MIN_BYTES
from tests.e2e.conftest import SHORT
from tests.polling import wait_until

RUN_ID = "full"
ROOM_BYTES = 64 << 20
BLOCK = b"x" * (1 << 20)
FAULT_S_MAX, END_S_MAX, GONE_S_MAX = 120.0, 240.0, 10.0


def fill(path: Path) -> None:
    """Write until nothing more fits."""
    with path.open("wb", buffering=0) as file:
        for size in (len(BLOCK), 4096, 1):
            while True:
                try:
                    file.write(BLOCK[:size])
                except OSError:
                    break


def processes_in(folder: Path) -> list[str]:
    """Return the command lines that name the folder, this process's own left aside."""
    lines = [
        " ".join(each.info["cmdline"] or ())
        for each in psutil.process_iter(["cmdline", "pid"])
        if each.pid != os.getpid()
    ]
    return [line[:200] for line in lines if str(folder) in line and __file__ not in line]


def main(folder: Path) -> None:
    disk, temporary, log = folder / "disk", folder / "tmp", folder / "run.log"
    for each in (disk, temporary):
        each.mkdir()
    size = DISK_FREE_MIN_BYTES + ROOM_BYTES
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)], check=True)
    argv = [sys.executable, "-m", "kit", "run", "az-loss", *SHORT, "--run-id", RUN_ID, "--reports", str(disk)]
    with log.open("w") as output:
        run = subprocess.Popen(argv, stdout=output, stderr=output, env={**os.environ, "TMPDIR": str(temporary)})
    try:
        wait_until(lambda: "experiment running" in log.read_text(), "the fault", FAULT_S_MAX, interval_s=0.2)
        fill(disk / "filler")
        code = run.wait(END_S_MAX)
    finally:
        run.kill()
    wait_until(lambda: not processes_in(folder), "the end of all processes", GONE_S_MAX, interval_s=0.2)
    (disk / "filler").unlink()
    check = subprocess.run(
        [sys.executable, "-m", "kit", "check", str(disk / RUN_ID)], capture_output=True, text=True, check=False
    )
    sys.stdout.write(
        json.dumps(
            {
                "code": code,
                "log": log.read_text(),
                "check_code": check.returncode,
                "check": check.stdout + check.stderr,
                "temporary": sorted(os.listdir(temporary)),
                "parts": [path.name for path in disk.rglob(".*.part")],
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
