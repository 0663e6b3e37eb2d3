"""The plan of a run: read back as it was written, with windows in which the assertions find data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kit import scenarios
from kit.errors import EvidenceMissing
from kit.gameday import Parameters
from kit.load import LoadPlan
from kit.load.artifacts import Artifacts
from kit.model import Deployment
from kit.pipeline.assertion.metric_limits import PERIOD_S, POINTS_MIN
from kit.pipeline.run_plan import PLAN, RunPlan, parameters_of, plan_run, read_plan, times_of, write_plan
from tests.load.bucket import Bucket

SHORT: dict[str, Any] = {"steady_s": 5, "fault_duration_s": 8, "recovery_s": 5}


def plan(scenario: str = "az-loss", **given: Any) -> RunPlan:
    parameters = parameters_of(Parameters(scenario=scenario, run_id="r-1", reports=Path("/r"), **given))
    outputs = {"MetricsEnv": "e", "LedgerTable": "l", "Markets": "ACME,BOLT"}
    outputs |= {scenarios.get(scenario).template_output: "EXT1"}
    return plan_run(
        parameters,
        Deployment(stack_name="s", run_id="r-1", api_url="http://127.0.0.1:1", outputs=outputs),
        LoadPlan(api_url="http://127.0.0.1:1", markets=("ACME", "BOLT"), past_seqs=(3, 4), past_orders=7),
        build="sha256:x",
        reproduce="gameday pipeline run az-loss",
        run_parameters={"seed": 7},
        started_at=1.5,
        members=(1, 2),
    )


@pytest.fixture
def artifacts() -> Artifacts:
    return Artifacts(s3=Bucket(), bucket="artifacts", run_id="r-1")


def test_a_plan_is_read_as_it_was_written(artifacts: Artifacts):
    written = plan(load_tasks=3)
    write_plan(artifacts, written)
    assert read_plan(artifacts) == written
    assert (written.shards, written.template_id, written.scenario.name) == (3, "EXT1", "az-loss")


def test_a_run_has_one_load_task_at_least():
    assert plan().shards == 1


@pytest.mark.parametrize("value", [{}, {"schema": "other"}, {"schema": "gameday.pipeline-plan/1", "facts": {}}])
def test_anything_else_is_no_plan(artifacts: Artifacts, value: dict):
    artifacts.put_json(PLAN, value)
    with pytest.raises(EvidenceMissing, match="is no plan of a run"):
        read_plan(artifacts)


@pytest.mark.parametrize("scenario", scenarios.names())
def test_the_windows_of_the_assertions_have_data_however_short_the_run_is(scenario: str):
    """Two whole periods of metrics, wherever a window begins, also if the newest one is not published yet."""
    p = parameters_of(Parameters(scenario=scenario, run_id="r-1", **SHORT))
    times = times_of(p, scenarios.get(scenario))
    for window_s in (times["steady_s"], times["recovery_s"] - times["recovered_s"]):
        assert window_s >= (POINTS_MIN + 1) * PERIOD_S
    assert times["settle_s"] >= PERIOD_S


@pytest.mark.parametrize("scenario", scenarios.names())
def test_a_long_run_is_not_made_longer(scenario: str):
    given = Parameters(scenario=scenario, run_id="r-1", steady_s=60, recovery_s=300)
    made = parameters_of(given)
    assert (made.steady_s, made.recovery_s, made.fault_duration_s) == (60, 300, given.fault_duration_s)


def test_the_longest_fault_leaves_room_in_the_history_of_the_execution():
    p = parameters_of(Parameters(scenario="az-loss", run_id="r-1", fault_duration_s=12 * 3_600))
    times = times_of(p, scenarios.get("az-loss"))
    assert times["experiment_s_max"] / times["poll_s"] <= 402


def test_the_plan_is_small_enough_for_a_state(artifacts: Artifacts):
    write_plan(artifacts, plan())
    assert len(json.dumps(artifacts.get_json(PLAN))) < 50_000
