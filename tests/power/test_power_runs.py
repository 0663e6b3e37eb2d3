"""A power measurement with real processes for runs: no run is dropped or made twice, and no process is left."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kit import power
from kit.errors import UsageError
from kit.power import record
from kit.process import lifeline
from tests.polling import wait_until
from tests.power.power_rig import PowerRig
from tests.suite.suite_rig import COMMAND, DOUBLED, GOOD, LATE, SLOW, STEADY_AND_LONG

pytestmark = pytest.mark.slow

WAIT_S_MAX = 20.0
ROOT = Path(__file__).parents[2]


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PowerRig:
    made = PowerRig(tmp_path)
    monkeypatch.setenv("FAKE_RUNS", str(made.runs))
    monkeypatch.setattr("kit.suite.execution.POLL_S", 0.02)
    return made


def results(made: dict) -> dict[str, str]:
    return {one["case"]: one["result"] for one in made["results"]}


def starts(rig: PowerRig) -> list[str]:
    return [name for _, name, what, _ in rig.journal() if what == "start"]


def test_each_case_has_a_result_and_the_files_agree(rig):
    rig.change("doubles")
    rig.change("slows", SLOW)
    rig.change("hides", GOOD)
    rig.good("calm")
    made, said = rig.measure()
    assert results(made) == {
        "doubles": "caught", "slows": "caught by another check", "hides": "survivor", "calm": "no alarm",
    }  # fmt: skip
    assert (made["state"], made["verdict"], made["survivors"]) == ("done", "FAIL", ["hides"])
    folder = rig.reports / "power-1"
    assert record.load(folder) == made
    page, table = (folder / "index.html").read_text(), (folder / "power.md").read_text()
    doubles = next(run for run in made["runs"] if run["case"] == "doubles")
    assert f'href="{doubles["report"]}"' in page and (folder / doubles["report"]).exists()
    assert "- Survivors: `hides`" in table and str(rig.reports) not in table
    assert "survivors: hides" in said and any(line.startswith("mutation score: 1 of 3 mutants") for line in said)
    assert "power-1/index.html" in (rig.reports / "index.html").read_text()


def test_a_good_run_that_is_stopped_by_a_guardrail_is_a_false_alarm_and_a_change_is_not_caught_by_it(rig):
    rig.good("calm", aborted=True)
    rig.change("breaks", GOOD, aborted=True)
    made, _ = rig.measure()
    assert results(made) == {"calm": "false alarm", "breaks": "no evidence"}
    assert made["verdict"] == "FAIL" and made["rates"]["false_alarms"]["count"] == 1


def test_a_run_invalidated_by_cpu_contention_is_repeated_alone_and_once(rig):
    rig.change("late", LATE)
    rig.change("late", DOUBLED, attempt=2)
    rig.change("later", LATE)
    rig.change("later", LATE, attempt=2)
    made, _ = rig.measure()
    assert results(made) == {"late": "caught", "later": "no evidence"}
    assert [run["attempt"] for run in made["runs"]] == [1, 1, 2, 2]
    assert made["rates"]["mutation_score"]["count"] == 1 and made["rates"]["mutation_score"]["of"] == 2


def test_a_run_without_a_verdict_is_no_evidence_and_never_dropped(rig):
    rig.change("dies", None, exit_code=-9)
    made, said = rig.measure()
    assert results(made) == {"dies": "no evidence"} and made["verdict"] == "INVALID"
    assert "killed by signal 9" in made["reasons"][0] and any("no evidence: dies" in line for line in said)


def test_a_run_with_another_change_than_planned_is_no_evidence(rig):
    rig.change("doubles", change="")
    made, _ = rig.measure()
    assert results(made) == {"doubles": "no evidence"} and "has change ''" in made["reasons"][0]


def test_many_runs_of_one_scenario_are_each_counted(rig):
    for name in ("one", "two", "three"):
        rig.change(name)
    made, _ = rig.measure(jobs=3)
    assert made["rates"]["mutation_score"]["words"].startswith("mutation score: 3 of 3 mutants, 100.0 %")
    assert made["verdict"] == "PASS"


def test_a_resumed_measurement_runs_only_cases_without_evidence(rig):
    rig.change("doubles")
    rig.change("hides", GOOD)
    rig.change("dies", None)
    first, _ = rig.measure()
    rig.change("dies")
    made, _ = rig.measure(rig.resume())
    assert starts(rig) == ["doubles", "hides", "dies", "dies"]
    assert results(made) == {"doubles": "caught", "hides": "survivor", "dies": "caught"}
    assert [(run["case"], run["attempt"]) for run in made["runs"]][-2:] == [("dies", 1), ("dies", 2)]
    assert (made["resumed"], made["started_at"]) == (1, first["started_at"])


def test_a_resumed_measurement_repeats_a_run_whose_folder_contradicts_the_record(rig):
    rig.change("doubles")
    made, _ = rig.measure()
    path = rig.reports / "power-1" / made["runs"][0]["run_id"] / "verdict.json"
    path.write_text("{}")
    rig.measure(rig.resume())
    assert starts(rig) == ["doubles", "doubles"]


def test_a_source_tree_that_changes_ends_the_measurement(rig):
    """Later runs would have another build, and the running one may have it."""
    rig.change("doubles", steps=[(0.0, "steady_state"), (1.0, "recovery")])
    rig.change("never")
    session = power.Session(plan=rig.power_plan())
    (rig.source / "main.py").write_text("good = False\n")
    made, _ = rig.measure(session)
    assert results(made) == {"doubles": "no evidence", "never": "not run"}
    assert (made["state"], made["stopped_by"]) == ("stopped", "a change of the source tree")
    assert made["verdict"] == "INVALID" and starts(rig) == ["doubles"]


def test_two_processes_never_measure_into_one_folder(rig):
    rig.change("doubles")
    folder = rig.leave()
    with (folder / ".running").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another process runs this measurement"):
            rig.measure(rig.resume())


def test_a_killed_measurement_leaves_no_process_and_can_be_resumed(rig):
    rig.change("quick")
    rig.change("long", DOUBLED, steps=STEADY_AND_LONG, burn=True)
    folder = rig.leave(state="running")
    folders = map(str, (rig.reports, rig.source, rig.changes))
    argv = [sys.executable, "-m", "tests.power.killable_measurement", *folders]
    process = subprocess.Popen(argv, cwd=ROOT)
    try:
        wait_until(lambda: any(name == "long" and "steady" in what for _, name, what, _ in rig.journal()))
        wait_until(lambda: record.load(folder)["runs"])
    finally:
        process.kill()
        process.wait(WAIT_S_MAX)
    wait_until(lambda: [pid for pid in rig.pids() if lifeline.started_at(pid) is not None] == [])
    made = record.load(folder)
    assert (made["state"], made["verdict"], made["not_run"]) == ("running", "INVALID", ["long"])
    assert "has not reported its end" in made["reasons"][0]
    rig.change("long")
    again, _ = rig.measure(rig.resume())
    assert results(again) == {"quick": "caught", "long": "caught"} and again["state"] == "done"
    assert starts(rig).count("quick") == 1


def test_a_stopped_run_is_no_evidence_and_a_case_that_was_not_started_is_not_run(rig):
    rig.change("one", None, steps=STEADY_AND_LONG)
    rig.change("two")
    session = power.Session(plan=rig.power_plan())
    session.plan.folder.mkdir(parents=True)

    def interrupt(line: str) -> None:
        if "steady state" in line:
            signal.raise_signal(signal.SIGINT)

    made = power.Measurement(session, say=interrupt, command=COMMAND, source=rig.source).run()
    assert results(made) == {"one": "no evidence", "two": "not run"} and made["verdict"] == "INVALID"
    assert json.loads((session.plan.folder / "power.json").read_text())["stopped_by"] == "SIGINT"
