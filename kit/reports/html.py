"""Write a run's report as one HTML file: the verdict record on top, the executed notebook's text and plots below.

The page has no scripts, no network access and no code cells. Its content security policy enforces the first two.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kit.reports import summary
from kit.reports.render import TEMPLATES, render

PAPERMILL_ERROR = frozenset({"papermill-error-cell-tag"})
# An output with this in its metadata is shown in the notebook only.
HIDE_OUTPUT = "hide-in-report"
HIDDEN_TAGS = frozenset({"parameters", "injected-parameters", "hide-in-report"}) | PAPERMILL_ERROR
# Kinds of checks in the order of a reader's questions.
KIND_TITLES = {
    "integrity": "Orders and money",
    "slo": "What clients saw",
    "golden": "Against the golden profile",
    "hypothesis": "Steady state",
    "fault": "The fault itself",
    "generator": "The load generator",
    "stack": "The stack",
}
STATUS_ORDER = ("fail", "invalid", "pass")


def write_html(
    record: dict[str, Any],
    notebook: Path | None,
    path: Path,
    *,
    believed: str = "",
    fidelity: list[dict[str, str]] | None = None,
) -> None:
    """Write the report of `record` to `path`; `notebook` may be missing or incomplete after a crash.

    `believed`: the hypothesis in a sentence or two. `fidelity`: rows {what, local, aws}: where this run's local AWS
    differs from AWS.
    """
    from nbconvert.exporters import HTMLExporter

    groups = _groups(record["checks"])
    resources = {
        "metadata": {"name": f"{record['verdict']}: game day {record['scenario']} {record['run_id']}"},
        "summary": render(
            "run_summary.html.j2",
            record=record,
            believed=believed,
            groups=groups,
            broken=summary.broken(record),
            clients=summary.clients(record),
            right=summary.right(record),
        ),
        "details": render("run_details.html.j2", groups=groups, fidelity=fidelity or []),
    }
    exporter = HTMLExporter(
        template_name="gameday", extra_template_basedirs=[str(TEMPLATES)], exclude_input=True, embed_images=True
    )
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    body, _ = exporter.from_notebook_node(_shown_notebook(notebook), resources=resources)
    path.write_text(body, encoding="utf-8")


def _shown_notebook(path: Path | None):
    """Read the notebook without scraps, parameters and hidden outputs; return an empty one if it cannot be read."""
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
        return False  # The banner has the reason; a traceback adds nothing for a reader.
    if output.output_type == "stream":
        return output.name == "stdout"
    if output.get("metadata", {}).get(HIDE_OUTPUT):
        return False  # The report shows the same content from the record.
    return not any(mime.startswith("application/scrapbook.scrap") for mime in output.get("data", {}))


def _groups(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Group the checks by kind, failures first within each group."""
    return [
        {"kind": kind, "title": title, "checks": sorted(of_kind, key=lambda check: STATUS_ORDER.index(check["status"]))}
        for kind, title in KIND_TITLES.items()
        if (of_kind := [check for check in checks if check["kind"] == kind])
    ]
