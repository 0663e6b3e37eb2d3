"""Every known bad change applies, and the tests that it names fail in a copy of the tree that has it."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from kit import build, integrity, scenarios
from kit.gameday.findings import OTHER_CHECKS
from kit.slo.objectives import Metric
from kit.stack_rules.template import read_template
from tests.paperbroker.known_changes import CHANGES, ROOT, copy_tree, header
from tests.paperbroker.paperbroker_rig import SHARED_ENDPOINT

HEADER = ("title", "breaks", "how", "visible-since", "scenario", "caught-by", "tests", "fix")
# The first level at which a change is visible. Only a change that needs a load or a fault may name no test.
LEVELS = {"unit", "integration", "load", "fault"}
UNTESTED_LEVELS = {"load", "fault"}
CHECKS = {check.name for check in integrity.CHECKS} | {metric.check for metric in Metric} | set(OTHER_CHECKS)
# Tested in every run; the others are marked slow.
ALWAYS_TESTED = {"drop-idempotency", "float-cash", "any-content-is-a-retry"}
RUN_S_MAX = 110.0


@pytest.mark.parametrize("diff", CHANGES, ids=lambda path: path.stem)
def test_header_is_complete_and_names_what_exists(diff: Path):
    """The scenario, the checks and the tests that it names exist."""
    fields = header(diff)
    assert tuple(fields) == HEADER and all(fields.values())
    assert fields["visible-since"] in LEVELS
    assert fields["scenario"] in scenarios.names()
    assert [check for check in fields["caught-by"].split(", ") if check not in CHECKS] == []
    if fields["tests"] == "none":
        assert fields["visible-since"] in UNTESTED_LEVELS
    else:
        assert [test for test in fields["tests"].split(", ") if not (ROOT / test).is_file()] == []


@pytest.mark.parametrize("diff", CHANGES, ids=lambda path: path.stem)
def test_change_applies_to_paperbroker_only(diff: Path, tmp_path: Path):
    """Git and the kit both apply it, and the changed files compile."""
    tree = copy_tree(tmp_path, diff)
    build.validate_change(ROOT / "paperbroker", diff.stem, diff.parent)
    touched = [line.removeprefix("+++ b/") for line in diff.read_text().splitlines() if line.startswith("+++ ")]
    assert touched and all(path.startswith("paperbroker/") for path in touched)
    for path in touched:
        if path.endswith(".py"):
            compile((tree / path).read_text(), path, "exec")
        else:
            read_template((tree / path).read_text())


@pytest.mark.parametrize(
    "diff",
    [
        pytest.param(path, id=path.stem, marks=() if path.stem in ALWAYS_TESTED else (pytest.mark.slow,))
        for path in CHANGES
        if header(path)["tests"] != "none"
    ],
)
def test_change_fails_the_tests_that_it_names(diff: Path, tmp_path: Path, aws: str):
    """In a copy of the tree with the change, each named test module runs and has a failed test."""
    tests = header(diff)["tests"].split(", ")
    failed, ran = outcome(copy_tree(tmp_path, diff), tests, aws)
    assert ran == {Path(test).stem for test in tests}
    assert failed == ran


def outcome(tree: Path, tests: list[str], aws: str) -> tuple[set[str], set[str]]:
    """Run pytest in the copy; return the test modules with a failed test, and those that ran without errors.

    A single module ends with its first failure, which is all that is asked of it.
    """
    env = {**os.environ, "PYTHONPATH": str(tree), SHARED_ENDPOINT: aws, "PYTHONDONTWRITEBYTECODE": "1"}
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--junitxml=junit.xml", *tests]
    argv += ["--exitfirst"] * (len(tests) == 1)
    result = subprocess.run(argv, cwd=tree, env=env, timeout=RUN_S_MAX, capture_output=True, text=True, check=False)
    assert (tree / "junit.xml").is_file(), result.stdout + result.stderr
    cases = list(ElementTree.parse(tree / "junit.xml").iter("testcase"))
    failed = {case.get("classname", "") for case in cases if case.find("failure") is not None}
    ran = {case.get("classname", "") for case in cases if case.find("error") is None}
    return {name.rpartition(".")[2] for name in failed}, {name.rpartition(".")[2] for name in ran}
