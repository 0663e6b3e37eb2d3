"""Glue data and figures into a notebook as scraps, and read them back.

scrapbook writes numpy scalars, NaN and None as text or not at all, so `glue` accepts plain JSON values only.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.files.notebook_file import read_notebook
from kit.files.notebook_file import scraps as all_scraps
from kit.model import CheckKind, plain

if TYPE_CHECKING:
    import nbformat
    from matplotlib.figure import Figure

VERDICT_SCRAP = "verdict"


def glue(name: str, data: Mapping[str, Any]) -> None:
    """Keep `data` as the scrap `name` of the running notebook. Outside a kernel it is printed."""
    import scrapbook

    scrapbook.glue(name, plain(data, name), encoder="json")


def glue_figure(name: str, figure: Figure, *, alt: str) -> None:
    """Show `figure` as SVG with `alt` as its alternative text, and keep it as the scrap `name`."""
    from IPython.display import display

    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight")
    metadata = {"alt": alt, "scrapbook": {"name": name, "data": False, "display": True}}
    display({"image/svg+xml": buffer.getvalue(), "text/plain": alt}, metadata=metadata, raw=True)


def read(path: Path) -> dict[str, Any]:
    """Read the data scraps of an executed notebook by name. Raises EvidenceMissing if the file is no notebook."""
    return dict(all_scraps(read_notebook(path), path.name))


def of_notebook(notebook: nbformat.NotebookNode, name: str, file_name: str) -> list[Any]:
    """Return every data scrap `name`: scrapbook itself keeps the last one without a warning."""
    return [data for found, data in all_scraps(notebook, file_name) if found == name]


def trend(record: Mapping[str, Any]) -> dict[str, Any]:
    """Select the numbers of a verdict record that a chart over many runs shows."""
    measured = {
        f"{check['name']}.{check['phase'] or 'run'}": check["measured"]
        for check in record["checks"]
        if check["kind"] == CheckKind.SLO and check["measured"] is not None
    }
    return {"run_id": record["run_id"], "verdict": record["verdict"], "build": record["build"], **measured}
