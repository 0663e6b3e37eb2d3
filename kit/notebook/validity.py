"""Decide whether an executed notebook is evidence: every cell ran to its end, under a runner that ended well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from kit.errors import VerdictNotPass
from kit.files.notebook_file import member

if TYPE_CHECKING:
    import nbformat


class ProblemKind(StrEnum):
    """Why an executed notebook is no evidence of a pass."""

    NO_END_TIME = "no-end-time"
    EXECUTION_FAILED = "execution-failed"
    VERDICT_RAISED = "verdict-raised"
    CELL_RAISED = "cell-raised"
    CELL_INCOMPLETE = "cell-incomplete"


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason, and the sentence that says it."""

    kind: ProblemKind
    text: str


SOURCE_CHARS_MAX = 60
# The verdict cell raises after it glued a verdict other than PASS, and papermill records that as a failure.
ENDINGS_OF_A_VERDICT = frozenset({ProblemKind.VERDICT_RAISED, ProblemKind.EXECUTION_FAILED})


def notebook_problems(notebook: nbformat.NotebookNode) -> list[Problem]:
    """Find what keeps a notebook from being evidence of a pass; empty if every code cell ran to its end.

    All conditions are needed: papermill leaves `exception` empty when the kernel dies, and marks cells that never ran
    as completed.
    """
    about = member(notebook.metadata, "papermill")
    problems = []
    if not about.get("end_time"):
        problems.append(Problem(ProblemKind.NO_END_TIME, "the notebook has no end time: its runner was stopped"))
    if about.get("exception"):
        problems.append(Problem(ProblemKind.EXECUTION_FAILED, "papermill recorded an exception"))
    for number, cell in _code_cells(notebook):
        problems += _cell_problems(number, cell)
    return problems


def cause_of_end(notebook: nbformat.NotebookNode, exception: str) -> str:
    """Say which exception ended the notebook and in which cell; empty if neither is known.

    `exception`: what ended the execution. A cell that raised knows it better.
    """
    for number, cell in _code_cells(notebook):
        about = member(cell.metadata, "papermill")
        if any(output.get("output_type") == "error" for output in cell.get("outputs", [])):
            return next(_cell_problems(number, cell)).text
        if about.get("status") == "running":
            return f"{exception or 'the notebook ended'} while {_named(number, cell)} ran"
    return exception


def _code_cells(notebook: nbformat.NotebookNode) -> Iterator[tuple[int, nbformat.NotebookNode]]:
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and cell.source.strip():
            yield number, cell


def _named(number: int, cell: nbformat.NotebookNode) -> str:
    return f"cell {number} ({cell.source.strip().splitlines()[0][:SOURCE_CHARS_MAX]})"


def _cell_problems(number: int, cell: nbformat.NotebookNode) -> Iterator[Problem]:
    errors = [output for output in cell.get("outputs", []) if output.get("output_type") == "error"]
    about = member(cell.metadata, "papermill")
    ran = cell.get("execution_count") is not None and about.get("duration") is not None
    if errors:
        name = errors[0].get("ename", "an error")
        kind = ProblemKind.VERDICT_RAISED if name == VerdictNotPass.__name__ else ProblemKind.CELL_RAISED
        yield Problem(kind, f"{_named(number, cell)} raised {name}: {errors[0].get('evalue', '')}".rstrip(": "))
    elif not ran or about.get("status") != "completed":
        yield Problem(ProblemKind.CELL_INCOMPLETE, f"{_named(number, cell)} did not run to its end")
