"""docs/fidelity.md says what data and code say, and reports can find the rows of their scenarios."""

import sys

import pytest

from kit import scenarios
from kit.fis_rules.catalog import ACTIONS as CATALOGUE
from kit.local.fis.actions import ACTIONS
from kit.scenarios.fidelity import differences
from tests.tidy import fidelity_page


def test_the_page_holds_the_tables_that_data_and_code_make():
    """`make docs` brings it up to date."""
    text = fidelity_page.PAGE.read_text(encoding="utf-8")
    assert text == fidelity_page.page(text)


def test_every_difference_says_what_it_is_about():
    assert all(each.what and each.local and each.aws and each.touches for each in differences())


def test_every_part_of_aws_that_a_scenario_touches_has_a_difference():
    known = {part for each in differences() for part in each.touches}
    assert {part for name in scenarios.names() for part in scenarios.get(name).touches} <= known


def test_every_action_has_its_row():
    rows = fidelity_page.actions_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == sorted(CATALOGUE)
    assert set(ACTIONS) <= set(CATALOGUE)


@pytest.mark.parametrize("action_id", sorted(ACTIONS))
def test_an_action_says_what_it_does_here_and_how_that_differs(action_id: str):
    """In its module's docstring, under its id."""
    module = sys.modules[ACTIONS[action_id].__module__]
    assert (module.__doc__ or "").startswith(f"{action_id}: ")
    assert all(fidelity_page.words(action_id))
