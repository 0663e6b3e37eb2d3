"""Write and read how a headless run was started and how it ended: `run.json` and `ending.json` of its folder.

`run.json` is sealed, so that a damaged exit code cannot make a killed run look complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kit import schemas
from kit.errors import EvidenceMissing
from kit.files import read_object, write_json
from kit.files.seal import read_sealed, sealed

EXECUTED = "executed.ipynb"
RUN_FILE = "run.json"
SCHEMA = "gameday.run/1"
# Written by the child process that executed the notebook, if an exception ended it.
ENDING_FILE = "ending.json"
MESSAGE_CHARS_MAX = 500


def write_state(
    run_dir: Path,
    *,
    notebook: Path,
    parameters: Mapping[str, Any],
    reproduce: str,
    cell_timeout_s: int = 0,
    exit_code: int | None = None,
    stopped_by: str = "",
) -> None:
    """Write `run.json`. `exit_code` is None until the runner has ended; `stopped_by` names a signal."""
    state = {
        "schema": SCHEMA,
        "notebook": str(notebook),
        "parameters": dict(parameters),
        "reproduce": reproduce,
        "cell_timeout_s": cell_timeout_s,
        "exit_code": exit_code,
        "stopped_by": stopped_by,
    }
    write_json(run_dir / RUN_FILE, sealed(state))


def read_state(run_dir: Path) -> dict[str, Any]:
    """Read `run.json`. Raises EvidenceMissing if it is missing, damaged or not as its schema says."""
    state = read_sealed(run_dir / RUN_FILE)
    try:
        schemas.validate(state, "kit.notebook", "run.schema.json")
    except EvidenceMissing as error:
        raise EvidenceMissing(f"{RUN_FILE}: {error}") from error
    return state


def write_ending(run_dir: Path, error: BaseException) -> None:
    """Write which exception ended the execution of the notebook."""
    ending = {"exception": type(error).__name__, "message": " ".join(str(error).split())[:MESSAGE_CHARS_MAX]}
    write_json(run_dir / ENDING_FILE, ending)


def exception_of(run_dir: Path) -> str:
    """Return the exception that ended the notebook, as `Name: message`; empty if none was recorded."""
    if not (run_dir / ENDING_FILE).exists():
        return ""
    try:
        ending = read_object(run_dir / ENDING_FILE)
    except EvidenceMissing as error:
        return str(error)
    return f"{ending.get('exception', 'an exception')}: {ending.get('message', '')}".rstrip(": ")


def ending_of(state: Mapping[str, Any]) -> str:
    """Say how the runner's process ended."""
    if state.get("stopped_by"):
        return f"the run was stopped by {state['stopped_by']}"
    code = state.get("exit_code")
    if code is None:
        return "the runner never reported its end: it was killed"
    # Negative: the supervisor itself was killed; above 128: the runner under it was.
    number = -code if code < 0 else code - 128
    return f"the runner was killed by signal {number}" if number > 0 else f"the runner exited with code {code}"
