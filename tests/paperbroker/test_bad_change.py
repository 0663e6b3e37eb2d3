"""Every known bad change applies, and every test that must notice it does: shown on a copy of the tree."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from kit import build, integrity, scenarios
from kit.slo.objectives import Metric
from tests.paperbroker.known_changes import CHANGES, ROOT, copy_tree, header
from tests.paperbroker.paperbroker_rig import SHARED_ENDPOINT

HEADER = ("title", "breaks", "how", "visible-since", "scenario", "caught-by", "tests", "fix")
# Where a change is visible first. Tests may be silent only about what needs a load or a fault to show.
STAGES = {"unit", "integration", "load", "fault"}
UNTESTED_STAGES = {"load", "fault"}
CHECKS = {check.name for check in integrity.CHECKS} | {metric.check for metric in Metric}
# Shown on every run; the long run shows all of them.
SHOWN = {"drop-idempotency", "float-cash", "any-content-is-a-retry"}
RUN_S_MAX = 110.0


@pytest.mark.parametrize("diff", CHANGES, ids=lambda path: path.stem)
def test_change_says_what_it_is(diff: Path):
    """Each header line is there, and names a scenario, checks that the gate has, and tests that exist."""
    said = header(diff)
    assert tuple(said) == HEADER and all(said.values())
    assert said["visible-since"] in STAGES
    assert said["scenario"] in scenarios.names()
    assert [check for check in said["caught-by"].split(", ") if check not in CHECKS] == []
    if said["tests"] == "none":
        assert said["visible-since"] in UNTESTED_STAGES
    else:
        assert [test for test in said["tests"].split(", ") if not (ROOT / test).is_file()] == []


@pytest.mark.parametrize("diff", CHANGES, ids=lambda path: path.stem)
def test_change_applies_to_paperbrokers_code_alone(diff: Path, tmp_path: Path):
    """By git as by the kit, and leaves code that can be compiled."""
    tree = copy_tree(tmp_path, diff)
    build.validate_change(ROOT / "paperbroker", diff.stem, diff.parent)
    touched = [line.removeprefix("+++ b/") for line in diff.read_text().splitlines() if line.startswith("+++ ")]
    assert touched and all(path.startswith("paperbroker/") for path in touched)
    for path in touched:
        compile((tree / path).read_text(), path, "exec")


@pytest.mark.parametrize(
    "diff",
    [
        pytest.param(path, id=path.stem, marks=() if path.stem in SHOWN else (pytest.mark.slow,))
        for path in CHANGES
        if header(path)["tests"] != "none"
    ],
)
def test_change_turns_its_tests_red(diff: Path, tmp_path: Path, aws: str):
    """In a copy of the tree with the change, each named test module fails, and fails by assertion."""
    tests = header(diff)["tests"].split(", ")
    failed, ran = outcome(copy_tree(tmp_path, diff), tests, aws)
    assert ran == {Path(test).stem for test in tests}
    assert failed == ran


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
