"""Folders of killed processes are removed by the next process, and no others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kit.process import leftovers

CLAIM = Path(__file__).with_name("programs") / "claim.py"


@pytest.fixture
def abandoned(tmp_path: Path) -> Path:
    """A folder that a process has claimed, which is dead now."""
    folder = tmp_path / "abandoned"
    folder.mkdir()
    (folder / "file").write_text("x")
    subprocess.run([sys.executable, str(CLAIM), str(folder)], check=True, timeout=30)
    return folder


def edited(folder: Path, **members: object) -> None:
    claim = folder / leftovers.CLAIM_FILE
    claim.write_text(json.dumps({**json.loads(claim.read_text()), **members}))


def test_a_folder_of_a_dead_process_is_removed(abandoned: Path):
    assert leftovers.sweep([abandoned]) == [abandoned]
    assert not abandoned.exists()


def test_a_folder_stays_while_one_of_its_claimers_lives(tmp_path: Path):
    leftovers.claim(tmp_path)
    assert leftovers.sweep([tmp_path]) == []
    edited(tmp_path, claimers=[[1 << 30, 5], *json.loads((tmp_path / leftovers.CLAIM_FILE).read_text())["claimers"]])
    assert leftovers.sweep([tmp_path]) == []


def test_another_process_with_the_same_id_is_no_claimer(tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir()
    leftovers.claim(folder)
    edited(folder, claimers=[[os.getpid(), 5]])
    assert leftovers.sweep([folder]) == [folder]


def test_a_folder_from_before_the_last_boot_is_removed(tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir()
    leftovers.claim(folder)
    namespace = json.loads((folder / leftovers.CLAIM_FILE).read_text())["machine"][1]
    edited(folder, machine=["another boot", namespace])
    assert leftovers.sweep([folder]) == [folder]


def test_folders_without_a_claim_of_this_machine_are_not_touched(abandoned: Path, tmp_path: Path):
    """Another container may share the folder for temporary files; its processes are not visible here."""
    boot_id = json.loads((abandoned / leftovers.CLAIM_FILE).read_text())["machine"][0]
    edited(abandoned, machine=[boot_id, "pid:[1]"])
    unclaimed, broken, link = tmp_path / "unclaimed", tmp_path / "broken", tmp_path / "link"
    for folder in (unclaimed, broken):
        folder.mkdir()
    for text in ("", "[]", "{", '{"machine": 1, "claimers": 2}'):
        (broken / leftovers.CLAIM_FILE).write_text(text)
        assert leftovers.sweep([broken]) == []
    link.symlink_to(abandoned)
    assert leftovers.sweep([abandoned, unclaimed, broken, link, tmp_path / "missing"]) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_of_another_user_is_not_touched(abandoned: Path):
    os.chown(abandoned, 65534, 65534)
    assert leftovers.sweep([abandoned]) == []
