"""Run folders from other people: every command answers INVALID in words, and harms no other file and no other run."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kit.cli.main import main
from kit.files import write_json
from kit.files.seal import SEAL, read_sealed, sealed, write_manifest
from tests.suite.suite_rig import GOOD, a_finished_run, a_suite

INVALID = 3
DEEP = "[" * 100_000


def edit_run(**changes: Any) -> Callable[[Path], object]:
    """Return an edit of `run.json` that seals it again."""

    def edit(folder: Path) -> None:
        write_json(folder / "run.json", sealed({**read_sealed(folder / "run.json"), **changes}))

    return edit


def edit_notebook(change: Callable[[dict], object]) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        path = folder / "executed.ipynb"
        notebook = json.loads(path.read_text())
        change(notebook)
        path.write_text(json.dumps(notebook))

    return edit


def edit_record(change: Callable[[dict], object]) -> Callable[[Path], object]:
    """Return an edit of the verdict that the manifest confirms."""

    def edit(folder: Path) -> None:
        path = folder / "executed.ipynb"
        notebook = json.loads(path.read_text())
        (payload,) = notebook["cells"][0]["outputs"][0]["data"].values()
        change(payload["data"])
        path.write_text(json.dumps(notebook))
        write_manifest(folder, headless=True, verdict=payload["data"])

    return edit


def text(file: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_text(content)


HOSTILE: dict[str, Callable[[Path], object]] = {
    "run.json is a list": text("run.json", "[]"),
    "run.json is null": text("run.json", "null"),
    "run.json is deep": text("run.json", DEEP),
    "run.json was edited": text("run.json", json.dumps({"exit_code": 0, SEAL: "x"})),
    "parameters are a text": edit_run(parameters="x"),
    "a parameter is a list": edit_run(parameters={"scenario": ["az-loss"]}),
    "exit code is a text": edit_run(exit_code="0"),
    "notebook is deep": text("executed.ipynb", DEEP),
    "notebook is a list": text("executed.ipynb", "[]"),
    "notebook is null": text("executed.ipynb", "null"),
    "notebook of version 3": edit_notebook(lambda nb: nb.update(nbformat=3)),
    "cells are null": edit_notebook(lambda nb: nb.update(cells=None)),
    "cells are junk": edit_notebook(lambda nb: nb.update(cells=[1, None])),
    "metadata is a list": edit_notebook(lambda nb: nb.update(metadata=[])),
    "papermill is a list": edit_notebook(lambda nb: nb["metadata"].update(papermill=[1])),
    "a cell's papermill is a text": edit_notebook(lambda nb: nb["cells"][0]["metadata"].update(papermill="x")),
    "no source": edit_notebook(lambda nb: nb["cells"][0].pop("source")),
    "a lone surrogate": edit_notebook(lambda nb: nb["cells"][0].update(source="\ud800")),
    "scrap without data": edit_notebook(lambda nb: nb["cells"][0]["outputs"][0].update(data={})),
    "record is a list": edit_record(lambda record: record.clear()),
    "time out of range": edit_record(lambda record: record.update(fault=a_fault(injected_at=1e300))),
    "an action without members": edit_record(lambda record: record.update(fault=a_fault(actions=[{}]))),
    "load is null": edit_record(lambda record: record.update(load=None)),
    "a pipe as run.json": lambda folder: (folder / "run.json").unlink() or os.mkfifo(folder / "run.json"),
    "manifest is a list": text("manifest.json", "[]"),
}  # fmt: skip


def a_fault(**changes: Any) -> dict[str, Any]:
    return {
        "experiment_id": "E", "template": "T", "actions": [], "targets": [], "injected_at": None, "observed_at": None,
        "healed_at": None, **changes,
    }  # fmt: skip


@pytest.mark.parametrize("damage", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_run_folder_is_invalid_in_words(tmp_path, capsys, damage):
    folder = tmp_path / "run"
    a_finished_run(folder, GOOD)
    damage(folder)
    if (folder / "run.json").is_file():
        assert main(["gate", str(folder)]) == INVALID
        assert main(["report", str(folder)]) == 0
        assert json.loads((folder / "verdict.json").read_text())["verdict"] == "INVALID"
        assert "INVALID" in (folder / "report.html").read_text()
        ET.parse(folder / "junit.xml")
    assert main(["check", str(folder)]) == INVALID
    output = capsys.readouterr()
    assert "Traceback" not in output.out + output.err


@pytest.mark.parametrize("name", ["suite.json", "power.json"])
@pytest.mark.parametrize("content", [DEEP, "[]", "null", '{"runs": {}}', '{"a": "\\ud800"}'])
def test_a_hostile_record_of_many_runs_is_invalid_in_words(tmp_path, capsys, name, content):
    (tmp_path / name).write_text(content)
    assert main(["gate", str(tmp_path)]) == INVALID
    output = capsys.readouterr()
    assert name in output.out and "Traceback" not in output.out + output.err


@pytest.mark.parametrize("content", ['{"change": "\\ud800"}', DEEP, "[]", '{"verdict": 3}', ""])
@pytest.mark.parametrize("name", ["verdict.json", "suite.json", "power.json"])
def test_a_bad_neighbour_is_listed_as_unreadable_and_changes_no_other_run(tmp_path, name, content):
    a_finished_run(tmp_path / "good", GOOD)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / name).write_text(content)
    assert main(["report", str(tmp_path / "good")]) == 0
    index = (tmp_path / "index.html").read_text()
    assert ">good<" in index and f"{name} cannot be read" in index


def test_neighbours_with_any_name_are_listed(tmp_path):
    a_finished_run(tmp_path / "good", GOOD)
    for name in (b"caf\xe9", b"a\nb", b"<b>", b"a#b?c%41", "größe".encode()):
        folder = os.fsencode(tmp_path) + b"/" + name
        os.mkdir(folder)
        (Path(os.fsdecode(folder)) / "verdict.json").write_text("{}")
    assert main(["report", str(tmp_path / "good")]) == 0
    index = (tmp_path / "index.html").read_text()
    assert index.count("cannot be read") == 5 and "&lt;b&gt;" in index


@pytest.mark.parametrize("name", ["verdict.json", "junit.xml", "report.html", "../index.html"])
def test_nothing_is_written_through_a_link_in_the_folder(tmp_path, name):
    a_finished_run(tmp_path / "reports" / "run", GOOD)
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / "reports" / "run" / name).symlink_to(precious)
    assert main(["report", str(tmp_path / "reports" / "run")]) == 0
    assert precious.read_text() == "kept"


@pytest.mark.parametrize("link", ["run", "reports"])
def test_nothing_is_written_through_a_folder_that_is_a_link(tmp_path, capsys, link):
    a_finished_run(tmp_path / "elsewhere" / "run", GOOD)
    if link == "reports":
        (tmp_path / "reports").symlink_to(tmp_path / "elsewhere")
    else:
        (tmp_path / "reports").mkdir()
        (tmp_path / "reports" / "run").symlink_to(tmp_path / "elsewhere" / "run")
    assert main(["report", str(tmp_path / "reports" / "run")]) == INVALID
    assert "is a symbolic link" in capsys.readouterr().err
    assert not (tmp_path / "elsewhere" / "index.html").exists()


def test_a_suite_whose_run_is_hostile_is_invalid(tmp_path, capsys):
    suite = a_suite(tmp_path / "s", [{"run_id": "run"}])
    a_finished_run(suite / "run", GOOD)
    assert main(["gate", str(suite)]) == 0
    (suite / "run" / "executed.ipynb").write_text(DEEP)
    assert main(["gate", str(suite)]) == INVALID
    assert "executed.ipynb is nested too deeply" in capsys.readouterr().out
