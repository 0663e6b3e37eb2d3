"""Read the headers of the known bad changes, and make a source tree with one of them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from kit.build import change_header

ROOT = Path(__file__).parents[2]
CHANGES = sorted((ROOT / "paperbroker/changes").glob("*.diff"))


def header(diff: Path) -> dict[str, str]:
    """Return the fields of the diff's header, as the kit reads them."""
    return dict(change_header.fields(diff))


def of_stack(diff: Path) -> bool:
    """Return whether a change patches the stack's template, which only a whole game day deploys."""
    return "+++ b/paperbroker/deploy/stack.yaml" in diff.read_text()


def copy_tree(to: Path, diff: Path | None = None) -> Path:
    """Copy PaperBroker and its tests to `to` and apply the change."""
    ignore = shutil.ignore_patterns("__pycache__")
    for folder in ("paperbroker", "tests/paperbroker"):
        shutil.copytree(ROOT / folder, to / folder, ignore=ignore)
    for file in ("pyproject.toml", "tests/polling.py"):
        shutil.copy(ROOT / file, to / file)
    if diff is not None:
        subprocess.run(["git", "apply", str(diff)], cwd=to, check=True, capture_output=True, text=True)
    return to
