"""The self-contained HTML report: the verdict record on top, the executed notebook's prose and pictures below.

No scripts, no network, no code cells; a content security policy makes that a property and not a habit.
"""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Any

from kit.reports import summary
from kit.reports.timeline import clock

sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

TEMPLATES = Path(__file__).with_name("template")
PAPERMILL_ERROR = frozenset({"papermill-error-cell-tag"})
# An output with this in its metadata is for whoever sits before the notebook.
HIDE_OUTPUT = "hide-in-report"
HIDDEN_TAGS = frozenset({"parameters", "injected-parameters", "hide-in-report"}) | PAPERMILL_ERROR


def write_html(
    record: dict[str, Any],
    notebook: Path | None,
    path: Path,
    *,
    believed: str = "",
    fidelity: list[dict[str, str]] | None = None,
) -> None:
    """Write the report of `record` to `path`; `notebook` may be missing or torn after a crash.

    `believed`: the hypothesis in a sentence or two. `fidelity`: rows {what, local, aws}: where this run's local AWS
    differs from AWS.
    """
    from nbconvert.exporters import HTMLExporter

    exporter = HTMLExporter(
        template_name="gameday", extra_template_basedirs=[str(TEMPLATES)], exclude_input=True, embed_images=True
    )
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    exporter.register_filter("utc", _utc)
    exporter.register_filter("clock", clock)
    resources = {
        "metadata": {"name": f"{record['verdict']}: game day {record['scenario']} {record['run_id']}"},
        "record": record,
        "believed": believed,
        "fidelity": fidelity or [],
        "groups": _grouped(record["checks"]),
        "broken": summary.broken(record),
        "clients": summary.clients(record),
        "right": summary.right(record),
    }
    body, _ = exporter.from_notebook_node(_shown(notebook), resources=resources)
    path.write_text(body, encoding="utf-8")


def _shown(path: Path | None):
    """The notebook without scraps, parameters and empty outputs; an empty one if it cannot be read."""
    import nbformat

    try:
        notebook = nbformat.read(str(path), as_version=4) if path else nbformat.v4.new_notebook()
    except (OSError, ValueError):
        notebook = nbformat.v4.new_notebook()
    notebook.cells = [cell for cell in notebook.cells if not HIDDEN_TAGS & set(cell.metadata.get("tags", []))]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _is_shown(output)]
    return notebook


def _is_shown(output: Any) -> bool:
    if output.output_type == "error":
        return False  # its reason stands in the banner; a traceback tells a reader nothing more
    if output.output_type == "stream":
        return output.name == "stdout"
    if output.get("metadata", {}).get(HIDE_OUTPUT):
        return False  # the report shows the same, from the record
    return not any(mime.startswith("application/scrapbook.scrap") for mime in output.get("data", {}))


def _grouped(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Checks by kind, the kinds in the order of a reader's questions, failures first within each."""
    order = ("integrity", "slo", "golden", "hypothesis", "fault", "generator")
    rank = {"fail": 0, "invalid": 1, "pass": 2}
    return [
        {"kind": kind, "checks": sorted(of_kind, key=lambda check: rank[check["status"]])}
        for kind in order
        if (of_kind := [check for check in checks if check["kind"] == kind])
    ]


def _utc(value: Any) -> str:
    if value in (None, ""):
        return "–"
    if isinstance(value, int | float):
        value = dt.datetime.fromtimestamp(value, dt.UTC).isoformat()
    return str(value)[:19].replace("T", " ") + " UTC"
