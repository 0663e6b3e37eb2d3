"""The known bad changes: what their headers say, and a tree that has one of them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from kit.build import change_header

ROOT = Path(__file__).parents[2]
CHANGES = sorted((ROOT / "paperbroker/changes").glob("*.diff"))


def header(diff: Path) -> dict[str, str]:
    """The comment lines before the diff, as the kit reads them."""
    return dict(change_header.fields(diff))


def copy_tree(to: Path, diff: Path | None = None) -> Path:
    """The sources of PaperBroker and what its tests need in `to`, with the change applied."""
    ignore = shutil.ignore_patterns("__pycache__")
    for folder in ("paperbroker", "tests/paperbroker"):
        shutil.copytree(ROOT / folder, to / folder, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", to)
    if diff is not None:
        subprocess.run(["git", "apply", str(diff)], cwd=to, check=True, capture_output=True, text=True)
    return to
