"""Write what a headless run leaves beside its notebook: how it ended, and the manifest of its evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kit.files.seal import write_manifest
from kit.notebook.run_state import write_state


def end_run(
    folder: Path, record: dict[str, Any] | None, *, exit_code: int | None = 0, parameters: dict[str, Any] | None = None
) -> None:
    """End a run that has glued `record`, if any."""
    given = {"scenario": "az-loss"} if parameters is None else parameters
    write_state(folder, notebook=Path("game_day.ipynb"), parameters=given, reproduce="", exit_code=exit_code)
    write_manifest(folder, headless=True, verdict=record)
