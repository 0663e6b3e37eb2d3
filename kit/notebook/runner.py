"""Run a game-day notebook headless: check its parameters, execute it in a child process, read its verdict.

The verdict comes from the notebook's scrap. This module can only make it worse.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.errors import EvidenceMissing, UsageError
from kit.model import Verdict
from kit.notebook import scraps
from kit.notebook.validity import ENDINGS_OF_A_VERDICT, Problem, ProblemKind, notebook_problems
from kit.parameter_specs import RUN_PARAMETERS, ParameterSpec
from kit.process import leftovers, lifeline, terminal
from kit.process.atomic_file import write_json
from kit.process.signals import stop_on_signal
from kit.verdict import gate

EXECUTED = "executed.ipynb"
RUN_FILE = "run.json"
LOG_FILE = "runner.log"
# Jupyter's files, among them the kernel's keys. Removed at the end of the run.
RUNTIME_FOLDER = ".runtime"
CELL_TIMEOUT_S = 900
KERNEL_START_TIMEOUT_S = 60
# A stopped child gets this long to save its notebook and let the kernel clean up before everything is killed.
STOP_GRACE_S = 8.0
# The types that a parameters cell may declare.
TYPES: Mapping[str, type] = {"int": int, "float": float, "str": str, "bool": bool}
# How often the command checks whether the run has ended.
POLL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One headless run: the notebook, its parameters, and the folder for its results."""

    notebook: Path
    parameters: dict[str, Any]
    run_dir: Path
    reproduce: str


def declared_parameters(notebook: Path) -> dict[str, tuple[str, Any]]:
    """Return name → (type name, default) of the notebook's `parameters` cell."""
    from papermill.inspection import inspect_notebook

    if not notebook.is_file():
        raise UsageError(f"no notebook {notebook.name} in {notebook.parent.name}/")
    found = inspect_notebook(_literal(str(notebook)))
    return {name: (item["inferred_type_name"], ast.literal_eval(item["default"])) for name, item in found.items()}


def strict_parameters(notebook: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Check `given` against the notebook's parameters cell and the parameter specs; convert text to the declared type.

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
    ends the child and everything that it started. Raises EvidenceMissing if the run's folder cannot be written.
    """
    run_dir = request.run_dir
    runtime = run_dir / RUNTIME_FOLDER
    leftovers.sweep(run_dir.parent.glob(f"*/{RUNTIME_FOLDER}"))
    state = {
        "notebook": str(request.notebook),
        "parameters": request.parameters,
        "reproduce": request.reproduce,
        "exit_code": None,
    }
    try:
        runtime.mkdir(parents=True)
        leftovers.claim(runtime)
    except OSError as error:
        raise EvidenceMissing(f"{runtime} cannot be made: {error.strerror}") from error
    write_json(run_dir / RUN_FILE, state)
    environment = {**os.environ, "JUPYTER_RUNTIME_DIR": str(runtime), "GAMEDAY_HEADLESS": "1"}
    argv = [sys.executable, "-m", "kit", "_execute", str(run_dir)]
    log = run_dir / LOG_FILE
    signals: list[str] = []
    with (
        stop_on_signal(signals.append),
        lifeline.spawn(argv, env=environment, log=log, remove=[runtime], grace_s=STOP_GRACE_S) as child,
    ):
        code = _follow(child, log, signals)
    write_json(run_dir / RUN_FILE, {**state, "exit_code": code, "stopped_by": signals[0] if signals else ""})
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
    """Execute the notebook that `run.json` names, as the child of `execute`; raises what papermill raises."""
    import papermill
    from jupyter_client.manager import AsyncKernelManager

    state = json.loads((run_dir / RUN_FILE).read_text(encoding="utf-8"))
    papermill.execute_notebook(
        _literal(state["notebook"]),
        _literal(str(run_dir / EXECUTED)),
        parameters=state["parameters"],
        km=AsyncKernelManager(
            kernel_name="python3",
            transport_encryption="auto",
            # By default it is in the machine's folder for temporary files, and stays there.
            connection_file=str(run_dir / RUNTIME_FOLDER / "kernel.json"),
        ),
        progress_bar=False,
        stdout_file=sys.stdout,
        autosave_cell_every=1,
        execution_timeout=CELL_TIMEOUT_S,
        start_timeout=KERNEL_START_TIMEOUT_S,
        cwd=str(Path(state["notebook"]).parent),
    )


def _literal(path: str) -> str:
    """Escape the braces in a path, which are part of a folder's name. Papermill would fill them with parameters."""
    return path.replace("{", "{{").replace("}", "}}")


def judge_run(run_dir: Path) -> dict[str, Any]:
    """Read the verdict record of a finished run from its notebook, and make it INVALID if the run did not end well.

    PASS and ABORTED need a notebook that ran to its end. FAIL stands as soon as it was glued: what happens later does
    not weaken evidence against the build. Raises UsageError if there is no such folder.
    """
    if not run_dir.is_dir():
        raise UsageError(f"no run folder {run_dir}")
    state: dict[str, Any] = {}
    try:
        state = _read_state(run_dir)
        notebook = _read_notebook(run_dir / EXECUTED)
        record = _only_verdict(run_dir / EXECUTED, notebook)
    except (EvidenceMissing, OSError, ValueError) as error:
        return _invalid(run_dir, state, [str(error)])
    problems = _problems(Verdict(record["verdict"]), notebook, state)
    return gate.downgrade(record, [problem.text for problem in problems]) if problems else record


def _problems(verdict: Verdict, notebook: Any, state: dict[str, Any]) -> list[Problem]:
    """Find what speaks against a verdict of this notebook."""
    if verdict is Verdict.PASS:
        ending = [] if state.get("exit_code") == 0 else [Problem(ProblemKind.RUNNER_ENDED, _ending(state))]
        return ending + notebook_problems(notebook)
    if verdict is Verdict.ABORTED:
        return [one for one in notebook_problems(notebook) if one.kind not in ENDINGS_OF_A_VERDICT]
    return []


def _ending(state: Mapping[str, Any]) -> str:
    if state.get("stopped_by"):
        return f"the run was stopped by {state['stopped_by']}"
    code = state.get("exit_code")
    if code is None:
        return "the runner never reported its end: it was killed"
    # Negative: the supervisor itself was killed; above 128: the runner under it was.
    number = -code if code < 0 else code - 128
    return f"the runner was killed by signal {number}" if number > 0 else f"the runner exited with code {code}"


def _read_state(run_dir: Path) -> dict[str, Any]:
    try:
        state = json.loads((run_dir / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvidenceMissing(f"{RUN_FILE} cannot be read ({error})") from error
    if not isinstance(state, dict):
        raise EvidenceMissing(f"{RUN_FILE} is not a JSON object")
    return state


def _read_notebook(path: Path) -> Any:
    import nbformat

    if not path.is_file():
        raise EvidenceMissing("no executed notebook: the run ended before its first cell was saved")
    try:
        return nbformat.read(str(path), as_version=4)
    except (ValueError, AttributeError) as error:
        raise EvidenceMissing(f"{path.name} cannot be read ({error})") from error


def _only_verdict(path: Path, notebook: Any) -> dict[str, Any]:
    copies = scraps.count(notebook, scraps.VERDICT_SCRAP)
    if copies != 1:
        why = "".join(f" ({problem.text})" for problem in notebook_problems(notebook)[:1])
        raise EvidenceMissing(f"{copies} verdict scraps in {path.name}, need exactly one{why}")
    record = scraps.read(path)[scraps.VERDICT_SCRAP]
    gate.validate(record)
    return record


def _invalid(run_dir: Path, state: Mapping[str, Any], reasons: list[str]) -> dict[str, Any]:
    """Make the record of a run that left no verdict. `state`: what `run.json` says of it."""
    if state.get("exit_code") != 0 and state:
        reasons = [_ending(state), *reasons]
    return gate.invalid_record(
        run_id=run_dir.name,
        scenario=str(state.get("parameters", {}).get("scenario", "unknown")),
        parameters=state.get("parameters", {}),
        reasons=reasons,
        reproduce=state.get("reproduce", ""),
    )
