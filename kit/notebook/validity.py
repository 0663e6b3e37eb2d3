"""Decide whether an executed notebook is evidence: every cell ran to its end, under a runner that ended well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from kit.errors import VerdictNotPass

if TYPE_CHECKING:
    import nbformat


class ProblemKind(StrEnum):
    """Why an executed notebook is no evidence of a pass."""

    RUNNER_ENDED = "runner-ended"
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


# The verdict cell raises after it glued a verdict other than PASS, and papermill records that as a failure.
ENDINGS_OF_A_VERDICT = frozenset({ProblemKind.VERDICT_RAISED, ProblemKind.EXECUTION_FAILED})


def notebook_problems(notebook: nbformat.NotebookNode) -> list[Problem]:
    """Find what keeps a notebook from being evidence of a pass; empty if every code cell ran to its end.

    All conditions are needed: papermill leaves `exception` empty when the kernel dies, and marks cells that never ran
    as completed.
    """
    about = notebook.metadata.get("papermill", {})
    problems = []
    if not about.get("end_time"):
        problems.append(Problem(ProblemKind.NO_END_TIME, "the notebook has no end time: its runner was stopped"))
    if about.get("exception"):
        problems.append(Problem(ProblemKind.EXECUTION_FAILED, "papermill recorded an exception"))
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and cell.source.strip():
            problems += _cell_problems(number, cell)
    return problems


def _cell_problems(number: int, cell: nbformat.NotebookNode) -> Iterator[Problem]:
    errors = [output for output in cell.get("outputs", []) if output.get("output_type") == "error"]
    about = cell.metadata.get("papermill", {})
    ran = cell.get("execution_count") is not None and about.get("duration") is not None
    if errors:
        name = errors[0].get("ename", "an error")
        kind = ProblemKind.VERDICT_RAISED if name == VerdictNotPass.__name__ else ProblemKind.CELL_RAISED
        yield Problem(kind, f"cell {number} raised {name}: {errors[0].get('evalue', '')}".rstrip(": "))
    elif not ran or about.get("status") != "completed":
        yield Problem(ProblemKind.CELL_INCOMPLETE, f"cell {number} did not run to its end")
