"""Files from other people are read within bounds, and each refusal names the file and the member."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from kit.errors import UnreadableFile
from kit.files import read_json, read_object, read_text
from kit.files.cloudformation_file import is_function, parse_cloudformation
from kit.files.notebook_file import read_notebook, scraps
from kit.files.parquet_file import open_parquet, read_frame
from kit.files.yaml_file import parse_yaml


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "f.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[" * 500 + "]" * 500, "more than 64 levels"),
        ('{"a": [1, {"b": "\\ud800"}]}', r"\$\.a\[1\]\.b holds a lone surrogate"),
        ('{"\\udfff": 1}', "member whose name is not Unicode"),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ('{"a": 1e999}', r"\$\.a is inf"),
        ('{"a": -1' + "0" * 60 + "}", r"\$\.a is a whole number of over 64 bits"),
        ("9" * 5_000, "it is not JSON"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', r"\$\.b has the member 'c' more than once"),
        ('{"a": 1,}', "line 1 column 9"),
        (b"\xff\xfe{\x00", "not UTF-8 text"),
        (b"", "it is not JSON"),
    ],
)
def test_a_hostile_document_is_refused_in_words(tmp_path, content, why):
    with pytest.raises(UnreadableFile, match=rf"^f\.json.*{why}"):
        read_json(written(tmp_path, content))


@pytest.mark.parametrize("content", ["[]", "null", "true", '"text"', "3"])
def test_a_document_that_is_no_object_is_refused(tmp_path, content):
    with pytest.raises(UnreadableFile, match=r"f\.json is not a JSON object"):
        read_object(written(tmp_path, content))


def test_a_pipe_a_folder_and_a_missing_file_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, why in (("pipe", "not a regular file"), (".", "Is a directory"), ("none", "No such file")):
        with pytest.raises(UnreadableFile, match=why):
            read_text(tmp_path / name)
    with pytest.raises(UnreadableFile, match=r"larger than 3 bytes"):
        read_text(written(tmp_path, "four"), 3)


# Seven lines that stand for ten million values.
ALIASES = "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in ("ab", "bc", "cd", "de", "ef", "fg")
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: &a [*a]", "more than 64 levels"),
        ("[" * 5_000, "more than 64 levels"),
        (ALIASES, "more than 2000000 values"),
        ("a: .inf", "not a finite number"),
        ("a: 2020-99-99", "is not YAML"),
        ("{a: b", "is not YAML"),
        ("? {a: b}\n: 1", "is not YAML"),
    ],
    ids=["circle", "deep", "aliases", "infinity", "date", "open", "object-as-name"],
)  # fmt: skip
def test_a_hostile_yaml_text_is_refused_in_words(text, why):
    with pytest.raises(UnreadableFile, match=rf"^t\.yaml.*{why}"):
        parse_yaml(text, "t.yaml")


def test_members_that_occur_twice_in_yaml_are_named():
    documents, repeated = parse_yaml("a: {x: 1, y: 2, x: 3}\n---\nb: 1\nb: 2\n", "t")
    assert (documents, repeated) == ([{"a": {"x": 3, "y": 2}}, {"b": 2}], [("$.a", "x"), ("$", "b")])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: !Ref X", {"Ref": "X"}),
        ("a: !GetAtt X.Arn", {"Fn::GetAtt": "X.Arn"}),
        ("a: !If [c, !Ref X, {b: !Sub t}]", {"Fn::If": ["c", {"Ref": "X"}, {"b": {"Fn::Sub": "t"}}]}),
        ("a: !Transform {Name: n}", {"Fn::Transform": {"Name": "n"}}),
        ('{"a": {"Ref": "X"}}', {"Ref": "X"}),
    ],
)
def test_functions_of_a_template_have_one_form(text, value):
    (document,), _ = parse_cloudformation(text, "t")
    assert document == {"a": value} and is_function(value)


def test_dates_of_a_template_stay_text():
    assert parse_cloudformation("Version: 2012-10-17", "t")[0] == [{"Version": "2012-10-17"}]


def test_the_number_of_values_can_be_bounded_further():
    for text in ("[1, 2, 3, 4]", "a: [1, 2, 3, 4]", ALIASES):
        with pytest.raises(UnreadableFile, match="more than 3 values"):
            parse_cloudformation(text, "t", values_max=3)


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw.update(nbformat=3),
        lambda raw: raw.update(cells=None),
        lambda raw: raw.update(cells=[1, "x"]),
        lambda raw: raw["cells"][0].update(metadata=[]),
        lambda raw: raw["cells"][0].pop("source"),
        lambda raw: raw["cells"][0].update(outputs={}),
        lambda raw: raw.update(metadata=[]),
        lambda raw: raw["cells"][0].update(cell_type="spell"),
    ],
)
def test_a_broken_notebook_is_refused(tmp_path, damage):
    raw = json.loads(nbformat.writes(new_notebook(cells=[new_code_cell("1")])))
    damage(raw)
    with pytest.raises(UnreadableFile, match=r"^f\.json"):
        read_notebook(written(tmp_path, json.dumps(raw)))


@pytest.mark.parametrize("payload", [None, [], {"name": 3, "data": 1}, {"name": "verdict"}])
def test_a_scrap_that_is_not_whole_is_refused(payload):
    output = nbformat.from_dict(
        {
            "output_type": "display_data",
            "data": {"application/scrapbook.scrap.json+json": payload},
            "metadata": {"scrapbook": {"name": "verdict", "data": True}},
        }
    )
    notebook = new_notebook(cells=[new_code_cell("1", outputs=[output])])
    with pytest.raises(UnreadableFile, match="a scrap is"):
        scraps(notebook, "n.ipynb")


def test_a_parquet_file_that_is_missing_damaged_or_huge_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "t.parquet"
    with pytest.raises(UnreadableFile, match=r"t\.parquet is missing"):
        open_parquet(path)
    pd.DataFrame({"a": [1, 2, 3]}).to_parquet(path)
    assert read_frame(path)["a"].tolist() == [1, 2, 3]
    monkeypatch.setattr("kit.files.parquet_file.ROWS_MAX", 2)
    with pytest.raises(UnreadableFile, match="it has 3 rows, at most 2 are read"):
        open_parquet(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UnreadableFile, match=r"t\.parquet is damaged"):
        open_parquet(path)
