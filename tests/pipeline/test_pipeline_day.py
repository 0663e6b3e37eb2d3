"""The object of the pipeline notebook: it follows the execution, and a verdict that is no pass raises."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kit.errors import EvidenceMissing, UsageError, VerdictNotPass
from kit.gameday import Parameters
from kit.model import Verdict
from kit.notebook import scraps
from kit.pipeline import pipeline_day
from kit.pipeline.execution import Ending, Step
from kit.pipeline.pipeline_day import PipelineDay
from tests.pipeline.test_conducted_verdict import record

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "pipeline.ipynb"


class Run:
    """A conducted run that ends with a verdict."""

    def __init__(self, folder: Path, verdict: dict[str, Any], left: list[str]) -> None:
        self.parameters = Parameters(scenario="az-loss", run_id="r-1", reports=folder, target="aws")
        self.run_dir = folder / "r-1"
        self.run_dir.mkdir()
        self.ending = Ending(status="FAILED", error="GameDay.FAIL", cause="why")
        self._verdict, self._left = verdict, left
        self.closed = 0

    def start(self) -> str:
        return "arn:execution"

    def follow(self, *, on_step: Callable[[Step], None]) -> Ending:
        on_step(Step(state="Prepare", at=1.0, is_over=False))
        on_step(Step(state="Prepare", at=2.0, is_over=True))
        return self.ending

    def fetch(self) -> dict[str, Any]:
        return self._verdict

    def close(self) -> list[str]:
        self.closed += 1
        return self._left


@pytest.fixture
def day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[PipelineDay, dict[str, Any]]]:
    """Make a day whose scraps are kept in a dictionary, without a watchdog."""

    class Watchdog:
        def close(self) -> None:
            """Nothing was started."""

    glued: dict[str, Any] = {}
    monkeypatch.setenv("GAMEDAY_HEADLESS", "1")
    monkeypatch.setattr(pipeline_day, "start_watchdog", lambda _: Watchdog())
    monkeypatch.setattr(scraps, "glue", lambda name, data: glued.update({name: data}))
    monkeypatch.setattr(scraps, "glue_figure", lambda name, figure, *, alt: glued.update({name: figure}))

    def make(verdict: dict[str, Any], left: list[str] | None = None) -> tuple[PipelineDay, dict[str, Any]]:
        run: Any = Run(tmp_path, verdict, left or [])
        return PipelineDay(run), glued

    return make


def test_a_run_that_failed_glues_its_verdict_and_raises(day, tmp_path: Path):
    made, glued = day(record(Verdict.FAIL, "no-double-fill: d"))
    made.conduct()
    made.show_states()
    made.fetch()
    with pytest.raises(VerdictNotPass, match="FAIL: no-double-fill: d"):
        made.verdict()
    assert glued["verdict"]["verdict"] == "FAIL" and "states" in glued
    assert json.loads((tmp_path / "r-1" / "verdict.json").read_text()) == glued["verdict"]


def test_a_pass_raises_nothing(day):
    made, glued = day(record(Verdict.PASS))
    made.fetch()
    made.verdict()
    assert glued["verdict"]["verdict"] == "PASS"


def test_a_pass_that_leaves_something_behind_fails(day):
    made, _ = day(record(Verdict.PASS), ["stack x"])
    made.fetch()
    with pytest.raises(VerdictNotPass, match="nothing-left-behind: stack x"):
        made.verdict()


def test_no_verdict_is_given_before_the_results_are_there(day):
    made, glued = day(record(Verdict.PASS))
    with pytest.raises(EvidenceMissing, match="nothing is fetched yet"):
        made.verdict()
    assert glued == {}


def test_a_run_may_not_have_the_conductor_s_name(tmp_path: Path):
    with pytest.raises(UsageError, match="is the name of the conductor"):
        PipelineDay.begin("az-loss", run_id="pipeline")


def test_the_notebook_calls_what_the_object_has():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    called = [part.partition("(")[0] for part in source.split("day.")[1:]]
    assert called == ["brief", "deploy", "conduct", "show_states", "fetch", "verdict"]
    assert [name for name in called if not callable(getattr(PipelineDay, name))] == []
