"""The object that the pipeline notebook holds: one conducted run, one method a cell."""

from __future__ import annotations

import atexit
import json
import time
from typing import Any

from kit import scenarios
from kit.errors import EvidenceMissing, VerdictNotPass
from kit.gameday import Parameters
from kit.gameday.commands import start_watchdog
from kit.model import Verdict
from kit.notebook import scraps, views
from kit.pipeline import state_graph
from kit.pipeline.conducted_run import ConductedRun, publish_again, with_leftovers
from kit.pipeline.conductor_stack import DEFINITION
from kit.pipeline.execution import Ending, Step


class PipelineDay:
    """One run that the state machine conducts. Make it with `begin`, then call the methods in their order."""

    def __init__(self, run: ConductedRun) -> None:
        self.run = run
        self.record: dict[str, Any] | None = None
        self._definition = json.loads(DEFINITION.read_text(encoding="utf-8"))
        self._steps: list[Step] = []
        self._watchdog = start_watchdog(run.parameters)

    @classmethod
    def begin(cls, scenario: str, **parameters: Any) -> PipelineDay:
        """Check the parameters; nothing is started yet. Raises UsageError."""
        run = ConductedRun(Parameters(scenario=scenario, **parameters), say=views.say)
        run.parameters.preflight()
        day = cls(run)
        atexit.register(day.close)
        return day

    def brief(self) -> None:
        """Show what the scenario breaks and what it expects."""
        scenario = scenarios.get(self.run.parameters.scenario)
        views.show_brief(scenario.title, scenario.hypothesis)

    def deploy(self) -> None:
        """Bring up the conductor and PaperBroker."""
        self.run.deploy()

    def conduct(self) -> None:
        """Start the execution, and draw its states until it ends."""
        views.say(f"execution {self.run.start()}")
        live = views.Live()

        def show(step: Step) -> None:
            self._steps.append(step)
            live.update(time.monotonic(), f"{step.state} {'left' if step.is_over else 'entered'}", self._graph)

        self.run.follow(on_step=show)

    def show_states(self) -> None:
        """Draw the states of the execution that has ended."""
        figure = state_graph.draw(self._definition, self._steps, self._ending())
        scraps.glue_figure("states", figure, alt="The state machine; the colour of a state says whether it was left")

    def fetch(self) -> None:
        """Download evidence, verdict and report, and delete PaperBroker's stack."""
        record = self.run.fetch()
        self.record = with_leftovers(record, self.run.close())
        publish_again(self.run.run_dir, self.record)
        views.say(f"report {self.run.run_dir / 'report.html'}")

    def verdict(self) -> None:
        """Glue the verdict, then raise VerdictNotPass unless it is PASS."""
        if self.record is None:
            raise EvidenceMissing(f"run {self.run.parameters.run_id}: nothing is fetched yet; call fetch() first")
        scraps.glue("trend", scraps.trend(self.record))
        scraps.glue(scraps.VERDICT_SCRAP, self.record)
        self.close()
        views.say(self.record["verdict"])
        views.show_reasons(self.record["reasons"])
        if self.record["verdict"] != Verdict.PASS:
            raise VerdictNotPass(f"{self.record['verdict']}: {self.record['reasons'][0]}")

    def close(self) -> None:
        """End everything that this run started; safe to call at any time and more than once."""
        self.run.close()
        self._watchdog.close()

    def _graph(self) -> Any:
        return state_graph.draw(self._definition, self._steps)

    def _ending(self) -> Ending | None:
        return self.run.ending
