"""Every scenario's notebook asks the same of a run, in the same order, and says what to expect and how to read it."""

from __future__ import annotations

import ast
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from kit import scenarios
from kit.notebook.runner import declared_parameters
from kit.parameter_specs import RUN_PARAMETERS

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
STAGES = ("deploy", "steady_state", "preview", "inject", "recover", "reconcile")
VIEWS = ("show_latency", "show_throughput", "show_fills", "show_tasks", "show_alarms", "check", "verdict")
EVERY = pytest.mark.parametrize("name", scenarios.names())


def path_of(name: str) -> Path:
    return NOTEBOOKS / f"{name.replace('-', '_')}.ipynb"


def cells_of(name: str) -> list[dict[str, Any]]:
    return json.loads(path_of(name).read_text())["cells"]


def text_of(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def calls_of(cell: dict[str, Any]) -> list[str]:
    """The methods of `day` that a code cell calls."""
    if cell["cell_type"] != "code":
        return []
    called = [node.func for node in ast.walk(ast.parse(text_of(cell))) if isinstance(node, ast.Call)]
    return [
        func.attr
        for func in called
        if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) and func.value.id == "day"
    ]


@EVERY
def test_the_defaults_are_the_scenarios_values(name: str):
    scenario = scenarios.get(name)
    declared = {name: default for name, (_, default) in declared_parameters(path_of(name)).items()}
    defaults = {name: spec.default for name, spec in RUN_PARAMETERS.items()}
    values = {name: getattr(scenario, name) for name, default in defaults.items() if default is None}
    assert declared == {**defaults, **values}


@EVERY
def test_the_run_is_of_the_notebooks_own_scenario(name: str):
    code = "\n".join(text_of(cell) for cell in cells_of(name) if cell["cell_type"] == "code")
    assert f'GameDay.begin("{name}", ' in code


@EVERY
def test_every_stage_comes_once_and_in_order(name: str):
    assert [call for cell in cells_of(name) for call in calls_of(cell)] == [*STAGES, *VIEWS]


@EVERY
def test_every_stage_is_announced(name: str):
    """A sentence before each call: what we do and what we expect."""
    cells = cells_of(name)
    for before, cell in itertools.pairwise(cells):
        if set(calls_of(cell)) & {*STAGES, "check"}:
            assert before["cell_type"] == "markdown" and len(text_of(before).split()) > 10, calls_of(cell)


@EVERY
def test_it_opens_with_a_hypothesis_and_a_title(name: str):
    document = json.loads(path_of(name).read_text())
    first = text_of(document["cells"][0])
    assert first.startswith(f"# {document['metadata']['title']}\n")
    assert "**Hypothesis.**" in first and "**exactly once**" in first


@EVERY
def test_it_says_how_to_read_what_it_shows(name: str):
    told = "\n".join(text_of(cell) for cell in cells_of(name) if cell["cell_type"] == "markdown")
    assert told.count("*Read it as:*") >= 5


@EVERY
def test_every_cell_has_an_id_of_its_own(name: str):
    ids = [cell["id"] for cell in cells_of(name)]
    assert len(set(ids)) == len(ids)
