"""Files are replaced in one step, and nothing is written through a symbolic link."""

from __future__ import annotations

import os

import pytest

from kit.errors import EvidenceMissing
from kit.files import make_folder, write_json, write_text


def test_a_link_in_place_of_the_file_is_replaced_and_its_target_is_kept(tmp_path):
    target = tmp_path / "precious"
    target.write_text("kept")
    (tmp_path / "report.html").symlink_to(target)
    write_text(tmp_path / "report.html", "new")
    assert target.read_text() == "kept"
    assert (tmp_path / "report.html").read_text() == "new" and not (tmp_path / "report.html").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["precious", "report.html"]


def test_a_folder_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(EvidenceMissing, match="link is a symbolic link"):
        write_json(tmp_path / "link" / "verdict.json", {})
    with pytest.raises(EvidenceMissing, match="link is a symbolic link"):
        make_folder(tmp_path / "link")
    assert os.listdir(tmp_path / "real") == []


def test_a_file_that_cannot_be_replaced_leaves_nothing_behind(tmp_path):
    (tmp_path / "verdict.json").mkdir()
    with pytest.raises(EvidenceMissing, match=r"verdict\.json cannot be written: Is a directory"):
        write_json(tmp_path / "verdict.json", {})
    with pytest.raises(EvidenceMissing, match="none/x cannot be written"):
        write_text(tmp_path / "none" / "x", "")
    assert os.listdir(tmp_path) == ["verdict.json"]
