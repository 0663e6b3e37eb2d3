"""The game-day notebook calls every stage in order, announces it, and says how to read what it shows."""

from __future__ import annotations

import ast
import itertools
import json
from typing import Any

from kit.gameday import NOTEBOOK

STAGES = ("deploy", "write_past", "steady_state", "preview", "inject", "recover", "reconcile")
VIEWS = ("show_latency", "show_throughput", "show_fills", "show_tasks", "show_alarms", "check", "verdict")


def cells() -> list[dict[str, Any]]:
    return json.loads(NOTEBOOK.read_text())["cells"]


def text_of(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def calls_of(cell: dict[str, Any]) -> list[str]:
    """Return the methods of `day` that a code cell calls."""
    if cell["cell_type"] != "code":
        return []
    called = [node.func for node in ast.walk(ast.parse(text_of(cell))) if isinstance(node, ast.Call)]
    return [
        func.attr
        for func in called
        if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) and func.value.id == "day"
    ]


def test_every_stage_comes_once_and_in_order():
    assert [call for cell in cells() for call in calls_of(cell)] == ["brief", *STAGES, *VIEWS]


def test_every_stage_is_announced():
    """A sentence before each call says what it does and what we expect."""
    for before, cell in itertools.pairwise(cells()):
        if set(calls_of(cell)) & {"brief", *STAGES, "check"}:
            assert before["cell_type"] == "markdown" and len(text_of(before).split()) > 10, calls_of(cell)


def test_it_says_how_to_read_what_it_shows():
    texts = "\n".join(text_of(cell) for cell in cells() if cell["cell_type"] == "markdown")
    assert texts.count("*Read it as:*") >= 5


def test_every_cell_has_an_id_of_its_own():
    ids = [cell["id"] for cell in cells()]
    assert len(set(ids)) == len(ids)
