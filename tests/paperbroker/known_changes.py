"""The known bad changes: what their headers say, and a tree that has one of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHANGES = sorted((ROOT / "paperbroker/changes").glob("*.diff"))


def header(diff: Path) -> dict[str, str]:
    """The comment lines before the diff; a line without a name goes on with the one before."""
    found: dict[str, str] = {}
    name = ""
    for line in diff.read_text().splitlines():
        if not line.startswith("#"):
            break
        if match := re.fullmatch(r"# ([a-z-]+): (.*)", line):
            name = match[1]
            found[name] = match[2]
        else:
            found[name] += " " + line.removeprefix("#").strip()
    return found


def copy_tree(to: Path, diff: Path | None = None) -> Path:
    """The sources of PaperBroker and what its tests need in `to`, with the change applied."""
    ignore = shutil.ignore_patterns("__pycache__")
    for folder in ("paperbroker", "tests/paperbroker"):
        shutil.copytree(ROOT / folder, to / folder, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", to)
    if diff is not None:
        subprocess.run(["git", "apply", str(diff)], cwd=to, check=True, capture_output=True, text=True)
    return to
