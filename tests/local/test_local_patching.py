"""Test that MiniStack is patched by name, that a missing name prevents the start, and that patches are undone."""

from __future__ import annotations

from types import ModuleType

import pytest

from kit.errors import CloudError
from kit.local.patching import Patches, require


@pytest.fixture
def module() -> ModuleType:
    """A module as MiniStack has them: a function, and a table of handlers."""
    made = ModuleType("ministack.fake")
    vars(made).update(_answer=lambda number: number, _HANDLERS={"known": 1}, _CALLS={"answer": lambda number: number})
    return made


def test_a_function_is_wrapped_and_decorated_and_put_back(module):
    original, patches = module._answer, Patches()
    patches.wrap(module, "_answer", lambda call, number: call(number) + 1)
    patches.decorate(module, "_answer", lambda call: lambda number: 10 * call(number))
    assert module._answer(1) == 20
    patches.undo()
    assert module._answer is original


def test_entries_of_a_table_are_replaced_added_and_removed_in_place_and_put_back(module):
    table, patches = module._HANDLERS, Patches()
    patches.replace_entry(module, "_HANDLERS", "known", 2)
    patches.add_entry(module, "_HANDLERS", "new", 3)
    assert table == {"known": 2, "new": 3}
    patches.remove_entry(module, "_HANDLERS", "known")
    assert table == {"new": 3}
    patches.undo()
    assert table == {"known": 1}


def test_a_handler_in_a_table_is_wrapped(module):
    patches = Patches()
    patches.wrap_entry(module, "_CALLS", "answer", lambda call, number: call(number) + 1)
    assert module._CALLS["answer"](1) == 2
    patches.undo()
    assert module._CALLS["answer"](1) == 1


@pytest.mark.parametrize(
    ("patch", "name"),
    [
        (lambda module: Patches().replace(module, "_gone", None), "_gone"),
        (lambda module: Patches().wrap(module, "_gone", print), "_gone"),
        (lambda module: Patches().add_entry(module, "_GONE", "key", None), "_GONE"),
        (lambda module: Patches().replace_entry(module, "_HANDLERS", "unknown", None), r"_HANDLERS\['unknown'\]"),
        (lambda module: require(module, "_answer", "_gone"), "_gone"),
    ],
)
def test_a_missing_name_is_an_error_that_names_it(module, patch, name):
    with pytest.raises(
        CloudError, match=rf"^ministack\.fake\.{name} does not exist: this MiniStack is not the pinned version$"
    ):
        patch(module)
