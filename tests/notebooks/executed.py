"""Make an executed notebook as the headless runner leaves it."""

from __future__ import annotations

from typing import Any

from nbformat.v4 import new_code_cell, new_notebook, new_output


def executed_notebook(record: dict[str, Any]) -> Any:
    """Return a notebook of one cell that ran to its end and glued the verdict `record`."""
    payload = {"name": "verdict", "data": record, "encoder": "json", "version": 1}
    scrap = new_output(
        "display_data", {"application/scrapbook.scrap.json+json": payload},
        metadata={"scrapbook": {"name": "verdict", "data": True, "display": False}},
    )  # fmt: skip
    cell = new_code_cell("1", outputs=[scrap], execution_count=1)
    cell.metadata["papermill"] = {"status": "completed", "duration": 0.1, "exception": False}
    made = new_notebook(cells=[cell])
    made.metadata["papermill"] = {"end_time": "2026-01-01T00:00:00", "exception": None}
    return made
