"""Test the linter's rule on Lambda faults, which have no effect without AWS's FIS extension."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.faults.lint import lint
from tests.faults.changed_stacks import with_properties

STACK = Path(__file__).with_name("stacks") / "slow_functions.yaml"


def remarks_on(tmp_path: Path, **properties: str) -> list[str]:
    """Return the rule's remarks on a prepared function of which some properties are changed."""
    path = with_properties(STACK, tmp_path / "stack.yaml", **properties)
    return [str(remark) for _, remark in lint([path]) if remark.rule == "lambda-fault-prerequisites"]


@pytest.mark.parametrize(
    "changes",
    [{}, {"Layers": "!Ref Layers"}, {"Layers": "[!Ref Layer]"}, {"Environment": "!If [A, B, C]"}],
    ids=["prepared", "unknown layers", "unknown layer", "unknown environment"],
)
def test_a_prepared_function_or_an_unknown_one_is_not_remarked_on(tmp_path: Path, changes: dict[str, str]) -> None:
    """The value of a CloudFormation function is known at deployment only."""
    assert remarks_on(tmp_path, **changes) == []


@pytest.mark.parametrize(
    ("changes", "lacking"),
    [
        ({"Layers": "[]"}, "the FIS extension as a layer"),
        ({"Environment": "{Variables: {AWS_LAMBDA_EXEC_WRAPPER: /opt/aws-fis/bootstrap}}"}, "AWS_FIS_CONFIGURATION_"),
        ({"Environment": "{}"}, "AWS_FIS_CONFIGURATION_LOCATION and AWS_LAMBDA_EXEC_WRAPPER=/opt/aws-fis/bootstrap"),
    ],
)
def test_a_function_that_lacks_the_extension_is_an_error(tmp_path: Path, changes: dict[str, str], lacking: str) -> None:
    """The error names the function and what it lacks."""
    (remark,) = remarks_on(tmp_path, **changes)
    assert remark.startswith(
        "error lambda-fault-prerequisites: Slow: action Late: aws:lambda:invocation-add-delay needs"
    )
    assert lacking in remark and remark.endswith("which function Worker lacks")


def test_without_a_function_in_the_file_it_is_a_note(tmp_path: Path) -> None:
    """A function of another component is not checked."""
    (remark,) = remarks_on(tmp_path, Tags="[{Key: App, Value: other}]")
    assert remark.startswith("note ") and "which is not in this file" in remark
