"""Glue scraps into a notebook and read them back; say whether an executed notebook can be believed.

Owns scrapbook's traps (numpy scalars, NaN, None) and papermill's (`exception: null` after a kernel's death, cells
"completed" that never ran). Knows nothing of what the scraps mean.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.errors import EvidenceMissing
from kit.model import plain

if TYPE_CHECKING:
    import nbformat
    from matplotlib.figure import Figure

VERDICT_SCRAP = "verdict"
SCRAP_MIME_PREFIX = "application/scrapbook.scrap."


def glue(name: str, data: Mapping[str, Any]) -> None:
    """Record `data` as the scrap `name` of the running notebook (nothing happens outside a kernel)."""
    import scrapbook

    scrapbook.glue(name, plain(data, name), encoder="json")


def glue_figure(name: str, figure: Figure, *, alt: str) -> None:
    """Show `figure` as SVG with `alt` as its text for readers who cannot see it, and keep it as the scrap `name`."""
    from IPython.display import display

    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight")
    metadata = {"alt": alt, "scrapbook": {"name": name, "data": False, "display": True}}
    display({"image/svg+xml": buffer.getvalue(), "text/plain": alt}, metadata=metadata, raw=True)


def read(path: Path) -> dict[str, Any]:
    """The data scraps of an executed notebook by name. Raises EvidenceMissing if the file is no notebook."""
    import scrapbook

    try:
        notebook = scrapbook.read_notebook(str(path))
    except (OSError, ValueError, AttributeError, KeyError) as error:
        raise EvidenceMissing(f"{path.name}: not a readable notebook ({error})") from error
    return {name: scrap.data for name, scrap in notebook.scraps.items() if scrap.data is not None}


def count(notebook: nbformat.NotebookNode, name: str) -> int:
    """How many times the data scrap `name` was glued (scrapbook keeps only the last and says nothing)."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    records = (output.get("metadata", {}).get("scrapbook", {}) for output in outputs)
    return sum(1 for record in records if record.get("name") == name and record.get("data"))


def doubts(notebook: nbformat.NotebookNode) -> list[str]:
    """Why this executed notebook is no evidence of a pass; empty if every code cell ran to its end.

    Each condition alone can be fooled: papermill leaves `exception` empty when the kernel dies, and marks cells
    that never ran as completed.
    """
    found = []
    about = notebook.metadata.get("papermill", {})
    if not about.get("end_time"):
        found.append("the notebook has no end time: its runner was stopped")
    if about.get("exception"):
        found.append("papermill recorded an exception")
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and cell.source.strip():
            found += _cell_doubts(number, cell)
    return found


def _cell_doubts(number: int, cell: nbformat.NotebookNode) -> list[str]:
    errors = [output for output in cell.get("outputs", []) if output.get("output_type") == "error"]
    if errors:
        return [
            f"cell {number} raised {errors[0].get('ename', 'an error')}: {errors[0].get('evalue', '')}".rstrip(": ")
        ]
    about = cell.metadata.get("papermill", {})
    ran = cell.get("execution_count") is not None and about.get("duration") is not None
    if not ran or about.get("status") != "completed":
        return [f"cell {number} did not run to its end"]
    return []
