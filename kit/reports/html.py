"""Write a run's report as one HTML file: the verdict record on top, the executed notebook's text and plots below.

The page has no scripts, no network access and no code cells. Its content security policy enforces the first two.
The notebook may come from somebody else: only harmless tags of its HTML are kept, and only known kinds of outputs.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from kit.errors import UnreadableFile
from kit.files import write_text
from kit.files.notebook_file import SCRAP_MIME, read_notebook
from kit.parameter_specs import PARAMETER_TAGS
from kit.reports import summary
from kit.reports.render import TEMPLATES, render
from kit.reports.safe_markup import safe_markup

PAPERMILL_ERROR = frozenset({"papermill-error-cell-tag"})
# An output with this in its metadata is shown in the notebook only.
HIDE_OUTPUT = "hide-in-report"
HIDDEN_TAGS = frozenset({*PARAMETER_TAGS, "injected-parameters", HIDE_OUTPUT}) | PAPERMILL_ERROR
# nbconvert would run or load what other kinds of output hold.
SHOWN_MIMES = frozenset({"text/plain", "text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg"})
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
    groups = _groups(record["checks"])
    resources = {
        "metadata": {"name": f"{record['verdict']}: game day {record['scenario']} {record['run_id']}"},
        "summary": render(
            "run_summary.html.j2",
            record=record,
            believed=believed,
            groups=groups,
            broken=summary.broken(record),
            what_broke=summary.what_broke(record),
            load=summary.load_line(record),
            fault=summary.fault_line(record),
            not_measured=summary.not_measured(record),
            clients=summary.clients(record),
            right=summary.right(record),
        ),
        "details": render("run_details.html.j2", groups=groups, fidelity=fidelity or []),
    }
    write_text(path, _page(_shown_cells(notebook), resources))


def _page(cells: list[Any], resources: dict[str, Any]) -> str:
    from nbconvert.exporters import HTMLExporter
    from nbformat.v4 import new_markdown_cell, new_notebook

    exporter = HTMLExporter(
        # Images that a text names are not embedded: a notebook could name any file of this machine.
        template_name="gameday", extra_template_basedirs=[str(TEMPLATES)], exclude_input=True, embed_images=False,
        sanitize_html=True,
    )  # fmt: skip
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    exporter.register_filter("clean_html", safe_markup)
    try:
        return exporter.from_notebook_node(new_notebook(cells=cells), resources=resources)[0]
    except Exception as error:  # noqa: BLE001 - whatever a notebook holds, its run's report is written
        note = new_markdown_cell(f"The notebook cannot be shown: {type(error).__name__}.")
        return exporter.from_notebook_node(new_notebook(cells=[note]), resources=resources)[0]


def _shown_cells(path: Path | None) -> list[Any]:
    """Return the notebook's texts and outputs, without scraps, parameters and hidden outputs.

    Everything else in the notebook is left out, metadata included, because nbconvert trusts it.
    """
    from nbformat.v4 import new_markdown_cell

    if path is None:
        return []
    try:
        notebook = read_notebook(path)
    except UnreadableFile as error:
        return [new_markdown_cell(f"The notebook cannot be shown: {escape(str(error))}.")] if path.exists() else []
    return [_shown(cell) for cell in notebook.cells if _is_cell_shown(cell)]


def _is_cell_shown(cell: Any) -> bool:
    return cell.cell_type in ("markdown", "code") and not HIDDEN_TAGS & set(cell.metadata.get("tags", []))


def _shown(cell: Any) -> Any:
    from nbformat.v4 import new_code_cell, new_markdown_cell

    if cell.cell_type == "markdown":
        return new_markdown_cell(cell.source)
    return new_code_cell(outputs=[_shown_output(output) for output in cell.outputs if _is_shown(output)])


def _shown_output(output: Any) -> Any:
    from nbformat.v4 import new_output

    if output.output_type == "stream":
        return new_output("stream", name="stdout", text=output.text)
    data = {mime: value for mime, value in output.data.items() if mime in SHOWN_MIMES and isinstance(value, str)}
    return new_output("display_data", data, metadata={"alt": str(output.metadata.get("alt", ""))})


def _is_shown(output: Any) -> bool:
    if output.output_type == "error":
        return False  # The banner has the reason; a traceback adds nothing for a reader.
    if output.output_type == "stream":
        return output.name == "stdout"
    if output.get("metadata", {}).get(HIDE_OUTPUT):
        return False  # The report shows the same content from the record.
    data = output.get("data", {})
    return SCRAP_MIME not in data and bool(SHOWN_MIMES & set(data))


def _groups(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Group the checks by kind, failures first within each group."""
    return [
        {"kind": kind, "title": title, "checks": sorted(of_kind, key=lambda check: STATUS_ORDER.index(check["status"]))}
        for kind, title in KIND_TITLES.items()
        if (of_kind := [check for check in checks if check["kind"] == kind])
    ]
