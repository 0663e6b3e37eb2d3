"""One description of every parameter: notebooks, command line, `Parameters` and load plan agree with it."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from kit.errors import UsageError
from kit.gameday import NOTEBOOK, Parameters
from kit.load.plan import LoadPlan
from kit.notebook.runner import declared_parameters
from kit.parameter_specs import FROM_SCENARIO, PARAMETER_TAGS, RUN_PARAMETERS, ParameterSpec

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("**/*.ipynb"))
EVERY_NOTEBOOK = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def declaring_cells(path: Path) -> list[dict[str, Any]]:
    cells = json.loads(path.read_text())["cells"]
    return [cell for cell in cells if set(PARAMETER_TAGS) & set(cell["metadata"].get("tags", []))]


def parameter_lines(path: Path) -> list[str]:
    return [line for cell in declaring_cells(path) for line in "".join(cell["source"]).splitlines()]


@EVERY_NOTEBOOK
def test_the_cell_after_which_papermill_puts_values_is_the_last_that_declares_parameters(path: Path):
    """A default below it would replace the value of a run."""
    assert [cell["metadata"]["tags"] for cell in declaring_cells(path)][-1] == ["parameters"]


def test_the_game_day_notebook_declares_every_parameter_of_a_run():
    assert set(declared_parameters(NOTEBOOK)) == set(RUN_PARAMETERS)


@EVERY_NOTEBOOK
def test_parameters_have_the_names_types_and_defaults_of_the_specs(path: Path):
    for name, (type_name, default) in declared_parameters(path).items():
        spec = RUN_PARAMETERS[name]
        assert type_name == spec.type.__name__
        assert spec.default == default
        if default != FROM_SCENARIO:
            spec.check(default)


@EVERY_NOTEBOOK
def test_each_parameter_is_explained_in_the_words_of_the_specs(path: Path):
    for line in parameter_lines(path):
        name, comment = line.partition(":")[0], line.partition("  # ")[2]
        assert comment == RUN_PARAMETERS[name].help, line


def test_a_run_and_its_load_plan_know_no_other_bounds():
    assert set(RUN_PARAMETERS) < {field.name for field in fields(Parameters)}
    bounds = {
        field.name: (field.metadata["low"], field.metadata["high"]) for field in fields(LoadPlan) if field.metadata
    }
    for name in ("seed", "rate_per_s"):
        assert bounds[name] == (RUN_PARAMETERS[name].lowest, RUN_PARAMETERS[name].highest)


@pytest.mark.parametrize("spec", RUN_PARAMETERS.values(), ids=lambda spec: spec.name)
def test_every_bound_is_accepted_and_what_lies_beyond_is_refused_in_the_same_words(spec: ParameterSpec):
    if spec.lowest is None or spec.highest is None:
        wrong = [3]
    else:
        for value in (spec.lowest, spec.highest):
            assert spec.parse(value) == spec.parse(str(value)) == value
        wrong = [spec.lowest - 1, spec.highest + 1, "x", None, True, 1.5]
    for value in wrong:
        with pytest.raises(UsageError) as caught:
            spec.parse(value)
        assert str(caught.value) == f"parameter {spec.name}={value!r} must be {spec.accepted}"
