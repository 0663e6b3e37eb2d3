"""Run a game-day notebook headless: check its parameters, execute it in a child process."""

from __future__ import annotations

import ast
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.errors import EvidenceMissing, UsageError
from kit.notebook.run_state import EXECUTED, read_state, write_ending, write_state
from kit.parameter_specs import PARAMETER_TAGS, RUN_PARAMETERS, ParameterSpec
from kit.process import leftovers, lifeline, terminal
from kit.process.signals import stop_on_signal

LOG_FILE = "runner.log"
# Jupyter's files, among them the kernel's keys. Removed at the end of the run.
RUNTIME_FOLDER = ".runtime"
# How long a cell may take beyond the longest stage that it waits for, such as the fault.
CELL_SLACK_S = 900
KERNEL_START_TIMEOUT_S = 60
# A stopped child gets this long to save its notebook and let the kernel clean up before everything is killed.
STOP_GRACE_S = 8.0
# The types that a parameters cell may declare.
TYPES: Mapping[str, type] = {"int": int, "float": float, "str": str, "bool": bool}
# How often the command checks whether the run has ended.
POLL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One headless run: the notebook, its parameters, and the folder for its results.

    `longest_stage_s`: how long a cell waits on purpose at most, such as for the end of the fault.
    """

    notebook: Path
    parameters: dict[str, Any]
    run_dir: Path
    reproduce: str
    longest_stage_s: int = 0


def declared_parameters(notebook: Path) -> dict[str, tuple[str, Any]]:
    """Return name → (type name, default) of the notebook's cells with parameters."""
    import nbformat
    from papermill.translators import PythonTranslator

    if not notebook.is_file():
        raise UsageError(f"no notebook {notebook.name} in {notebook.parent.name}/")
    cells = nbformat.read(notebook, as_version=4).cells
    declaring = [cell for cell in cells if set(PARAMETER_TAGS) & set(cell.metadata.get("tags", []))]
    found = [item for cell in declaring for item in PythonTranslator.inspect(cell)]
    return {item.name: (item.inferred_type_name, ast.literal_eval(item.default)) for item in found}


def strict_parameters(notebook: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Check `given` against the notebook's parameters and the parameter specs; convert text to the declared type.

    Papermill itself only warns about an unknown name and passes text on as text. Raises UsageError.
    """
    declared = declared_parameters(notebook)
    values = {}
    for name, value in given.items():
        if name not in declared:
            known = ", ".join(sorted(declared))
            raise UsageError(f"parameter {name!r} is unknown; {notebook.stem} has: {known}")
        spec = RUN_PARAMETERS.get(name) or ParameterSpec(name=name, type=TYPES[declared[name][0]])
        values[name] = spec.parse(value)
    return values


def execute(request: Request) -> int:
    """Run the notebook in a child process; returns its exit code (128 + n if signal n killed it).

    SIGINT, SIGTERM and SIGHUP to this process stop the run in order. Whatever ends this process, SIGKILL included,
    ends the child and everything that it started. Raises EvidenceMissing if the run's folder cannot be written at the
    start.
    """
    run_dir = request.run_dir
    runtime = run_dir / RUNTIME_FOLDER
    leftovers.sweep(run_dir.parent.glob(f"*/{RUNTIME_FOLDER}"))

    def write(**ending: Any) -> None:
        write_state(
            run_dir,
            notebook=request.notebook,
            parameters=request.parameters,
            reproduce=request.reproduce,
            cell_timeout_s=CELL_SLACK_S + request.longest_stage_s,
            **ending,
        )

    try:
        runtime.mkdir(parents=True)
        leftovers.claim(runtime)
    except OSError as error:
        raise EvidenceMissing(f"{runtime} cannot be made: {error.strerror}") from error
    write()
    environment = {**os.environ, "JUPYTER_RUNTIME_DIR": str(runtime), "GAMEDAY_HEADLESS": "1"}
    argv = [sys.executable, "-m", "kit", "_execute", str(run_dir)]
    log = run_dir / LOG_FILE
    signals: list[str] = []
    with (
        stop_on_signal(signals.append),
        lifeline.spawn(argv, env=environment, log=log, remove=[runtime], grace_s=STOP_GRACE_S) as child,
    ):
        code = _follow(child, log, signals)
    try:
        write(exit_code=code, stopped_by=signals[0] if signals else "")
    except EvidenceMissing as error:
        if not run_dir.is_dir():
            raise
        # What the run left can still be judged, such as on a full disk.
        terminal.warn(f"gameday: {error}")
    return code


def _follow(child: lifeline.Child, log: Path, signals: Sequence[str]) -> int:
    """Show the child's log until it ends; ask it to end as soon as a signal has arrived."""
    shown = 0
    while (code := child.poll()) is None:
        if signals:
            child.terminate()
        time.sleep(POLL_S)
        shown = _show(log, shown)
    _show(log, shown)
    return code


def _show(log: Path, offset: int) -> int:
    """Copy what the log gained since `offset` to the terminal; returns the new offset."""
    try:
        with log.open("rb") as lines:
            lines.seek(offset)
            fresh = lines.read()
    except FileNotFoundError:
        return offset
    terminal.write(fresh.decode(errors="replace"))
    return offset + len(fresh)


def run_papermill(run_dir: Path) -> None:
    """Execute the notebook that `run.json` names, as the child of `execute`.

    Raises what papermill raises, after it has written which exception that was.
    """
    import papermill
    from jupyter_client.manager import AsyncKernelManager

    state = read_state(run_dir)
    logging.getLogger("papermill").addFilter(_is_news)
    try:
        _execute_notebook(papermill, AsyncKernelManager, state, run_dir)
    except BaseException as error:
        write_ending(run_dir, error)
        raise


def _is_news(record: logging.LogRecord) -> bool:
    """Leave out warnings about unknown parameters. Papermill reads one cell; `strict_parameters` has checked all."""
    return not record.getMessage().startswith("Passed unknown parameter")


def _execute_notebook(papermill: Any, manager: Any, state: Mapping[str, Any], run_dir: Path) -> None:
    papermill.execute_notebook(
        _literal(state["notebook"]),
        _literal(str(run_dir / EXECUTED)),
        parameters=state["parameters"],
        km=manager(
            kernel_name="python3",
            transport_encryption="auto",
            # By default it is in the machine's folder for temporary files, and stays there.
            connection_file=str(run_dir / RUNTIME_FOLDER / "kernel.json"),
        ),
        progress_bar=False,
        stdout_file=sys.stdout,
        autosave_cell_every=1,
        execution_timeout=state["cell_timeout_s"],
        start_timeout=KERNEL_START_TIMEOUT_S,
        cwd=str(Path(state["notebook"]).parent),
    )


def _literal(path: str) -> str:
    """Escape the braces in a path, which are part of a folder's name. Papermill would fill them with parameters."""
    return path.replace("{", "{{").replace("}", "}}")
