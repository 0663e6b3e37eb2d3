"""Test source trees, changes and images."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from kit import aws
from kit.build import build_image, known_changes, validate_change
from kit.build.changes import apply, changed_tree
from kit.build.source_tree import pack, read_tree, sha256
from kit.errors import UsageError

BEFORE = "".join(f"line {number}\n" for number in range(1, 31))
AFTER = BEFORE.replace("line 3\n", "line three\n").replace("line 27\n", "").replace("line 30\n", "line 30\nend")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small source tree with folders that are not part of the image."""
    tree = tmp_path / "broker"
    for name in ("main.py", "services/intake.py", "deploy/stack.yaml", "__pycache__/main.cpython-311.pyc"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(BEFORE)
    (tree / "changes").mkdir()
    return tree


def diff_of(before: str, after: str, name: str = "broker/main.py") -> str:
    """A unified diff in git's format."""
    import difflib

    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def save(source: Path, name: str, text: str) -> Path:
    path = source / "changes" / f"{name}.patch"
    path.write_text(text)
    return path


def test_a_tree_excludes_templates_changes_and_caches(source: Path):
    assert sorted(read_tree(source)) == ["broker/main.py", "broker/services/intake.py"]


def test_the_same_tree_gives_the_same_layer_regardless_of_folder_and_time(source: Path, tmp_path: Path):
    import os
    import shutil

    elsewhere = tmp_path / "other" / "broker"
    shutil.copytree(source, elsewhere)
    os.utime(elsewhere / "main.py", (1, 1))
    (elsewhere / "main.py").chmod(0o600)
    assert pack(read_tree(source)) == pack(read_tree(elsewhere))


def test_the_layer_has_the_code_in_app(source: Path):
    layer = pack(read_tree(source))
    with tarfile.open(fileobj=io.BytesIO(layer.blob), mode="r:gz") as archive:
        names = archive.getnames()
    assert names == ["app", "app/broker", "app/broker/services", "app/broker/main.py", "app/broker/services/intake.py"]
    assert layer.digest == sha256(layer.blob)


def test_a_change_gives_the_same_result_as_git_apply(source: Path):
    patch = save(source, "swap", "Why: a test.\n\n" + diff_of(BEFORE, AFTER))
    ours = changed_tree(source, "swap", source / "changes")["broker/main.py"]
    subprocess.run(["git", "apply", str(patch)], cwd=source.parent, check=True)
    assert ours == (source / "main.py").read_bytes() == AFTER.encode()


def test_a_change_applies_to_moved_lines():
    moved = {"broker/main.py": ("new first line\n" * 7 + BEFORE).encode()}
    changed = apply(moved, "swap", diff_of(BEFORE, AFTER))
    assert changed["broker/main.py"] == ("new first line\n" * 7 + AFTER).encode()


def test_a_change_creates_and_removes_files():
    added = "--- /dev/null\n+++ b/broker/new.py\n@@ -0,0 +1,2 @@\n+one\n+two\n"
    removed = "--- a/broker/old.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone\n"
    changed = apply({"broker/old.py": b"gone\n"}, "both", added + removed)
    assert changed == {"broker/new.py": b"one\ntwo\n"}


@pytest.mark.parametrize(
    ("tree", "text", "message"),
    [
        ({"broker/main.py": BEFORE.replace("line 26", "line x").encode()}, None, "hunk 2 of broker/main.py"),
        ({"broker/other.py": b""}, None, "there is no file broker/main.py"),
        ({"broker/main.py": BEFORE.encode()}, "just prose\n", "it has no hunks"),
        ({"broker/main.py": AFTER.encode()}, None, "hunk 1 of broker/main.py"),
        (
            {"broker/main.py": BEFORE.encode()},
            diff_of(BEFORE, AFTER).rpartition("+end")[0],
            "hunk 2 of .* is incomplete",
        ),
    ],
)
def test_a_change_that_does_not_apply_names_the_file_and_the_hunk(
    tree: dict[str, bytes], text: str | None, message: str
):
    with pytest.raises(UsageError, match=f"change swap does not apply: .*{message}"):
        apply(tree, "swap", text or diff_of(BEFORE, AFTER))


def test_an_unknown_change_is_refused_with_the_known_ones(source: Path):
    save(source, "swap", diff_of(BEFORE, AFTER))
    assert known_changes(source / "changes") == ("swap",)
    with pytest.raises(UsageError, match="'swop' is unknown; known: swap"):
        validate_change(source, "swop", source / "changes")


def test_without_a_change_the_tree_is_the_source(source: Path):
    assert changed_tree(source, None, source / "changes") == read_tree(source)


def test_an_image_is_the_base_and_one_layer_of_code(local_session: aws.Session, source: Path):
    image = build_image(local_session, source=source, change=None, changes_dir=source / "changes")
    answer = local_session.client("ecr").batch_get_image(
        repositoryName="paperbroker", imageIds=[{"imageDigest": image.digest}]
    )
    manifest = json.loads(answer["images"][0]["imageManifest"])
    assert manifest["layers"][-1]["digest"] == pack(read_tree(source)).digest
    assert image.uri.endswith(f"/paperbroker@{image.digest}")


def test_the_same_tree_is_the_same_image_and_a_changed_one_is_another(local_session: aws.Session, source: Path):
    save(source, "swap", diff_of(BEFORE, AFTER))
    plain, again, changed = (
        build_image(local_session, source=source, change=change, changes_dir=source / "changes")
        for change in (None, None, "swap")
    )
    assert plain == again
    assert changed.digest != plain.digest
    assert changed.change == "swap"


def test_a_change_that_does_not_apply_pushes_nothing(source: Path):
    save(source, "swap", diff_of("other\n", "text\n"))
    nowhere = aws.local_session("http://127.0.0.1:9", "us-east-1", aws.Credentials(access_key="k", secret_key="s"))
    with pytest.raises(UsageError, match="change swap does not apply"):
        build_image(nowhere, source=source, change="swap", changes_dir=source / "changes")
