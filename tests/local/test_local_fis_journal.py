"""The undo journal survives what kills the process."""

from pathlib import Path

from kit.local.fis.journal import FILE_NAME, Journal


def test_what_was_not_forgotten_is_there_after_a_restart_newest_first(tmp_path: Path) -> None:
    """Only open entries come back, with their data, without handles."""
    journal = Journal(tmp_path)
    assert journal.load() == []
    first, second, third = (journal.remember("links", {"rule": name}) for name in "abc")
    first.handles.append("link-1")
    journal.forget(second)
    left = Journal(tmp_path).load()
    assert [(each.data["rule"], each.handles) for each in left] == [("c", []), ("a", [])]
    assert left[0].id == third.id


def test_a_torn_last_line_is_no_change(tmp_path: Path) -> None:
    """A write that a kill cut short belongs to a change that was never made."""
    journal = Journal(tmp_path)
    journal.load()
    journal.remember("links", {"rule": "a"})
    with (tmp_path / FILE_NAME).open("a") as file:
        file.write('{"remember": "2", "ki')
    assert [each.data["rule"] for each in Journal(tmp_path).load()] == ["a"]


def test_ids_go_on_after_a_restart(tmp_path: Path) -> None:
    """A new entry never takes the id of an open one."""
    journal = Journal(tmp_path)
    journal.load()
    old = journal.remember("links", {})
    again = Journal(tmp_path)
    again.load()
    assert again.remember("links", {}).id != old.id
