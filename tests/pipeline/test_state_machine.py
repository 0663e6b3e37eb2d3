"""The state machine conducts a run: whatever happens, what it started is ended, and only a PASS succeeds."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from kit.local.stepfunctions.definition import checks
from kit.pipeline.conductor_stack import DEFINITION, TEMPLATE
from kit.pipeline.execution import QUIET
from tests.pipeline.conducting import RUN, TIMES, Cloud, asserted, conduct, definition, entered

TASKS = ["load-0", "load-1", "load-2", "watch"]


def states(machine: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return all states of a machine, those inside of others too."""
    found: dict[str, dict[str, Any]] = {}
    for name, state in machine["States"].items():
        inner = [*state.get("Branches", ()), *([state["ItemProcessor"]] if "ItemProcessor" in state else [])]
        found |= {name: state} | {key: each for one in inner for key, each in states(one).items()}
    return found


# ---- as a text ----


def test_step_functions_finds_no_problem_in_it():
    assert [str(one) for one in checks.problems(json.dumps(definition()), "STANDARD")] == []


def test_its_placeholders_are_those_that_the_stack_fills():
    used = set(re.findall(r"\$\{(\w+)\}", DEFINITION.read_text()))
    machine = re.search(r"DefinitionSubstitutions:\n((?: {8}.*\n)+)", TEMPLATE.read_text())
    assert machine is not None
    assert used == set(yaml.safe_load(re.sub(r"!\w+", "", machine[1])))


def test_every_task_has_a_way_out_on_error():
    """Of its own, or that of the parallel state around it, which leads to the clean-up."""
    machine = definition()
    inside = {name for branch in machine["States"]["Run"]["Branches"] for name in states(branch)}
    for name, state in states(machine).items():
        if state["Type"] in ("Task", "Map", "Parallel") and name not in inside and name != "ResolveOpsItem":
            assert [one["ErrorEquals"] for one in state["Catch"]] == [["States.ALL"]], name
    (caught,) = machine["States"]["Run"]["Catch"]
    assert (caught["Next"], machine["States"]["Run"]["Next"]) == ("CleanUp", "CleanUp")


def test_every_task_that_waits_for_others_has_a_time_out():
    for name, state in states(definition()).items():
        if (
            state["Type"] == "Task"
            and not state["Resource"].startswith("arn:aws:states:::aws-sdk:")
            and name != "Notify"
        ):
            assert state["TimeoutSeconds"], name
    assert definition()["TimeoutSeconds"]


def test_the_states_that_are_not_shown_exist():
    assert set(states(definition())) >= QUIET


# ---- conducted ----


def test_a_good_run_succeeds_and_everything_comes_in_its_order():
    cloud = Cloud()
    execution = conduct(cloud)
    assert (execution.status, execution.output) == ("SUCCEEDED", {"verdict": "PASS", "scenario": "az-loss"})
    order = [name for name in entered(execution) if name not in QUIET]
    assert order[:3] == ["Prepare", "IsOwnRun", "Run"]
    conducted = [name for name in order if name not in ("Load", "LoadTask", "Watch")]
    assert conducted[3:] == [
        "OrderLoad", "Steady", "AwaitSteadyMetrics", "AssertSteadyState", "IsSteady", "StartExperiment", "Recover",
        "EndLoad", "IsRecoveryToAssert", "AwaitLastMetrics", "AssertSlos", "Conducted", "CleanUp", "KeepConducted",
        "Judge", "ReadVerdict", "PassGate", "FindSolvedOpsItems", "ResolveOpsItems", "Passed",
    ]  # fmt: skip
    assert sorted(cloud.tasks) == ["judge", *TASKS]
    assert cloud.tasks["judge"]["command"][-1] == execution.arn
    assert cloud.objects["conducted.json"] == {"steadyState": asserted(), "slos": asserted(), "experiment": "EXP1"}


def test_the_load_is_ordered_with_one_start_and_ended_with_one_end():
    cloud = Cloud()
    conduct(cloud)
    order, end = cloud.objects["load/load.json"], cloud.objects["load/stop.json"]
    assert (order["plan"], order["shards"]) == ({"markets": ["ACME"], "rate_per_s": 48.0}, 3)
    assert isinstance(order["starts_at_ms"], int) and isinstance(end["stops_at_ms"], int)
    load_s = (end["stops_at_ms"] - order["starts_at_ms"]) / 1_000
    at_least = TIMES["warm_up_s"] + TIMES["steady_s"] + cloud.experiment_s + TIMES["recovery_s"] + TIMES["stop_ahead_s"]
    assert at_least <= load_s <= at_least + TIMES["settle_s"] + 4


def test_the_assertions_look_at_the_steady_state_and_at_the_time_after_recovery():
    cloud = Cloud()
    conduct(cloud)
    steady, slos = (one["window"] for one in cloud.invocations("AssertionFunction"))
    starts_at = cloud.objects["load/load.json"]["starts_at_ms"] / 1_000
    assert steady["start"] == pytest.approx(starts_at + TIMES["warm_up_s"], abs=1)
    assert steady["end"] - steady["start"] == TIMES["steady_s"]
    assert slos["end"] - slos["start"] == TIMES["recovery_s"] - TIMES["recovered_s"]
    assert cloud.experiment_at is not None
    assert slos["end"] == pytest.approx(cloud.experiment_at + cloud.experiment_s + TIMES["recovery_s"], abs=3)


def test_a_run_that_is_not_a_pass_fails_with_its_verdict_an_ops_item_and_a_message():
    cloud = Cloud(verdict="FAIL")
    execution = conduct(cloud)
    assert (execution.status, execution.error, execution.cause) == ("FAILED", "GameDay.FAIL", "why")
    (item,) = cloud.items
    assert (item["Title"], item["Source"]) == ("Game day az-loss: FAIL: no-double-fill", "gameday-pipeline")
    assert [(one["Subject"], one["Message"]) for one in cloud.said] == [("s", "m")]


def test_an_ops_item_that_is_open_is_updated():
    cloud = Cloud(verdict="FAIL", open_items=["oi-7"])
    conduct(cloud)
    assert cloud.items == []
    assert [(one["OpsItemId"], one["Description"]) for one in cloud.updates] == [("oi-7", "d")]


def test_a_pass_resolves_the_ops_items_of_its_scenario():
    cloud = Cloud(open_items=["oi-7", "oi-8"])
    assert conduct(cloud).status == "SUCCEEDED"
    assert sorted((one["OpsItemId"], one["Status"]) for one in cloud.updates) == [
        ("oi-7", "Resolved"),
        ("oi-8", "Resolved"),
    ]


def test_a_build_that_is_not_steady_gets_no_fault():
    cloud = Cloud(verdict="INVALID", steady=asserted(metrics=False))
    execution = conduct(cloud)
    assert (execution.error, cloud.experiment_at) == ("GameDay.INVALID", None)
    assert cloud.objects["conducted.json"] == {"steadyState": asserted(metrics=False), "slos": None, "experiment": None}


def test_no_metrics_are_no_steady_state():
    empty = {"pass": False, "details": {"metrics": []}}
    cloud = Cloud(verdict="INVALID", steady=empty)
    conduct(cloud)
    assert cloud.experiment_at is None


def test_a_wrong_ledger_is_judged_under_the_fault_as_in_any_run():
    cloud = Cloud(verdict="FAIL", steady=asserted(ledger=False))
    conduct(cloud)
    assert cloud.experiment_at is not None
    assert cloud.objects["conducted.json"]["steadyState"]["pass"] is False


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("after_s", [2.0, 30.0, 45.0])
def test_a_task_that_dies_ends_the_run_and_the_others(task: str, after_s: float):
    cloud = Cloud(verdict="INVALID", dies_after_s={task: after_s})
    execution = conduct(cloud)
    assert execution.error == "GameDay.INVALID"
    assert set(TASKS) - {task} <= set(cloud.stopped)
    assert cloud.invocations("CleanUpFunction") == [{"run_id": RUN}]
    assert cloud.objects["conducted.json"]["error"]["Error"] == "States.TaskFailed"
    assert (len(cloud.items), len(cloud.said)) == (1, 1)


@pytest.mark.parametrize(
    ("cloud", "error"),
    [
        (Cloud(ready=3), "GameDay.NotReady"),
        (Cloud(experiment_s=1e6), "GameDay.ExperimentNotOver"),
        (Cloud(broken={"fis:StartExperiment"}), "Fis.FisException"),
        (Cloud(broken={"fis:GetExperiment"}), "Fis.FisException"),
        (Cloud(broken={"s3:ListObjectsV2"}), "S3.S3Exception"),
        (Cloud(broken={"ecs:RunTask"}), "ECS.AmazonECSException"),
        (Cloud(broken={"AssertionFunction"}), "NotEnded"),
    ],
)
def test_what_cannot_be_conducted_is_cleaned_up_and_judged(cloud: Cloud, error: str):
    cloud.verdict = "INVALID"
    execution = conduct(cloud)
    assert execution.error in ("GameDay.INVALID", "GameDay.FAIL")
    assert cloud.invocations("CleanUpFunction") == [{"run_id": RUN}]
    conducted = cloud.objects["conducted.json"]["error"]
    assert conducted["Error"] == error or "ecs:RunTask" in cloud.broken
    assert (len(cloud.items), len(cloud.said)) == (1, 1)


@pytest.mark.parametrize("broken", ["get:plan.json", "get:judged.json", "s3:PutObject"])
def test_a_run_without_a_verdict_never_passes(broken: str):
    execution = conduct(Cloud(broken={broken}))
    assert execution.status == "FAILED"


def test_a_judge_that_dies_is_told_with_its_error():
    cloud = Cloud(dies_after_s={"judge": 1.0})
    execution = conduct(cloud)
    assert execution.status == "FAILED"
    (asked,) = cloud.invocations("DiagnoseFunction")
    assert asked["error"]["Error"] == "States.TaskFailed"


def test_a_clean_up_that_fails_is_kept_for_the_judge():
    cloud = Cloud(verdict="INVALID", broken={"CleanUpFunction"})
    conduct(cloud)
    assert cloud.objects["conducted.json"]["error"]["Error"] == "NotEnded"
    assert cloud.objects["conducted.json"]["slos"] == asserted()


@pytest.mark.parametrize(
    "broken",
    [
        {"DiagnoseFunction"},
        {"ssm:DescribeOpsItems"},
        {"ssm:CreateOpsItem"},
        {"sns:Publish"},
        {"DiagnoseFunction", "sns:Publish"},
    ],
)
def test_a_run_that_failed_fails_also_if_nobody_can_be_told(broken: set[str]):
    cloud = Cloud(verdict="FAIL", broken=broken)
    execution = conduct(cloud)
    assert execution.status == "FAILED" and str(execution.error).startswith("GameDay.")
    assert len(cloud.said) == (0 if "sns:Publish" in broken else 1)


@pytest.mark.parametrize("broken", [{"ssm:DescribeOpsItems"}, {"ssm:UpdateOpsItem"}])
def test_a_pass_is_a_pass_also_if_no_ops_item_can_be_resolved(broken: set[str]):
    assert conduct(Cloud(open_items=["oi-7"], broken=broken)).status == "SUCCEEDED"


def test_an_execution_must_have_the_name_of_its_run():
    cloud = Cloud()
    execution = conduct(cloud, name="another")
    assert (execution.error, cloud.tasks) == ("GameDay.WrongName", {})


@pytest.mark.parametrize("after_s", [0.5, 12.0, 40.0, 60.0, 90.0])
def test_a_stop_ends_the_tasks_at_once(after_s: float):
    cloud = Cloud()
    execution = conduct(cloud, stop_after_s=after_s)
    assert execution.status == "ABORTED"
    running = {name for name in cloud.tasks if name != "judge"} if cloud.load_ended_at is None else set()
    assert running <= set(cloud.stopped)
