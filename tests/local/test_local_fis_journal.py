"""Test that the undo journal survives a kill of its process."""

from pathlib import Path

from kit.local.fis.journal import FILE_NAME, Journal


def test_open_entries_are_loaded_after_a_restart_newest_first(tmp_path: Path) -> None:
    """Only open entries are loaded, with their data but without handles."""
    journal = Journal(tmp_path)
    assert journal.load() == []
    first, second, third = (journal.remember("links", {"rule": name}) for name in "abc")
    first.handles.append("link-1")
    journal.forget(second)
    left = Journal(tmp_path).load()
    assert [(each.data["rule"], each.handles) for each in left] == [("c", []), ("a", [])]
    assert left[0].id == third.id


def test_an_incomplete_last_line_is_ignored(tmp_path: Path) -> None:
    """A line that a kill cut short belongs to a change that was never made."""
    journal = Journal(tmp_path)
    journal.load()
    journal.remember("links", {"rule": "a"})
    with (tmp_path / FILE_NAME).open("a") as file:
        file.write('{"remember": "2", "ki')
    assert [each.data["rule"] for each in Journal(tmp_path).load()] == ["a"]


def test_ids_continue_after_a_restart(tmp_path: Path) -> None:
    """A new entry never gets the id of an open entry."""
    journal = Journal(tmp_path)
    journal.load()
    old = journal.remember("links", {})
    again = Journal(tmp_path)
    again.load()
    assert again.remember("links", {}).id != old.id
