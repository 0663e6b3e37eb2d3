"""Links that somebody plants where a run or the local AWS writes are never followed."""

from __future__ import annotations

import dataclasses
import json
import marshal
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from kit.collect import ledger
from kit.errors import EvidenceMissing
from kit.files.parquet_file import read_frame, write_frame
from kit.files.replacement import check_writable, open_appending, replacing_file
from kit.load.files import COLUMNS, FRAME_HEADER, SUMMARY_FILE
from kit.load.segments import write_segment
from kit.load.writer_process import SegmentWriter
from kit.local.fis.journal import FILE_NAME, Journal
from kit.local.fis.store import EXPERIMENTS_FILE, SETTINGS_FILE, Store
from kit.local.ssm.journal import FOLDER, AutomationJournal
from kit.process import leftovers, lifeline


@pytest.fixture
def precious(tmp_path) -> Path:
    path = tmp_path / "precious"
    path.write_text("kept")
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "folder"
    path.mkdir()
    return path


def plant(precious: Path, path: Path) -> None:
    path.symlink_to(precious)


def test_a_link_in_place_of_a_table_is_replaced(folder, precious):
    plant(precious, folder / "t.parquet")
    write_frame(folder / "t.parquet", pd.DataFrame({"a": [1]}))
    assert precious.read_text() == "kept"
    assert read_frame(folder / "t.parquet")["a"].tolist() == [1]


def test_links_in_the_history_are_replaced(folder, precious):
    for name in ("attempts-00000.parquet", "attempts-00000.tmp", SUMMARY_FILE, "summary.tmp", "progress.json"):
        plant(precious, folder / name)
    row = tuple("" if kind == "string" else 0 for kind in COLUMNS["connections"].values())
    write_segment(folder / "attempts-00000.parquet", "connections", [row])
    writer = SegmentWriter(folder)
    writer.execute("json", "progress.json", {"a": 1})
    writer.execute("finish", "", {"b": 2})
    assert precious.read_text() == "kept"
    assert json.loads((folder / SUMMARY_FILE).read_text())["finished"] is True
    assert json.loads((folder / "progress.json").read_text()) == {"a": 1}


def test_a_ledger_folder_that_is_a_link_is_refused(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (folder / "ledger").symlink_to(tmp_path / "elsewhere")
    empty = pd.DataFrame()
    snapshot = ledger.LedgerSnapshot(**{each.name: empty for each in dataclasses.fields(ledger.LedgerSnapshot)})
    with pytest.raises(EvidenceMissing, match="symbolic link"):
        ledger.write_ledger(snapshot, folder)
    assert os.listdir(tmp_path / "elsewhere") == []


def test_the_undo_journal_follows_no_link(folder, precious):
    plant(precious, folder / "fis-journal.new")
    Journal(folder).load()
    (folder / FILE_NAME).unlink()
    plant(precious, folder / FILE_NAME)
    with pytest.raises(OSError, match="symbolic links"):
        Journal(folder).remember("kind", {})
    assert precious.read_text() == "kept"


def test_the_store_of_fis_follows_no_link(folder, precious):
    for name in ("fis-settings.new", SETTINGS_FILE, "fis-experiments.new"):
        plant(precious, folder / name)
    store = Store(folder)
    store.save_settings({})
    store.load_experiments(1)
    (folder / EXPERIMENTS_FILE).unlink()
    plant(precious, folder / EXPERIMENTS_FILE)
    with pytest.raises(OSError, match="symbolic links"), open_appending(folder / EXPERIMENTS_FILE):
        pass
    assert precious.read_text() == "kept"
    assert (folder / SETTINGS_FILE).read_text() == "{}"


def test_the_journal_of_automations_follows_no_link(folder, precious, tmp_path):
    (folder / FOLDER).mkdir()
    for name in ("a.new", "a.json"):
        plant(precious, folder / FOLDER / name)
    AutomationJournal(folder).write("a", {"id": "a"})
    assert precious.read_text() == "kept"
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / FOLDER).symlink_to(folder / FOLDER)
    with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
        AutomationJournal(tmp_path / "state").write("b", {"id": "b"})
    assert sorted(os.listdir(folder / FOLDER)) == ["a.json", "a.new"]


def test_a_claim_follows_no_link(folder, precious):
    for name in (leftovers.CLAIM_FILE, f"{leftovers.CLAIM_FILE}.part"):
        plant(precious, folder / name)
    leftovers.claim(folder)
    assert precious.read_text() == "kept"


def test_a_log_that_is_a_link_is_not_appended_to(folder, precious):
    plant(precious, folder / "log")
    with pytest.raises(OSError, match="symbolic links"):
        lifeline.spawn([sys.executable, "-c", "print('x')"], log=folder / "log")
    assert precious.read_text() == "kept"


def test_a_probe_follows_no_link_and_leaves_nothing(folder, precious):
    plant(precious, folder / f".probe-{os.getpid()}")
    check_writable(folder)
    assert precious.read_text() == "kept" and os.listdir(folder) == []


def test_a_file_that_replaces_another_has_its_mode_from_the_beginning(folder):
    with replacing_file(folder / "f", mode=0o600) as file:
        (part,) = folder.iterdir()
        assert part.stat().st_mode & 0o777 == 0o600
        file.write(b"x")
    assert (folder / "f").read_bytes() == b"x" and (folder / "f").stat().st_mode & 0o777 == 0o600


def test_a_block_that_raises_leaves_the_old_file(folder):
    (folder / "f").write_text("old")
    with pytest.raises(ZeroDivisionError), replacing_file(folder / "f") as file:
        file.write(b"new")
        raise ZeroDivisionError
    assert (folder / "f").read_text() == "old" and os.listdir(folder) == ["f"]


def test_a_full_disk_is_named_by_the_writer_of_the_history(folder):
    """Every new file of the child process is /dev/full."""
    code = (
        "import sys; from kit.files import replacement; replacement.open = lambda *_: open('/dev/full', 'wb');"
        f"from kit.load import writer_process; sys.argv = ['', {str(folder)!r}]; writer_process.main()"
    )
    frame = marshal.dumps(["finish", "", {}])
    done = subprocess.run(
        [sys.executable, "-c", code], input=FRAME_HEADER.pack(len(frame)) + frame, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.decode() == f"{folder}/summary.json cannot be written: No space left on device\n"
    assert os.listdir(folder) == []
