"""Choose what processes of the local AWS inherit from the shell that started it."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from pathlib import Path

# Where programs and shared libraries are, and how text is encoded. Everything else may be the user's secret.
INHERITED = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "TZ")


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that tasks and functions may see."""
    return {name: environment[name] for name in INHERITED if name in environment}


def clean(environment: MutableMapping[str, str], home: Path) -> None:
    """Remove all other variables, and let HOME and TMPDIR be in the state folder of this local AWS.

    The user's home would expose AWS profiles, and temporary files of a killed process would stay in the user's TMPDIR.
    """
    kept = inherited(environment)
    temporary = home / "tmp"
    temporary.mkdir(exist_ok=True)
    environment.clear()
    environment.update(kept, HOME=str(home), TMPDIR=str(temporary))
