"""Read the verdict record of a finished headless run from its notebook. This can only make the verdict worse."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.errors import EvidenceMissing, UsageError
from kit.files.notebook_file import read_notebook
from kit.files.seal import check_evidence, check_verdict, read_manifest
from kit.model import Verdict
from kit.notebook import partial_record, scraps
from kit.notebook.run_state import EXECUTED, RUN_FILE, ending_of, exception_of, read_state
from kit.notebook.validity import ENDINGS_OF_A_VERDICT, cause_of_end, notebook_problems
from kit.verdict import gate

if TYPE_CHECKING:
    import nbformat


def judge_run(run_dir: Path) -> dict[str, Any]:
    """Read a run's verdict record, and make it INVALID if the run did not end well or its evidence was changed.

    PASS and ABORTED need a notebook that ran to its end. FAIL stands as soon as it was glued: what happens later does
    not weaken evidence against the build. Raises UsageError if there is no such folder.
    """
    if not run_dir.is_dir():
        raise UsageError(f"no run folder {run_dir}")
    state: dict[str, Any] = {}
    notebook = None
    try:
        state = read_state(run_dir)
        notebook = _read_notebook(run_dir)
        record = _only_verdict(run_dir, notebook)
    except EvidenceMissing as error:
        return _unjudged(run_dir, state, notebook, str(error))
    problems = _problems(Verdict(record["verdict"]), notebook, state)
    try:
        check_evidence(run_dir)
    except EvidenceMissing as error:
        problems.append(str(error))
    return gate.downgrade(record, problems) if problems else record


def conduct_problems(run_dir: Path, verdict: Verdict) -> list[str]:
    """Say what speaks against a verdict in how a run was conducted, as `judge_run` does; its evidence left aside.

    A run that was conducted in JupyterLab has no executed notebook to speak against it.
    """
    try:
        if not read_manifest(run_dir)["headless"] and not (run_dir / RUN_FILE).exists():
            return []
        return _problems(verdict, _read_notebook(run_dir), read_state(run_dir))
    except EvidenceMissing as error:
        return [str(error)]


def started_with(run_dir: Path) -> dict[str, Any]:
    """Return the parameters of a run and the command that repeats it; nothing if `run.json` cannot be read."""
    try:
        state = read_state(run_dir)
    except EvidenceMissing:
        return {}
    return {"parameters": state["parameters"], "reproduce": state["reproduce"]}


def _problems(verdict: Verdict, notebook: nbformat.NotebookNode, state: Mapping[str, Any]) -> list[str]:
    """Find what speaks against a verdict of this notebook."""
    if verdict is Verdict.PASS:
        ending = [] if state["exit_code"] == 0 else [ending_of(state)]
        return ending + [problem.text for problem in notebook_problems(notebook)]
    if verdict is Verdict.ABORTED:
        return [one.text for one in notebook_problems(notebook) if one.kind not in ENDINGS_OF_A_VERDICT]
    return []


def _read_notebook(run_dir: Path) -> nbformat.NotebookNode:
    if not (run_dir / EXECUTED).exists():
        raise EvidenceMissing(f"no {EXECUTED}: the run ended before its first cell was saved")
    return read_notebook(run_dir / EXECUTED)


def _only_verdict(run_dir: Path, notebook: nbformat.NotebookNode) -> dict[str, Any]:
    found = scraps.of_notebook(notebook, scraps.VERDICT_SCRAP, EXECUTED)
    if len(found) != 1:
        raise EvidenceMissing(f"{len(found)} verdict scraps in {EXECUTED}, need exactly one")
    gate.validate(found[0])
    check_verdict(run_dir, found[0])
    return found[0]


def _unjudged(
    run_dir: Path, state: Mapping[str, Any], notebook: nbformat.NotebookNode | None, problem: str
) -> dict[str, Any]:
    """Make the record of a run that left no verdict, with the cause of its end first."""
    exception = exception_of(run_dir)
    cause = cause_of_end(notebook, exception) if notebook is not None else exception
    ending = ending_of(state) if state and state["exit_code"] != 0 else ""
    reasons = [reason for reason in (cause, ending, problem) if reason]
    return partial_record.invalid_record(
        run_dir, reasons, parameters=state.get("parameters", {}), reproduce=state.get("reproduce", "")
    )
