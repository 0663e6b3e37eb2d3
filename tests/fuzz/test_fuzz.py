"""Every fuzz target for some seconds; and the runner finds, shrinks and repeats planted defects."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import strategies as st

from tests.fuzz import __main__ as command
from tests.fuzz import runner
from tests.fuzz.runner import Check, Target, fuzz, try_case

FAST_S = 2.0
SLOW_S = 12.0
SHOWN_CHARS_MAX = 5_000


@pytest.mark.parametrize("name", command.names())
def test_target_keeps_its_promise_for_some_seconds(name: str):
    target = command.load(name)
    assert_no_finding(name, target, FAST_S)


@pytest.mark.slow
@pytest.mark.parametrize("name", command.names())
def test_target_keeps_its_promise_for_longer(name: str):
    """Other cases than the fast test's: another seed."""
    target = command.load(name)
    assert_no_finding(name, target, SLOW_S, seed=1)


def assert_no_finding(name: str, target: Target, seconds: float, seed: int = 0) -> None:
    outcome = fuzz(target, seconds=seconds, seed=seed)
    if outcome.finding is not None:
        case = repr(outcome.finding.case)[:SHOWN_CHARS_MAX]
        raise AssertionError(f"{name}: {target.promise} Not so for {case}") from outcome.finding.error
    assert outcome.tried > len(target.known)


def planted(known: tuple[int, ...] = ()) -> Target:
    """A target that breaks its promise for every number from 1000 on."""

    @contextmanager
    def opened() -> Iterator[Check]:
        yield refuse_large

    return Target(promise="Numbers are small.", cases=st.integers(0, 10**6), open=opened, known=known)


def refuse_large(case: Any) -> None:
    if case >= 1000:
        raise ValueError(f"{case} is large")


def test_runner_shrinks_a_finding_to_the_smallest_case():
    found = fuzz(planted(), seconds=5, seed=3).finding
    assert found is not None
    assert found.case == 1000
    assert str(found.error) == "1000 is large"


def test_runner_tries_known_cases_first():
    outcome = fuzz(planted(known=(5, 7000)), seconds=0, seed=0)
    assert outcome.tried == 2
    assert outcome.finding is not None and outcome.finding.case == 7000


def test_runner_stops_when_time_is_up():
    assert fuzz(planted(known=(1, 2)), seconds=0, seed=0) == runner.Outcome(tried=2, finding=None)


def test_slow_case_is_a_finding():
    found = try_case(replace(planted(), cpu_s_max=-1.0), 1).finding
    assert found is not None and isinstance(found.error, runner.TooSlow)


def test_command_reports_a_finding_with_a_case_that_reproduces_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(command, "names", lambda: ["planted"])
    monkeypatch.setattr(command, "load", lambda name: planted())
    assert command.main(["--seconds", "5"]) == 1
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == "reproduce: python -m tests.fuzz planted --case 1000"
    assert command.main(["planted", "--case", line.rpartition(" ")[2]]) == 1
    assert command.main(["planted", "--case", "999"]) == 0


def test_unknown_target_is_wrong_usage(capsys: pytest.CaptureFixture[str]):
    assert command.main(["nothing"]) == command.USAGE
    assert "no target 'nothing'; there are: " in capsys.readouterr().err


@pytest.mark.parametrize("name", command.names())
def test_cases_are_literals(name: str):
    """Only then can `--case` repeat a finding."""
    for case in command.load(name).known:
        assert ast.literal_eval(repr(case)) == case
