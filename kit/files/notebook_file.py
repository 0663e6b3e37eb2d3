"""Read executed notebooks: valid nbformat 4 within bounds, and the data scraps that were glued into one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.errors import UnreadableFile
from kit.files.json_file import kind_of, read_object

if TYPE_CHECKING:
    import nbformat

NOTEBOOK_BYTES_MAX = 64 * 1024 * 1024
NBFORMAT = 4
SCRAP_MIME = "application/scrapbook.scrap.json+json"
PROBLEM_CHARS_MAX = 200


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Read a notebook. Raises UnreadableFile that names the file and the member that is not as nbformat 4 says."""
    import nbformat
    from nbformat.json_compat import ValidationError

    raw = read_object(path, NOTEBOOK_BYTES_MAX)
    if raw.get("nbformat") != NBFORMAT:
        raise UnreadableFile(f"{path.name}: $.nbformat is {raw.get('nbformat')!r:.40}, expected {NBFORMAT}")
    try:
        nbformat.validate(raw, version=NBFORMAT, relax_add_props=True)
    except ValidationError as error:
        raise UnreadableFile(f"{path.name} is not a notebook: {_first_line(error)}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        # The validator itself breaks on some documents, such as one whose cells are null.
        raise UnreadableFile(f"{path.name} is not a notebook: {type(error).__name__}: {_first_line(error)}") from error
    return nbformat.reads(json.dumps(raw), as_version=NBFORMAT)


def member(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object in a notebook's free metadata; an empty one if something else is there."""
    value = holder.get(name)
    return value if isinstance(value, Mapping) else {}


def scraps(notebook: nbformat.NotebookNode, file_name: str) -> list[tuple[str, Any]]:
    """Return the data scraps in their order, as (name, data). Raises UnreadableFile for one that is not whole."""
    return [_scrap(payload, file_name) for payload in _payloads(notebook)]


def _payloads(notebook: nbformat.NotebookNode) -> Iterator[Any]:
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = member(output, "data")
            if SCRAP_MIME in data:
                yield data[SCRAP_MIME]
            elif member(member(output, "metadata"), "scrapbook").get("data"):
                yield None  # marked as a scrap with data, and its data is gone


def _scrap(payload: Any, file_name: str) -> tuple[str, Any]:
    if not isinstance(payload, Mapping) or not isinstance(payload.get("name"), str) or "data" not in payload:
        raise UnreadableFile(f"{file_name}: a scrap is {kind_of(payload)}, expected an object with name and data")
    return payload["name"], payload["data"]


def _first_line(error: Exception) -> str:
    return " ".join(str(getattr(error, "message", error)).split())[:PROBLEM_CHARS_MAX]
