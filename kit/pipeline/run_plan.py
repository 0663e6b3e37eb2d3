"""Plan one run for the state machine and its tasks: what they do, when, and with what limits, as one object in S3.

The state machine computes nothing of its own: its input is the run's id and the bucket, everything else is read here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from kit import scenarios
from kit.errors import EvidenceMissing
from kit.gameday.parameters import Parameters
from kit.gameday.phases import RECOVERY_SHARE_MAX
from kit.load import LoadPlan
from kit.load.artifacts import Artifacts
from kit.model import WARM_UP_S, Deployment, RunFacts
from kit.pipeline.assertion.metric_limits import PERIOD_S, POINTS_MIN
from kit.pipeline.assertion_input import SLOS, STEADY_STATE, assertion_input
from kit.scenarios import Scenario

SCHEMA = "gameday.pipeline-plan/1"
# Objects of a run, below `s3://<artifacts>/<run>/`.
PLAN, EVIDENCE, JUDGED, CLEANUP = "plan.json", "evidence", "judged.json", "cleanup.json"
# The watching task says here that it watches, beside the load tasks.
WATCH_READY = "load/ready/watch.json"
# A watching task that fails says why.
WATCH_FAILED = "watch/failed.json"

# The assertions need whole periods of metrics: two, and one more that a window may cut off at its ends.
WINDOW_S_MIN = (POINTS_MIN + 1) * PERIOD_S
# PaperBroker publishes every 5 s, and CloudWatch shows a point shortly after; the load goes on meanwhile.
SETTLE_S = PERIOD_S + 1
# From the order of the load to its common start.
LEAD_S = 8
# Every shard must know the common end before it comes.
STOP_AHEAD_S = 4
READY_S_MAX = 180
# What an experiment may need after its duration, for its undo and its last state.
EXPERIMENT_SLACK_S = 60
# Draining, uploading and collecting, in which AWS may publish the load balancer's metrics minutes late.
COLLECT_S_MAX = 600
JUDGE_S_MAX = 900
POLL_S_MIN = 1
# A state machine may write 25,000 events into its history, and a look at the experiment takes about ten.
POLLS_MAX = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """One run. `members` are ids of processes on this machine that work for it; none on AWS.

    `times`: seconds, as the state machine waits them. `assertions`: the input of the assertion function by its name,
    without the window.
    """

    facts: RunFacts
    deployment: Deployment
    template_id: str
    shards: int
    load: LoadPlan
    times: dict[str, float]
    assertions: dict[str, dict[str, Any]]
    members: tuple[int, ...] = ()

    @property
    def run_id(self) -> str:
        return self.facts.run_id

    @property
    def scenario(self) -> Scenario:
        return scenarios.get(self.facts.scenario)

    def to_plain(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {"schema": SCHEMA, **asdict(self)}


def parameters_of(parameters: Parameters) -> Parameters:
    """Lengthen the stages of a run so that the assertions have data: the steady state and the time after recovery."""
    scenario = scenarios.get(parameters.scenario)
    longest = min(scenario.recovery_s_max + WINDOW_S_MIN, WINDOW_S_MIN / (1 - RECOVERY_SHARE_MAX))
    return replace(
        parameters,
        steady_s=max(parameters.steady_s, WINDOW_S_MIN),
        recovery_s=max(parameters.recovery_s, math.ceil(longest)),
        load_tasks=max(1, parameters.load_tasks),
    )


def plan_run(
    parameters: Parameters,
    deployment: Deployment,
    load: LoadPlan,
    *,
    build: str,
    reproduce: str,
    run_parameters: dict[str, Any],
    started_at: float,
    members: Sequence[int] = (),
) -> RunPlan:
    """Make the plan of a run whose stack is up and has its past."""
    p, scenario = parameters, scenarios.get(parameters.scenario)
    times = times_of(p, scenario)
    asserted = {
        name: assertion_input(scenario, deployment, assertion=name, rate_per_s=p.rate_per_s, run_s=times["load_s_max"])
        for name in (STEADY_STATE, SLOS)
    }
    facts = RunFacts(
        run_id=p.run_id, scenario=p.scenario, build=build, change=p.change, target=p.target, region=p.region,
        seed=p.seed, reproduce=reproduce, parameters=run_parameters, started_at=started_at,
    )  # fmt: skip
    return RunPlan(
        facts=facts,
        deployment=deployment,
        template_id=deployment.outputs[scenario.template_output],
        shards=p.load_tasks,
        load=load,
        times=times,
        assertions=asserted,
        members=tuple(members),
    )


def times_of(p: Parameters, scenario: Scenario) -> dict[str, float]:
    """Return what the state machine waits for and how long at most, in seconds."""
    # Objectives of the phase `after` hold from here on, as `phase_windows` says.
    recovered_s = min(scenario.recovery_s_max, RECOVERY_SHARE_MAX * p.recovery_s)
    load_s_max = (
        READY_S_MAX + LEAD_S + WARM_UP_S + p.steady_s + p.fault_duration_s + EXPERIMENT_SLACK_S + p.recovery_s
        + 2 * SETTLE_S + 2 * STOP_AHEAD_S
    )  # fmt: skip
    return {
        "ready_s_max": READY_S_MAX,
        "lead_s": LEAD_S,
        "warm_up_s": WARM_UP_S,
        "steady_s": p.steady_s,
        "settle_s": SETTLE_S,
        "experiment_s_max": p.fault_duration_s + EXPERIMENT_SLACK_S,
        "poll_s": max(POLL_S_MIN, math.ceil(p.fault_duration_s / POLLS_MAX)),
        "recovered_s": recovered_s,
        "recovery_s": p.recovery_s,
        "stop_ahead_s": STOP_AHEAD_S,
        "load_s_max": load_s_max,
        "load_task_s_max": math.ceil(load_s_max + COLLECT_S_MAX),
        "watch_s_max": math.ceil(load_s_max + COLLECT_S_MAX),
        "judge_s_max": JUDGE_S_MAX,
    }


def write_plan(artifacts: Artifacts, plan: RunPlan) -> None:
    """Write the plan for the state machine and the tasks."""
    artifacts.put_json(PLAN, plan.to_plain())


def read_plan(artifacts: Artifacts) -> RunPlan:
    """Read what `write_plan` wrote. Raises EvidenceMissing if it is missing or something else."""
    plain = artifacts.get_json(PLAN)
    if plain is None or plain.pop("schema", None) != SCHEMA:
        raise EvidenceMissing(f"{artifacts.url(PLAN)} is no plan of a run ({SCHEMA})")
    try:
        return RunPlan(
            facts=RunFacts(**plain.pop("facts")),
            deployment=Deployment(**plain.pop("deployment")),
            load=LoadPlan.from_json(json.dumps(plain.pop("load"))),
            members=tuple(plain.pop("members")),
            **plain,
        )
    except (KeyError, TypeError) as error:
        raise EvidenceMissing(f"{artifacts.url(PLAN)} is no plan of a run: {error!r}") from error
