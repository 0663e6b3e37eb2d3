"""What a measurement of power decides: who runs what, what a run says of the gate, what is refused, how sure it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from kit import power, scenarios, suite
from kit.cli import main
from kit.errors import EvidenceMissing, UsageError
from kit.gameday.parameters import CHANGES
from kit.model import CheckKind, Status, Verdict
from kit.power import earlier_runs, plan, rates, record
from kit.power.judgement import judge
from kit.power.outcome import Result, Run, fired
from kit.power.plan import Kind
from tests.power.power_rig import PowerRig, a_case, some_facts, write_change
from tests.suite.suite_rig import DOUBLED, GOOD, LATE, a_finished_run, a_record, a_suite, finding

USAGE = 4


def a_run(case: str, verdict: Verdict = Verdict.FAIL, *checks: str, **more) -> Run:
    usual = {
        "run_id": f"{case}-0a", "attempt": 1, "fired": checks, "why": "as planted", "reasons": ("as planted",),
        "cause": "", "spoiled": "", "build": "sha256:1", "seed": 7, "started_at": None, "ended_at": None,
        "duration_s": 1.0, "machine": "", "report": "", "log": "", "reproduce": "",
    }  # fmt: skip
    return Run(**{"case": case, "verdict": verdict, **usual, **more})


def caught(name: str) -> Run:
    return a_run(name, Verdict.FAIL, "no-double-fill")


def judged(*pairs: tuple[plan.Case, Run | None], **options):
    return judge([case for case, _ in pairs], [run for _, run in pairs if run], **options)


@pytest.mark.parametrize(
    ("count", "of", "low", "high", "words"),
    [
        (37, 38, 0.862, 0.999, "caught 37 of 38 (97.4 %, 95 % interval 86.2 to 99.9 %)"),
        (0, 10, 0.0, 0.308, "caught 0 of 10 (0.0 %, 95 % interval 0.0 to 30.8 %)"),
        (38, 38, 0.907, 1.0, "caught 38 of 38 (100.0 %, 95 % interval 90.7 to 100.0 %)"),
        (0, 0, 0.0, 1.0, "no change was asked for"),
    ],
)
def test_the_share_of_caught_changes_has_an_exact_interval(count, of, low, high, words):
    """Clopper and Pearson's, as the tables have it."""
    rate = rates.caught(count, of)
    assert (rate.low, rate.high) == (pytest.approx(low, abs=0.001), pytest.approx(high, abs=0.001))
    assert rate.words == words


@pytest.mark.parametrize(
    ("count", "of", "words"),
    [
        (0, 30, "0 false alarms in 30 good runs (at most 9.5 % with 95 % confidence)"),
        (1, 30, "1 false alarm in 30 good runs (3.3 %, at most 14.9 % with 95 % confidence)"),
        (0, 1, "0 false alarms in 1 good run (at most 95.0 % with 95 % confidence)"),
        (0, 0, "no good run gave evidence"),
    ],
)
def test_false_alarms_are_bounded_from_above(count, of, words):
    """1 - 0.05 ** (1 / 30) = 9.5 %: all of the error is above."""
    assert rates.false_alarms(count, of).words == words


@pytest.mark.parametrize(
    ("kind", "run", "result"),
    [
        (Kind.CHANGE, caught("x"), Result.CAUGHT),
        (Kind.CHANGE, a_run("x", Verdict.FAIL, "recovery-s", "no-double-fill"), Result.CAUGHT),
        (Kind.CHANGE, a_run("x", Verdict.FAIL, "recovery-s"), Result.OTHER),
        (Kind.CHANGE, a_run("x", Verdict.PASS), Result.SURVIVOR),
        (Kind.CHANGE, a_run("x", Verdict.ABORTED), Result.NO_EVIDENCE),
        (Kind.CHANGE, a_run("x", Verdict.INVALID), Result.NO_EVIDENCE),
        (Kind.CHANGE, a_run("x", Verdict.FAIL, "no-double-fill", spoiled="a busy machine"), Result.NO_EVIDENCE),
        (Kind.CHANGE, None, Result.PENDING),
        (Kind.GOOD, a_run("x", Verdict.PASS), Result.QUIET),
        (Kind.GOOD, a_run("x", Verdict.FAIL, "recovery-s"), Result.FALSE_ALARM),
        (Kind.GOOD, a_run("x", Verdict.ABORTED), Result.FALSE_ALARM),
        (Kind.GOOD, a_run("x", Verdict.INVALID), Result.NO_EVIDENCE),
        (Kind.GOOD, None, Result.PENDING),
    ],
)
def test_what_a_run_says_of_the_gate(kind, run, result):
    assert judged((a_case("x", kind), run)).cases[0].result is result


def many(silent: int = 0, other: int = 0, survivors: int = 0, of: int = 40) -> list:
    """So many changes; those that are not named here are caught."""
    made = []
    for number in range(of):
        name = f"change-{number}"
        run = caught(name)
        if number < survivors:
            run = a_run(name, Verdict.PASS)
        elif number < survivors + other:
            run = a_run(name, Verdict.FAIL, "recovery-s")
        elif number < survivors + other + silent:
            run = a_run(name, Verdict.INVALID)
        made.append((a_case(name), run))
    return made


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        ({}, Verdict.PASS),
        ({"survivors": 2}, Verdict.PASS),
        ({"survivors": 3}, Verdict.FAIL),
        ({"survivors": 1, "other": 2}, Verdict.FAIL),
        ({"survivors": 2, "silent": 1}, Verdict.INVALID),
        ({"silent": 10}, Verdict.INVALID),
    ],
)
def test_the_verdict_asks_for_95_per_cent_by_name_and_for_evidence(counts, verdict):
    """Of 40 changes two may be missed; a run without evidence is not caught, but no proof that it never would be."""
    found = judged(*many(**counts))
    assert found.verdict is verdict
    assert found.caught.count == 40 - sum(counts.values()) and found.caught.of == 40
    assert found.noticed.count == found.caught.count + counts.get("other", 0)


def test_one_false_alarm_is_a_fail_and_a_good_run_without_evidence_is_none():
    calm, loud, torn = a_case("calm", Kind.GOOD), a_case("loud", Kind.GOOD), a_case("torn", Kind.GOOD)
    quiet = (calm, a_run("calm", Verdict.PASS))
    assert judged(quiet).verdict is Verdict.PASS
    found = judged(quiet, (loud, a_run("loud", Verdict.ABORTED)), (torn, a_run("torn", Verdict.INVALID)))
    assert (found.verdict, found.false_alarms.count, found.false_alarms.of) == (Verdict.FAIL, 1, 2)
    assert judged(quiet, (torn, a_run("torn", Verdict.INVALID))).verdict is Verdict.INVALID


def test_what_has_not_ended_is_no_pass():
    assert judged(*many(), unfinished="it was stopped by SIGINT").verdict is Verdict.INVALID
    assert judged(*many(), (a_case("late"), None)).reasons == ("1 of 41 cases were not run",)


def test_the_last_run_of_a_case_counts():
    case, runs = a_case("x"), [caught("x"), a_run("x", Verdict.PASS, attempt=2)]
    assert judge([case], runs).cases[0].result is Result.SURVIVOR
    assert judge([case], runs[::-1]).cases[0].result is Result.SURVIVOR


def test_of_the_checks_that_failed_wrong_money_is_told_first():
    slow, money = finding("recovery-s", CheckKind.SLO, Status.FAIL), DOUBLED[0]
    assert fired(a_record("az-loss", (slow, slow, money, *GOOD))) == ("no-double-fill", "recovery-s")


def test_every_known_change_can_be_planned(tmp_path):
    made = power.begin(reports=tmp_path, good=0)
    cases = {case.name: case for case in made.plan.cases}
    assert set(cases) == {path.stem for path in CHANGES.glob("*.diff")}
    brief, full = cases["drop-idempotency"], cases["n-plus-one"]
    steady = scenarios.get("steady-state")
    assert dict(brief.given) == {**steady.brief, "change": "drop-idempotency"} and not brief.full
    assert dict(full.given) == {"change": "n-plus-one"} and full.full
    assert full.measured_s == steady.steady_s + steady.fault_duration_s + steady.recovery_s
    names = {case.member().run_id for case in cases.values()}
    assert len(names) == len(cases) and max(map(len, names)) < 40


def test_good_runs_take_turns_in_the_suites_scenarios_each_with_a_seed_of_its_own(tmp_path):
    made = power.begin(reports=tmp_path, good=8, good_only=True, given={"seed": "40", "rate_per_s": "9"})
    members = suite.PR.members()
    assert [case.scenario for case in made.plan.cases] == [*members, *members][:8]
    assert [case.given["seed"] for case in made.plan.cases] == list(range(41, 49))
    assert {case.given["rate_per_s"] for case in made.plan.cases} == {9}
    assert made.plan.reproduce == "gameday power --good 8 --good-only -p seed=40 -p rate_per_s=9"


DROP = "".join(
    line for line in (CHANGES / "drop-idempotency.diff").read_text().splitlines(keepends=True) if line[0] != "#"
)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"scenario": "moon-loss"}, "odd.diff: scenario='moon-loss' is unknown; known: api-latency, "),
        ({"caught_by": "no-doubel-fill"}, "odd.diff: caught-by='no-doubel-fill' is no check of steady-state; it has: "),
        ({"caught_by": "latency-ms-p99"}, "odd.diff: caught-by='latency-ms-p99' is no check of steady-state; it has: "),
        ({"visible_since": "monday"}, "odd.diff: visible-since='monday' is not one of unit, integration, load, fault"),
        ({"caught_by": ""}, "odd.diff: field 'caught-by' is missing or empty; a header has title, breaks, how"),
        ({"scenario": ""}, "odd.diff: field 'scenario' is missing or empty"),
    ],
)
def test_a_bad_header_is_refused_with_file_field_value_and_what_is_accepted(tmp_path, said, why):
    write_change(tmp_path, "odd", body=DROP, **said)
    with pytest.raises(UsageError) as error:
        power.begin(reports=tmp_path / "reports", changes_dir=tmp_path)
    assert str(error.value).startswith(why)
    assert not (tmp_path / "reports").exists()


def test_a_header_that_begins_in_the_middle_of_a_sentence_is_refused(tmp_path):
    (tmp_path / "odd.diff").write_text("#   and so on\n" + DROP)
    with pytest.raises(UsageError, match=r"odd\.diff: its first line '# +and so on' is not"):
        power.begin(reports=tmp_path / "reports", changes_dir=tmp_path)


def test_a_change_that_does_not_apply_is_refused_before_anything_runs(tmp_path):
    write_change(tmp_path, "odd", body=DROP.replace("-", "-no such line ", 20))
    with pytest.raises(UsageError, match="change odd does not apply"):
        power.begin(reports=tmp_path / "reports", changes_dir=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--only", "drop-everything"), "change 'drop-everything' is unknown; known: acknowledge-before-write"),
        (("--good-only", "--only", "float-cash"), "--good-only runs no change, --only names float-cash"),
        (("--good-only", "--good", "0"), "there is nothing to count"),
        (("--good", "-1"), "good=-1 is outside 0..1000"),
        (("--good", "many"), "argument --good: invalid int value: 'many'"),
        (("--only", "float-cash", "--jobs", "0"), "jobs='0' is neither auto nor a whole number"),
        (("--only", "float-cash", "-p", "change=float-cash"), "change='float-cash': every run of power has its own"),
        (("--only", "float-cash", "-p", "run_id=x"), "run_id='x': every run of power has its own"),
        (("--only", "float-cash", "-p", "rate=5"), "parameter 'rate' is unknown"),
        (("--only", "float-cash", "--seed", "x"), "seed='x' must be a whole number from 0"),
        (("--good-only", "--from", "nowhere"), "nowhere is the folder of no run, no suite and no power"),
        (("--resume", "latest"), "--resume latest: there is no power.json below"),
        (("--resume", "power-9"), "--resume power-9: no folder with a power.json"),
        (("--resume", "latest", "--good", "3"), "and takes no --good"),
        (("--resume", "latest", "-p", "seed=3"), "and takes no -p"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_line_before_anything_is_written(
    tmp_path, capsys, monkeypatch, arguments, why
):
    # Should one of these not be refused, an hour of game days must not begin here.
    monkeypatch.setattr(power, "Measurement", None)
    try:
        code = main.main(["power", *arguments, "--reports", str(tmp_path)])
    except SystemExit as end:
        code = end.code
    lines = capsys.readouterr().err.splitlines()
    assert code == USAGE and len(lines) == 1 and why in lines[0], lines
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def made_before(tmp_path: Path) -> Path:
    """A finished suite of two good runs, one of them a false alarm, and a run of its own."""
    folder = tmp_path / "old" / "pr-1"
    a_finished_run(folder / "calm")
    a_finished_run(folder / "loud", DOUBLED, scenario="api-latency")
    a_finished_run(folder / "again", scenario="api-latency")
    runs = [{"run_id": "calm"}, {"run_id": "loud", "scenario": "api-latency"}]
    a_suite(folder, runs, scenarios=["az-loss", "api-latency"])
    a_finished_run(tmp_path / "old" / "single")
    return tmp_path / "old"


def test_good_runs_that_exist_are_judged_anew_and_counted(tmp_path, made_before, capsys):
    """What suite.json says of the second one is PASS; each run counts once, however often its folder is named."""
    folders = [made_before / "pr-1", made_before / "single", made_before / "pr-1" / "calm"]
    code = main.main(["power", "--good-only", "--reports", str(tmp_path / "new"), "--from", *map(str, folders)])
    said = capsys.readouterr().out
    assert code == 1 and "1 false alarm in 3 good runs" in said
    made = record.load(next((tmp_path / "new").glob("power-*")))
    assert made["alarms"] == ["found-2-api-latency"] and made["builds"] == ["sha256:1"]
    assert {run["origin"] for run in made["runs"]} == {"pr-1", "single"}
    assert made["reproduce"] == "gameday power --good 3 --good-only"


@pytest.mark.parametrize(("findings", "code"), [(GOOD, 0), (DOUBLED, 1), (LATE, 3)], ids=["quiet", "alarm", "late"])
def test_the_exit_code_is_that_of_the_verdict(tmp_path, findings, code):
    a_finished_run(tmp_path / "one", findings)
    reports = str(tmp_path / "new")
    assert main.main(["power", "--good-only", "--reports", reports, "--from", str(tmp_path / "one")]) == code


def test_good_runs_of_an_earlier_measurement_count_and_its_changes_do_not(tmp_path):
    rig = PowerRig(tmp_path)
    rig.cases = [a_case("calm", Kind.GOOD, scenario="az-loss"), a_case("x")]
    folder = rig.leave([a_run("calm", Verdict.PASS), caught("x")])
    a_finished_run(folder / "calm-0a")
    assert [run.run_id for _, run in earlier_runs.good_runs([folder])] == ["calm-0a"]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"change": "float-cash"}, "carries change 'float-cash': it is no good run"),
        ({"scenario": "steady-state"}, "is of 'steady-state'; good runs are of az-loss"),
        ({"build": "sha256:2"}, "good runs of 2 builds: single of sha256:1; odd of sha256:2; --any-build"),
    ],
)
def test_a_run_that_is_no_good_run_of_this_build_is_refused(made_before, more, why):
    a_finished_run(made_before / "odd", **more)
    with pytest.raises(UsageError, match=why):
        earlier_runs.good_runs([made_before / "single", made_before / "odd"])


def test_a_suite_that_was_not_finished_is_refused(made_before):
    a_suite(made_before / "pr-1", [{"run_id": "calm"}], state="running")
    with pytest.raises(UsageError, match="pr-1 is not finished: the suite never reported its end"):
        earlier_runs.good_runs([made_before / "pr-1"])


def test_runs_of_another_build_count_only_if_told(made_before):
    a_finished_run(made_before / "odd", build="sha256:2")
    assert len(earlier_runs.good_runs([made_before / "single", made_before / "odd"], any_build=True)) == 2


def test_found_runs_of_another_build_than_the_one_that_is_measured_are_no_evidence():
    """Which image this tree gives is known only when the first run has made it."""
    own = (a_case("calm", Kind.GOOD), a_run("calm", Verdict.PASS))
    old = (a_case("old", Kind.GOOD, found=True), a_run("old", Verdict.PASS, build="sha256:0", origin="pr-1"))
    seen = judged(own, old)
    assert seen.names(Result.NO_EVIDENCE) == ["old"] and "made with build sha256:0, not sha256:1" in seen.reasons[0]
    assert judged(own, old, any_build=True).names(Result.QUIET) == ["calm", "old"]


def test_a_tree_or_a_change_that_differs_is_refused_when_resumed(tmp_path):
    rig = PowerRig(tmp_path)
    rig.change("doubles")
    rig.leave([caught("doubles")])
    rig.resume()
    write_change(rig.changes, "doubles", caught_by="recovery-s")
    with pytest.raises(UsageError, match="change doubles is not what its runs were planned with"):
        rig.resume()
    write_change(rig.changes, "doubles")
    (rig.source / "main.py").write_text("good = False\n")
    with pytest.raises(UsageError, match=r"the source tree is sha256:.* its runs were made with sha256:"):
        rig.resume()


def test_a_torn_record_cannot_be_resumed(tmp_path):
    rig = PowerRig(tmp_path)
    rig.cases = [a_case("x")]
    (rig.leave() / "power.json").write_text('{"schema": ')
    with pytest.raises(UsageError, match=r"--resume latest: .*power\.json cannot be read"):
        rig.resume()


def test_the_schema_refuses_what_is_no_record(tmp_path):
    made = record.make(a_plan(tmp_path), [caught("x")], some_facts())
    record.validate(made)
    for wrong in (
        {"verdict": "GOOD"},
        {"cases": []},
        {"survivors": "none"},
        {"more": 1},
        {"schema": "gameday.power/2"},
    ):
        with pytest.raises(EvidenceMissing, match=r"not a gameday\.power/1 record"):
            record.validate({**made, **wrong})


def a_plan(folder: Path) -> plan.Plan:
    rig = PowerRig(folder)
    rig.cases = [a_case("x")]
    return rig.power_plan()


def test_a_case_and_a_run_survive_their_file():
    case, run = a_case("x", given={"seed": 3}), dataclasses.replace(caught("x"), reasons=("a", "b"))
    assert plan.Case.from_plain(case.plain()) == case and Run.from_plain(run.plain()) == run
