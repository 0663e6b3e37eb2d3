"""A run's folder that was damaged after the run is noticed, whatever was damaged."""

from __future__ import annotations

import json
import os

import pytest

from kit.errors import UnreadableFile
from kit.files import write_json
from kit.files.seal import check_evidence, check_verdict, read_sealed, sealed, write_manifest


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "history").mkdir()
    (tmp_path / "history" / "a.parquet").write_bytes(b"rows")
    write_json(tmp_path / "observations.json", {"a": 1})
    write_manifest(tmp_path, headless=True, verdict={"verdict": "FAIL", "measured": 0.1})
    return tmp_path


def replaced_by_link(path):
    moved = path.rename(path.parent.parent / f"moved-{path.name}")
    path.symlink_to(moved)


def replaced_by_pipe(path):
    path.unlink()
    os.mkfifo(path)


def listed(folder, name, described):
    """List a file in the manifest as somebody does who seals it again."""
    manifest = read_sealed(folder / "manifest.json")
    manifest["files"][name] = described
    write_json(folder / "manifest.json", sealed(manifest))


def test_a_whole_folder_and_its_own_verdict_are_accepted(folder):
    check_evidence(folder)
    (folder / "history" / ".hidden").write_text("no evidence")
    check_evidence(folder)
    check_verdict(folder, json.loads('{"measured": 0.1, "verdict": "FAIL"}'))


def test_another_verdict_is_refused(folder):
    with pytest.raises(UnreadableFile, match="it was changed"):
        check_verdict(folder, {"verdict": "PASS", "measured": 0.1})


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda folder: (folder / "history" / "a.parquet").write_bytes(b"rowz"), "another content"),
        (lambda folder: (folder / "history" / "a.parquet").unlink(), "a.parquet is missing"),
        (lambda folder: write_json(folder / "observations.json", {"a": 2}), "observations.json has another content"),
        (
            lambda folder: (folder / "cleanup.json").write_text("{}"),
            r"cleanup.json is not in manifest.json: it was added",
        ),
        (lambda folder: os.mkfifo(folder / "history" / "p"), "history/p is not in manifest.json"),
        (lambda folder: replaced_by_link(folder / "history" / "a.parquet"), "a.parquet is a symbolic link"),
        (lambda folder: replaced_by_pipe(folder / "observations.json"), "observations.json is not a regular file"),
        (lambda folder: os.truncate(folder / "observations.json", 1 << 40), "observations.json has another content"),
        (lambda folder: replaced_by_link(folder / "history"), "history/a.parquet is missing"),
        (lambda folder: listed(folder, "../precious", {"bytes": 1}), r"\.\./precious is missing"),
        (lambda folder: listed(folder, "history/a.parquet", {"bytes": 1 << 40}), "lists 1099511627787 bytes, at most"),
        (lambda folder: listed(folder, "history/a.parquet", []), "a.parquet has another content"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json cannot be read"),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "changed since it was written"),
        (lambda folder: write_json(folder / "manifest.json", sealed({"schema": "x"})), "schema is 'x'"),
        (
            lambda folder: write_json(folder / "manifest.json", sealed({"schema": "gameday.manifest/1", "files": []})),
            "headless is null",
        ),
    ],
)
def test_damage_is_named(folder, damage, why):
    damage(folder)
    with pytest.raises(UnreadableFile, match=why):
        check_evidence(folder)


def test_a_folder_of_very_many_files_is_refused(folder, monkeypatch):
    monkeypatch.setattr("kit.files.seal.FILES_MAX", 1)
    with pytest.raises(UnreadableFile, match="more than 1 files of evidence"):
        check_evidence(folder)


def test_a_record_with_one_changed_member_is_refused(tmp_path):
    path = tmp_path / "run.json"
    write_json(path, sealed({"exit_code": 137}))
    assert read_sealed(path) == {"exit_code": 137}
    path.write_text(path.read_text().replace("137", "0"))
    with pytest.raises(UnreadableFile, match="changed since"):
        read_sealed(path)
