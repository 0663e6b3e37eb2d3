"""docs/fidelity.md tells of every FIS action what the code does, in the code's own words."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from kit.fis_rules.catalog import ACTIONS as CATALOGUE
from kit.local.fis.actions import ACTIONS
from tests.tidy import actions_table


def test_the_page_holds_the_table_that_the_code_makes():
    """`make docs` brings it up to date."""
    text = actions_table.PAGE.read_text(encoding="utf-8")
    assert text == actions_table.page(text)


def test_every_action_has_its_row_and_no_row_looks_like_one_of_a_report():
    """Reports pick rows of four cells; these have five."""
    rows = actions_table.table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == sorted(CATALOGUE)
    assert set(ACTIONS) <= set(CATALOGUE)
    assert {row.count(" | ") for row in rows} == {4}


@pytest.mark.parametrize("action_id", sorted(ACTIONS))
def test_an_action_says_what_it_does_here_and_how_that_differs(action_id: str):
    """In its module's docstring, under its id."""
    module = sys.modules[ACTIONS[action_id].__module__]
    assert (module.__doc__ or "").startswith(f"{action_id}: ")
    assert all(actions_table.words(action_id))
