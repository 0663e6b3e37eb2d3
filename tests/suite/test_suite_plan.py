"""What a suite decides: which runs with which parameters, how many in parallel, which to repeat, what it refuses."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import pytest

from kit import scenarios, suite
from kit.model import CheckKind, Status, Verdict
from kit.process.cpu_contention import STARVED_SHARE_MAX, CpuContention
from kit.suite import catalogue
from kit.suite.concurrency import ConcurrencySlots
from kit.suite.plan import repeat_run_id
from kit.suite.repeat import repeat_reason
from kit.verdict import gate
from tests.cli.command_line import gameday_command
from tests.suite.suite_rig import DOUBLED, GOOD, LATE, SLOW, a_finished_run, a_record, a_suite, finding

USAGE = 4
INVALID = 3


@pytest.fixture
def gameday(capsys: pytest.CaptureFixture[str]):
    return partial(gameday_command, capsys)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("weekly",), "suite 'weekly' is unknown; known: pr, nightly"),
        (("pr", "--only", "az-loss,az-los"), "scenario 'az-los' is not in suite pr; it has: az-loss"),
        (("pr", "--jobs", "0"), "jobs='0' is neither auto nor a whole number of 1 or more"),
        (("pr", "--jobs", "-1"), "jobs='-1'"),
        (("pr", "--jobs", "many"), "jobs='many'"),
        (("pr", "-p", "rate=5"), "parameter 'rate' is unknown"),
        (("pr", "-p", "steady_s"), "'steady_s' is not NAME=VALUE"),
        (("pr", "-p", "steady_s=0"), "steady_s=0 must be a whole number from 5"),
        (("pr", "--seed", "x"), "seed='x' must be a whole number from 0"),
        (("pr", "--target", "moon"), "target='moon' must be local or aws"),
        (("pr", "--change", "drop-everything"), "change 'drop-everything' is unknown; known:"),
        (("pr", "--suite-id", "A B"), "suite_id='A B' must be empty or 1 to 40"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_line_before_anything_is_written(gameday, tmp_path, arguments, why):
    code, lines = gameday("suite", *arguments, "--reports", str(tmp_path))
    assert code == USAGE
    assert len(lines) == 1 and why in lines[0], lines
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_suite_is_never_used_twice(gameday, tmp_path):
    (tmp_path / "again").mkdir()
    code, lines = gameday("suite", "pr", "--suite-id", "again", "--reports", str(tmp_path))
    assert code == USAGE and "exists" in lines[0]


def test_every_scenario_is_in_the_nightly_suite_and_every_listed_one_exists():
    assert set(catalogue.NIGHTLY.members()) == set(scenarios.names())
    assert set(catalogue.PR.members()) <= set(scenarios.names())


def test_the_suite_of_pull_requests_runs_briefly_and_the_nightly_one_long():
    scenario = scenarios.get("az-loss")
    assert catalogue.PR.parameters(scenario) == dict(scenario.brief)
    nightly = catalogue.NIGHTLY.parameters(scenario)
    assert set(nightly) == {"steady_s", "fault_duration_s", "recovery_s"}
    assert all(nightly[name] > getattr(scenario, name) for name in nightly)


def test_the_callers_parameters_override_the_suites(tmp_path):
    plan = suite.make_plan("nightly", reports=tmp_path, parameters={"steady_s": "7", "seed": "3"}, only=["az-loss"])
    assert plan.members[0].parameters["steady_s"] == 7 and plan.members[0].parameters["seed"] == 3
    words = plan.members[0].arguments("some-run", plan.folder)
    assert "steady_s=7" in words and words[words.index("--reports") + 1] == str(plan.folder)
    assert plan.reproduce == "gameday suite nightly --only az-loss -p steady_s=7 -p seed=3"


def test_runs_have_unique_names_and_the_longest_starts_first(tmp_path):
    plan = suite.make_plan("nightly", reports=tmp_path)
    lengths = [member.measured_s for member in plan.members]
    assert lengths == sorted(lengths, reverse=True)
    names = {member.run_id for member in plan.members} | {repeat_run_id(member.run_id) for member in plan.members}
    assert len(names) == 2 * len(plan.members) and max(map(len, names)) <= 40
    assert all(member.limit_s > member.measured_s for member in plan.members)


def some_slots(cores: float, *, requested: int | None = None, **more) -> ConcurrencySlots:
    return ConcurrencySlots(requested=requested, members=6, cores=cores, **more)


def test_the_number_of_slots_follows_the_measured_demand():
    slots = some_slots(4)
    assert slots.update(0) == (1, "the CPU demand of a run is not measured yet")
    slots.demand_cores["a"] = 0.5
    assert slots.update(20)[0] == 4
    slots.demand_cores["b"] = 1.0
    assert slots.update(40)[0] == 3
    slots.demand_cores["c"] = 9.0
    assert slots.update(60)[0] == 1
    assert [change["slots"] for change in slots.plain()["changes"]] == [1, 4, 3, 1]


def test_there_is_always_one_slot_and_never_more_than_cores():
    assert some_slots(2, demand_cores={"a": 5.0}).update(0)[0] == 1
    assert some_slots(2, demand_cores={"a": 0.0}).update(0)[0] == 1
    assert some_slots(2, demand_cores={"a": 0.3}).update(0)[0] == 2


def test_the_cpu_of_other_processes_is_not_used_for_slots():
    slots = some_slots(4, demand_cores={"a": 0.8})
    assert slots.update(0)[0] == 4
    slots.other_processes_cores = 1.0
    assert slots.update(10)[0] == 3
    slots.other_processes_cores = 4.0
    assert slots.update(20)[0] == 1


def test_a_requested_number_of_slots_is_used():
    assert some_slots(2, requested=5, demand_cores={"a": 5.0}).update(0) == (5, "as requested")


@pytest.mark.parametrize("reason", ["shared_cloud", "run_invalidated"])
def test_a_shared_cloud_or_an_invalidated_run_leaves_one_slot(reason):
    assert some_slots(64, demand_cores={"a": 0.5}, **{reason: True}).update(0)[0] == 1


def a_contention(starved_share: float) -> CpuContention:
    return CpuContention(
        seconds=40, own_cores=0.7, busy_share=0.9, stolen_share=0.0, others_share=0.5, stalled_share=0.5,
        starved_share=starved_share,
    )  # fmt: skip


HIGH = a_contention(STARVED_SHARE_MAX * 2)
CALM = a_contention(0.0)
ERRORS = (finding("error-rate", CheckKind.SLO, Status.FAIL),)
UNSTEADY = (finding("latency-ms-p95", CheckKind.HYPOTHESIS, Status.INVALID),)
NOISY = (dataclasses.replace(finding("error-rate", CheckKind.SLO, Status.INVALID), measured=0.5),)
UNMEASURED = (finding("error-rate", CheckKind.SLO, Status.INVALID),)
UNOBSERVED = (finding("fault-observed", CheckKind.FAULT, Status.INVALID),)


@pytest.mark.parametrize(
    ("findings", "contention", "repeated"),
    [
        (GOOD, HIGH, False),
        (LATE, CALM, True),
        (LATE, None, True),
        (SLOW, HIGH, True),
        (SLOW, CALM, False),
        (SLOW, None, False),
        ((*SLOW, *ERRORS), HIGH, False),
        (ERRORS, HIGH, False),
        ((*SLOW, *DOUBLED), HIGH, False),
        ((*LATE, *DOUBLED), HIGH, False),
        (UNSTEADY, HIGH, True),
        (UNSTEADY, CALM, False),
        (UNOBSERVED, HIGH, False),
        (NOISY, CALM, True),
        ((*NOISY, *DOUBLED), HIGH, False),
        (UNMEASURED, HIGH, False),
    ],
    ids=[
        "pass", "late", "late-unwatched", "slow", "slow-calm", "slow-unwatched", "slow-and-errors", "errors",
        "slow-and-doubled", "late-and-doubled", "unsteady", "unsteady-calm", "fault-unobserved",
        "noisy", "noisy-and-doubled", "unmeasured",
    ],
)  # fmt: skip
def test_a_run_is_repeated_only_if_cpu_contention_can_explain_its_verdict(findings, contention, repeated):
    assert bool(repeat_reason(a_record("az-loss", findings), contention)) is repeated


def judged(folder: Path) -> Verdict:
    return gate.worst(Verdict(record["verdict"]) for _, record in suite.judge(folder))


def test_the_gate_judges_each_run_of_a_suite_that_counts_again(tmp_path, gameday):
    """The verdicts in suite.json are not used; a run that was repeated does not count."""
    a_finished_run(tmp_path / "s" / "first", DOUBLED)
    a_finished_run(tmp_path / "s" / "again", GOOD)
    a_suite(tmp_path / "s", [{"run_id": "first", "counts": False}, {"run_id": "again"}])
    assert gameday("gate", str(tmp_path / "s"))[0] == 0
    a_suite(tmp_path / "s", [{"run_id": "first"}])
    assert gameday("gate", str(tmp_path / "s"))[0] == 1


@pytest.mark.parametrize(
    ("runs", "more"),
    [
        ([{"run_id": "good"}], {"state": "running"}),
        ([{"run_id": "good"}], {"state": "stopped", "stopped_by": "SIGINT"}),
        ([{"run_id": "good"}], {"scenarios": ["az-loss", "api-latency"]}),
        ([{"run_id": "good"}, {"run_id": "gone", "scenario": "api-latency"}], {}),
        ([{"run_id": "good", "downgrade_reason": "it took longer than 9 s and was stopped"}], {}),
        ([{"run_id": "good"}], {"schema": "gameday.suite/1"}),
        ([{"run_id": "../good"}], {}),
        ([], {}),
    ],
    ids=["killed", "stopped", "never-run", "no-folder", "stopped-run", "other-schema", "elsewhere", "empty"],
)
def test_a_suite_with_a_gap_is_invalid_for_the_gate(tmp_path, runs, more):
    a_finished_run(tmp_path / "good", GOOD)
    a_suite(tmp_path, [{"run_id": "good"}])
    assert judged(tmp_path) is Verdict.PASS
    assert judged(a_suite(tmp_path, runs, **more)) is Verdict.INVALID


def test_an_incomplete_record_of_a_suite_is_invalid_for_the_gate(tmp_path):
    (tmp_path / "suite.json").write_text('{"schema": ')
    assert judged(tmp_path) is Verdict.INVALID
