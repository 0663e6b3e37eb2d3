"""What a power measurement decides: which runs it makes, what they show, what it refuses, how certain it is."""

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
from kit.power.outcome import Result, Run, failed_checks
from kit.power.plan import Kind
from tests.cli.command_line import gameday_command
from tests.power.power_rig import PowerRig, a_case, some_facts, write_change
from tests.suite.suite_rig import DOUBLED, GOOD, LATE, a_finished_run, a_record, a_suite, finding

USAGE = 4


def a_run(case: str, verdict: Verdict = Verdict.FAIL, *checks: str, **more) -> Run:
    usual = {
        "run_id": f"{case}-0a", "attempt": 1, "failed_checks": checks, "main_reason": "as planted",
        "reasons": ("as planted",), "downgrade_reason": "", "repeat_reason": "", "build": "sha256:1", "seed": 7,
        "started_at": None, "ended_at": None, "duration_s": 1.0, "cpu_contention": "",
        "report": "", "log": "", "reproduce": "",
    }  # fmt: skip
    return Run(**{"case": case, "verdict": verdict, **usual, **more})


def caught(name: str) -> Run:
    return a_run(name, Verdict.FAIL, "no-double-fill")


def judged(*pairs: tuple[plan.Case, Run | None], **options):
    return judge([case for case, _ in pairs], [run for _, run in pairs if run], **options)


@pytest.mark.parametrize(
    ("count", "of", "low", "high", "words"),
    [
        (37, 38, 0.862, 0.999, "mutation score: 37 of 38 mutants, 97.4 % (95 % interval 86.2 to 99.9 %)"),
        (0, 10, 0.0, 0.308, "mutation score: 0 of 10 mutants, 0.0 % (95 % interval 0.0 to 30.8 %)"),
        (38, 38, 0.907, 1.0, "mutation score: 38 of 38 mutants, 100.0 % (95 % interval 90.7 to 100.0 %)"),
        (0, 0, 0.0, 1.0, "mutation score: no mutants"),
    ],
)
def test_the_mutation_score_has_an_exact_interval(count, of, low, high, words):
    """The intervals are those of the tables of Clopper and Pearson."""
    rate = rates.mutation_score(count, of)
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
    """1 - 0.05 ** (1 / 30) = 9.5 %: the whole error probability is at the upper end."""
    assert rates.false_alarms(count, of).words == words


@pytest.mark.parametrize(
    ("kind", "run", "result"),
    [
        (Kind.CHANGE, caught("x"), Result.CAUGHT),
        (Kind.CHANGE, a_run("x", Verdict.FAIL, "recovery-s", "no-double-fill"), Result.CAUGHT),
        (Kind.CHANGE, a_run("x", Verdict.FAIL, "recovery-s"), Result.CAUGHT_BY_OTHER),
        (Kind.CHANGE, a_run("x", Verdict.PASS), Result.SURVIVOR),
        (Kind.CHANGE, a_run("x", Verdict.ABORTED), Result.NO_EVIDENCE),
        (Kind.CHANGE, a_run("x", Verdict.INVALID), Result.NO_EVIDENCE),
        (
            Kind.CHANGE,
            a_run("x", Verdict.FAIL, "no-double-fill", repeat_reason="a noisy neighbour"),
            Result.NO_EVIDENCE,
        ),
        (Kind.CHANGE, None, Result.NOT_RUN),
        (Kind.GOOD, a_run("x", Verdict.PASS), Result.NO_ALARM),
        (Kind.GOOD, a_run("x", Verdict.FAIL, "recovery-s"), Result.FALSE_ALARM),
        (Kind.GOOD, a_run("x", Verdict.ABORTED), Result.FALSE_ALARM),
        (Kind.GOOD, a_run("x", Verdict.INVALID), Result.NO_EVIDENCE),
        (Kind.GOOD, None, Result.NOT_RUN),
    ],
)
def test_what_a_run_shows_about_the_gate(kind, run, result):
    assert judged((a_case("x", kind), run)).cases[0].result is result


def many(no_evidence: int = 0, other: int = 0, survivors: int = 0, of: int = 40) -> list:
    """`of` bad changes; those that the other arguments do not count are caught."""
    made = []
    for number in range(of):
        name = f"change-{number}"
        run = caught(name)
        if number < survivors:
            run = a_run(name, Verdict.PASS)
        elif number < survivors + other:
            run = a_run(name, Verdict.FAIL, "recovery-s")
        elif number < survivors + other + no_evidence:
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
        ({"survivors": 2, "no_evidence": 1}, Verdict.INVALID),
        ({"no_evidence": 10}, Verdict.INVALID),
    ],
)
def test_pass_needs_evidence_and_a_mutation_score_of_95_per_cent(counts, verdict):
    """Two of 40 mutants may be missed. A mutant without evidence is not caught, but may still be."""
    judgement = judged(*many(**counts))
    assert judgement.verdict is verdict
    assert judgement.mutation_score.count == 40 - sum(counts.values()) and judgement.mutation_score.of == 40
    assert judgement.caught_by_any_check.count == judgement.mutation_score.count + counts.get("other", 0)


def test_one_false_alarm_fails_and_a_good_run_without_evidence_is_not_one():
    calm, loud, silent = a_case("calm", Kind.GOOD), a_case("loud", Kind.GOOD), a_case("silent", Kind.GOOD)
    quiet = (calm, a_run("calm", Verdict.PASS))
    assert judged(quiet).verdict is Verdict.PASS
    judgement = judged(quiet, (loud, a_run("loud", Verdict.ABORTED)), (silent, a_run("silent", Verdict.INVALID)))
    assert (judgement.verdict, judgement.false_alarms.count, judgement.false_alarms.of) == (Verdict.FAIL, 1, 2)
    assert judged(quiet, (silent, a_run("silent", Verdict.INVALID))).verdict is Verdict.INVALID


def test_a_measurement_that_has_not_ended_does_not_pass():
    assert judged(*many(), unfinished="it was stopped by SIGINT").verdict is Verdict.INVALID
    assert judged(*many(), (a_case("late"), None)).reasons == ("1 of 41 cases were not run",)


def test_the_last_run_of_a_case_counts():
    case, runs = a_case("x"), [caught("x"), a_run("x", Verdict.PASS, attempt=2)]
    assert judge([case], runs).cases[0].result is Result.SURVIVOR
    assert judge([case], runs[::-1]).cases[0].result is Result.SURVIVOR


def test_wrong_money_is_first_among_the_checks_that_failed():
    slow, money = finding("recovery-s", CheckKind.SLO, Status.FAIL), DOUBLED[0]
    assert failed_checks(a_record("az-loss", (slow, slow, money, *GOOD))) == ("no-double-fill", "recovery-s")


def test_every_known_change_can_be_planned(tmp_path):
    made = power.begin(reports=tmp_path, good=0)
    cases = {case.name: case for case in made.plan.cases}
    assert set(cases) == {path.stem for path in CHANGES.glob("*.diff")}
    brief, full = cases["drop-idempotency"], cases["n-plus-one"]
    steady = scenarios.get("steady-state")
    assert dict(brief.parameters) == {**steady.brief, "change": "drop-idempotency"} and not brief.full_length
    assert dict(full.parameters) == {"change": "n-plus-one"} and full.full_length
    assert full.measured_s == steady.steady_s + steady.fault_duration_s + steady.recovery_s
    names = {case.member().run_id for case in cases.values()}
    assert len(names) == len(cases) and max(map(len, names)) < 40


def test_good_runs_take_turns_in_the_suites_scenarios_with_a_seed_each(tmp_path):
    made = power.begin(reports=tmp_path, good=8, good_only=True, parameters={"seed": "40", "rate_per_s": "9"})
    members = suite.PR.members()
    assert [case.scenario for case in made.plan.cases] == [*members, *members][:8]
    assert [case.parameters["seed"] for case in made.plan.cases] == list(range(41, 49))
    assert {case.parameters["rate_per_s"] for case in made.plan.cases} == {9}
    assert made.plan.reproduce == "gameday power --good 8 --good-only -p seed=40 -p rate_per_s=9"


DROP = "".join(
    line for line in (CHANGES / "drop-idempotency.diff").read_text().splitlines(keepends=True) if line[0] != "#"
)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"scenario": "moon-loss"}, "odd.diff: scenario='moon-loss' is unknown; known: api-latency, "),
        (
            {"caught_by": "no-doubel-fill"},
            "odd.diff: caught-by='no-doubel-fill' is not a check of steady-state; it has: ",
        ),
        (
            {"caught_by": "latency-ms-p99"},
            "odd.diff: caught-by='latency-ms-p99' is not a check of steady-state; it has: ",
        ),
        ({"visible_since": "monday"}, "odd.diff: visible-since='monday' is not one of unit, integration, load, fault"),
        ({"caught_by": ""}, "odd.diff: field 'caught-by' is missing or empty; a header has title, breaks, how"),
        ({"scenario": ""}, "odd.diff: field 'scenario' is missing or empty"),
    ],
)
def test_a_bad_header_is_refused_with_file_field_value_and_what_is_accepted(tmp_path, fields, why):
    write_change(tmp_path, "odd", body=DROP, **fields)
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
        (("--good-only", "--only", "float-cash"), "--good-only runs no bad change, but --only names float-cash"),
        (("--good-only", "--good", "0"), "there is nothing to count"),
        (("--good", "-1"), "good=-1 is outside 0..1000"),
        (("--good", "many"), "argument --good: invalid int value: 'many'"),
        (("--only", "float-cash", "--jobs", "0"), "jobs='0' is neither auto nor a whole number"),
        (
            ("--only", "float-cash", "-p", "change=float-cash"),
            "change='float-cash': every run of a power measurement has its own",
        ),
        (("--only", "float-cash", "-p", "run_id=x"), "run_id='x': every run of a power measurement has its own"),
        (("--only", "float-cash", "-p", "rate=5"), "parameter 'rate' is unknown"),
        (("--only", "float-cash", "--seed", "x"), "seed='x' must be a whole number from 0"),
        (("--good-only", "--from", "nowhere"), "nowhere is not the folder of a run, a suite or a power measurement"),
        (("--resume", "latest"), "--resume latest: there is no power.json below"),
        (("--resume", "power-9"), "--resume power-9: no folder with a power.json"),
        (("--resume", "latest", "--good", "3"), "and takes no --good"),
        (("--resume", "latest", "-p", "seed=3"), "and takes no -p"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_line_before_anything_is_written(
    tmp_path, capsys, monkeypatch, arguments, why
):
    # If one of these is not refused by mistake, an hour of game days must not start here.
    monkeypatch.setattr(power, "Measurement", None)
    code, lines = gameday_command(capsys, "power", *arguments, "--reports", str(tmp_path))
    assert code == USAGE and len(lines) == 1 and why in lines[0], lines
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A finished suite of two good runs, one of them a false alarm, and a single run."""
    folder = tmp_path / "old" / "pr-1"
    a_finished_run(folder / "calm")
    a_finished_run(folder / "loud", DOUBLED, scenario="api-latency")
    a_finished_run(folder / "again", scenario="api-latency")
    runs = [{"run_id": "calm"}, {"run_id": "loud", "scenario": "api-latency"}]
    a_suite(folder, runs, scenarios=["az-loss", "api-latency"])
    a_finished_run(tmp_path / "old" / "single")
    return tmp_path / "old"


def test_good_runs_that_exist_are_judged_again_and_counted(tmp_path, earlier, capsys):
    """suite.json has PASS for the second one. Each run counts once, however often its folder is named."""
    folders = [earlier / "pr-1", earlier / "single", earlier / "pr-1" / "calm"]
    code = main.main(["power", "--good-only", "--reports", str(tmp_path / "new"), "--from", *map(str, folders)])
    said = capsys.readouterr().out
    assert code == 1 and "1 false alarm in 3 good runs" in said
    made = record.load(next((tmp_path / "new").glob("power-*")))
    assert made["false_alarms"] == ["imported-2-api-latency"] and made["builds"] == ["sha256:1"]
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
        ({"change": "float-cash"}, "is not a good run: it has the bad change 'float-cash'"),
        ({"scenario": "steady-state"}, "has scenario 'steady-state'; good runs have az-loss"),
        ({"build": "sha256:2"}, "good runs of 2 builds: single has sha256:1; odd has sha256:2; --any-build"),
    ],
)
def test_a_run_that_is_not_a_good_run_of_this_build_is_refused(earlier, more, why):
    a_finished_run(earlier / "odd", **more)
    with pytest.raises(UsageError, match=why):
        earlier_runs.good_runs([earlier / "single", earlier / "odd"])


def test_a_suite_that_was_not_finished_is_refused(earlier):
    a_suite(earlier / "pr-1", [{"run_id": "calm"}], state="running")
    with pytest.raises(UsageError, match="pr-1 is not finished: the suite has not reported its end"):
        earlier_runs.good_runs([earlier / "pr-1"])


def test_runs_of_another_build_count_only_on_request(earlier):
    a_finished_run(earlier / "odd", build="sha256:2")
    assert len(earlier_runs.good_runs([earlier / "single", earlier / "odd"], any_build=True)) == 2


def test_imported_runs_of_another_build_than_the_measured_one_are_no_evidence():
    """The build of this source tree is known only after the first run has made it."""
    own = (a_case("calm", Kind.GOOD), a_run("calm", Verdict.PASS))
    old = (a_case("old", Kind.GOOD, imported=True), a_run("old", Verdict.PASS, build="sha256:0", origin="pr-1"))
    seen = judged(own, old)
    assert seen.names(Result.NO_EVIDENCE) == ["old"] and "its build is sha256:0, not sha256:1" in seen.reasons[0]
    assert judged(own, old, any_build=True).names(Result.NO_ALARM) == ["calm", "old"]


def test_a_tree_or_a_change_that_differs_is_refused_when_resumed(tmp_path):
    rig = PowerRig(tmp_path)
    rig.change("doubles")
    rig.leave([caught("doubles")])
    rig.resume()
    write_change(rig.changes, "doubles", caught_by="recovery-s")
    with pytest.raises(UsageError, match="change doubles has changed since its runs were planned"):
        rig.resume()
    write_change(rig.changes, "doubles")
    (rig.source / "main.py").write_text("good = False\n")
    with pytest.raises(UsageError, match=r"the source tree is sha256:.* but its runs were made with sha256:"):
        rig.resume()


def test_an_incomplete_record_cannot_be_resumed(tmp_path):
    rig = PowerRig(tmp_path)
    rig.cases = [a_case("x")]
    (rig.leave() / "power.json").write_text('{"schema": ')
    with pytest.raises(UsageError, match=r"--resume latest: .*power\.json cannot be read"):
        rig.resume()


def test_the_schema_refuses_what_is_not_a_record(tmp_path):
    made = record.make(a_plan(tmp_path), [caught("x")], some_facts())
    record.validate(made)
    for wrong in (
        {"verdict": "GOOD"},
        {"cases": []},
        {"survivors": "none"},
        {"more": 1},
        {"schema": "gameday.power/1"},
    ):
        with pytest.raises(EvidenceMissing, match=r"not a gameday\.power/2 record"):
            record.validate({**made, **wrong})


def a_plan(folder: Path) -> plan.Plan:
    rig = PowerRig(folder)
    rig.cases = [a_case("x")]
    return rig.power_plan()


def test_a_case_and_a_run_are_read_back_as_they_were_written():
    case, run = a_case("x", parameters={"seed": 3}), dataclasses.replace(caught("x"), reasons=("a", "b"))
    assert plan.Case.from_plain(case.plain()) == case and Run.from_plain(run.plain()) == run
