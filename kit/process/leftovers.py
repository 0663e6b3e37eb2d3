"""Remove the folders of processes that were killed before they could remove them.

A process claims a folder that it will remove at its end. The next process that makes such a folder removes those whose
claimers are all dead. A folder without a claim is never touched.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from kit.files.replacement import replacing_file
from kit.process import lifeline

CLAIM_FILE = ".claim.json"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Process ids are only meaningful within their namespace: another container may share the folder.
_NAMESPACE = Path("/proc/self/ns/pid")


def claim(folder: Path, *pids: int) -> None:
    """Note that these processes use the folder, this one among them. Raises OSError."""
    claimers = [[pid, lifeline.started_at(pid)] for pid in dict.fromkeys((os.getpid(), *pids))]
    with replacing_file(folder / CLAIM_FILE) as file:
        file.write(json.dumps({"machine": _machine(), "claimers": claimers}).encode())


def sweep(folders: Iterable[Path]) -> list[Path]:
    """Remove the folders of this user whose claimers are all dead. Return what was removed."""
    removed = []
    for folder in folders:
        if _is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
    return removed


def _is_abandoned(folder: Path) -> bool:
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return False
        found = json.loads((folder / CLAIM_FILE).read_text(encoding="utf-8"))
        boot_id, namespace = found["machine"]
        claimers = [(int(pid), started) for pid, started in found["claimers"]]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    here = _machine()
    if namespace != here[1]:
        return False
    return boot_id != here[0] or not any(lifeline.started_at(pid) == started for pid, started in claimers)


def _machine() -> list[str]:
    return [_BOOT_ID.read_text(encoding="utf-8").strip(), os.readlink(_NAMESPACE)]
