"""Refuse folders without evidence, with an error that lists the folders that a command accepts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kit.errors import UsageError

# The file by which each kind of folder is known.
RUN_FOLDER = {"run.json": "a run folder reports/<run>"}
ALL_FOLDERS = {
    **RUN_FOLDER,
    "conducted.json": "the folder of a run that Step Functions conducted",
    "suite.json": "a suite folder reports/<suite>",
    "power.json": "a power folder reports/<power>",
}


def check_folders(folders: Sequence[Path], expected: dict[str, str]) -> None:
    """Raise UsageError for the first path that is none of the expected folders."""
    for folder in folders:
        try:
            problem = _problem(folder, list(expected))
        except OSError as error:
            problem = f"cannot be read ({error.strerror})"
        if problem:
            raise UsageError(f"{folder} {problem}; expected {_any_of(list(expected.values()))}")


def _problem(folder: Path, names: list[str]) -> str:
    if not folder.exists():
        return "does not exist"
    if not folder.is_dir():
        return "is no folder"
    return "" if any((folder / name).is_file() for name in names) else f"holds no {_any_of(names)}"


def _any_of(words: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
