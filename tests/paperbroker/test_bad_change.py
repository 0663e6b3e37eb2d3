"""Every known bad change applies, and every test that must notice it does: shown on a copy of the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from paperbroker_rig import SHARED_ENDPOINT

ROOT = Path(__file__).parents[2]
CHANGES = sorted((ROOT / "paperbroker/changes").glob("*.diff"))
HEADER = ("title", "breaks", "how", "visible-since", "caught-by", "tests", "fix")
RUN_S_MAX = 90.0


def header(diff: Path) -> dict[str, str]:
    """The comment lines before the diff; a line without a name goes on with the one before."""
    found: dict[str, str] = {}
    name = ""
    for line in diff.read_text().splitlines():
        if not line.startswith("#"):
            break
        if match := re.fullmatch(r"# ([a-z-]+): (.*)", line):
            name = match[1]
            found[name] = match[2]
        else:
            found[name] += " " + line.removeprefix("#").strip()
    return found


@pytest.mark.parametrize("diff", CHANGES, ids=lambda path: path.stem)
def test_change_says_what_it_is(diff: Path):
    """Each header line is there, and names tests that exist and checks that the gate has."""
    said = header(diff)
    assert tuple(said) == HEADER
    assert said["visible-since"] in {"unit", "integration", "invariant", "gameday"}
    assert [t for t in said["tests"].split(", ") if not (ROOT / t).is_file()] == []
    checks = "".join(path.read_text() for path in (ROOT / "kit/integrity").glob("*.py"))
    assert [c for c in said["caught-by"].split(", ") if f'"{c}"' not in checks] == []


@pytest.mark.parametrize("diff", CHANGES, ids=lambda path: path.stem)
def test_change_turns_its_tests_red(diff: Path, tmp_path: Path, aws: str):
    """In a copy of the tree with the change, each named test module fails, and fails by assertion."""
    tests = header(diff)["tests"].split(", ")
    copy_tree(tmp_path)
    subprocess.run(["git", "apply", str(diff)], cwd=tmp_path, check=True, capture_output=True, text=True)
    failed, ran = outcome(tmp_path, tests, aws)
    assert ran == {Path(test).stem for test in tests}
    assert failed == ran


def copy_tree(to: Path) -> None:
    ignore = shutil.ignore_patterns("__pycache__")
    for folder in ("paperbroker", "tests/paperbroker"):
        shutil.copytree(ROOT / folder, to / folder, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", to)


def outcome(tree: Path, tests: list[str], aws: str) -> tuple[set[str], set[str]]:
    """The test modules that failed an assertion, and those that ran, under pytest in the copy."""
    env = {**os.environ, "PYTHONPATH": str(tree), SHARED_ENDPOINT: aws, "PYTHONDONTWRITEBYTECODE": "1"}
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--junitxml=junit.xml", *tests]
    result = subprocess.run(argv, cwd=tree, env=env, timeout=RUN_S_MAX, capture_output=True, text=True, check=False)
    assert (tree / "junit.xml").is_file(), result.stdout + result.stderr
    cases = list(ElementTree.parse(tree / "junit.xml").iter("testcase"))
    failed = {case.get("classname", "") for case in cases if case.find("failure") is not None}
    ran = {case.get("classname", "") for case in cases if case.find("error") is None}
    return {name.rpartition(".")[2] for name in failed}, {name.rpartition(".")[2] for name in ran}
