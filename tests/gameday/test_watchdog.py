"""The watchdog process of a run: what it does and says after the end of the run's process."""

from __future__ import annotations

import io
import signal
import sys
from types import SimpleNamespace

import pytest

from kit.gameday import commands


@pytest.fixture
def stops(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that were stopped; the first stop finds an experiment, the next ones find nothing."""
    stopped: list[str] = []

    def stop_run(run_id: str, **_: str) -> list[str]:
        stopped.append(run_id)
        return ["stopped experiment EXP1"] if len(stopped) == 1 else ["no local AWS runs"]

    clock = iter(range(100))
    monkeypatch.setattr(commands, "stop_run", stop_run)
    monkeypatch.setattr(commands, "time", SimpleNamespace(monotonic=lambda: next(clock) * 5.0, sleep=lambda _s: None))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    return stopped


def end_of_the_run(monkeypatch: pytest.MonkeyPatch, told: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(told)))


def test_a_killed_run_is_stopped_and_the_watchdog_says_each_thing_once(stops, monkeypatch, capsys):
    end_of_the_run(monkeypatch, b"")
    commands.run_watchdog("r1", target="local", region="us-east-1")
    assert len(stops) > 2
    assert capsys.readouterr().out.splitlines() == [
        "watchdog of r1: stopped experiment EXP1",
        "watchdog of r1: no local AWS runs",
    ]


def test_a_run_that_has_cleaned_up_by_itself_is_left_alone(stops, monkeypatch, capsys):
    end_of_the_run(monkeypatch, commands.DONE)
    commands.run_watchdog("r1", target="local", region="us-east-1")
    assert stops == [] and capsys.readouterr().out == ""
