"""A suite with real processes for runs: one gate, a verdict for every run, and no process left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from kit import suite
from kit.model import CheckKind, Status, Verdict
from kit.process import lifeline
from kit.verdict import gate
from tests.polling import wait_until
from tests.suite.suite_rig import COMMAND, DOUBLED, GOOD, LATE, PHASES, SLOW, STEADY_AND_LONG, Rig, finding

pytestmark = pytest.mark.slow

WAIT_S_MAX = 20.0
INVALID = 3
ROOT = Path(__file__).parents[2]
LONG = ((300.0, "steady_state"),)


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    made = Rig(tmp_path)
    monkeypatch.setenv("FAKE_RUNS", str(made.runs))
    return made


def run(rig: Rig, **options) -> tuple[dict, list[str]]:
    """The suite's record and what it said."""
    said: list[str] = []
    plan = rig.plan(**options)
    made = suite.Execution(plan, say=said.append, command=COMMAND).run()
    return made, [*said, *suite.table(made, plan)]


def by_scenario(made: dict) -> dict[str, dict]:
    return {one["scenario"]: one for one in made["runs"] if one["counts"]}


def alive(pids: set[int]) -> list[int]:
    return [pid for pid in pids if lifeline.started_at(pid) is not None]


def test_every_run_is_one_row_one_test_suite_and_one_gate(rig):
    rig.add("calm")
    rig.add("doubled", DOUBLED)
    rig.add("also-calm")
    made, said = run(rig)
    assert (made["schema"], made["state"], made["verdict"]) == ("gameday.suite/2", "done", "FAIL")
    assert [(one["scenario"], one["verdict"]) for one in made["runs"]] == [
        ("calm", "PASS"), ("doubled", "FAIL"), ("also-calm", "PASS"),
    ]  # fmt: skip
    folder = rig.reports / "pr-1"
    assert json.loads((folder / "suite.json").read_text()) == made
    root = ET.parse(folder / "junit.xml").getroot()
    assert [one.get("name") for one in root] == ["gameday.calm", "gameday.doubled", "gameday.also-calm"]
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("6", "2", "0")
    page = (folder / "index.html").read_text()
    links = re.findall(r'href="([^"]+)"', page)
    assert "doubled-0a/report.html" in links and all((folder / link).exists() for link in links)
    assert "no-double-fill: no-double-fill as planted" in page and "<script" not in page
    assert [line for line in said if "doubled" in line and "FAIL" in line and "report.html" in line]
    assert [line for line in said if line.startswith("    no-double-fill")]


def test_the_index_of_all_runs_leads_to_the_suite_and_its_runs(rig):
    rig.add("calm")
    run(rig)
    page = (rig.reports / "index.html").read_text()
    links = re.findall(r'href="([^"]+)"', page)
    assert links == ["pr-1/index.html", "pr-1/calm-0a/report.html"]


def test_the_phases_of_a_run_are_shown_as_it_enters_them(rig):
    rig.add("calm", steps=[(0.3, phase) for _, phase in PHASES], output="the end")
    record, said = run(rig)
    shown = [line.split()[2] for line in said if " calm " in line]
    assert shown == ["start", "steady", "fault", "recovery", "PASS"]
    assert [start["phase"] for start in record["runs"][0]["phases"]] == ["steady_state", "fault", "recovery"]
    assert "the end" in (rig.reports / "pr-1" / record["runs"][0]["log"]).read_text()


def test_a_phases_file_that_cannot_be_read_changes_no_verdict(rig):
    rig.add("odd", steps=[(0.0, "no such phase")])
    record, _ = run(rig)
    assert record["verdict"] == "PASS" and record["runs"][0]["phases"] == []


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (
            {"findings": None, "exit_code": 4, "output": "gameday: no such thing"},
            "exit code 4): gameday: no such",
        ),
        ({"findings": None, "exit_code": -9}, "left no verdict (killed by signal 9)"),
        ({"findings": GOOD, "exit_code": 1}, "exit code 1, which does not match its verdict PASS"),
        ({"findings": GOOD, "exit_code": -11}, "killed by signal 11, which does not match its verdict PASS"),
        ({"findings": None, "exit_code": 0}, "left no verdict (exit code 0)"),
    ],
    ids=["usage", "killed", "pass-but-failed", "pass-but-crashed", "nothing"],
)
def test_a_run_without_an_accepted_verdict_is_invalid_and_listed(rig, behaviour, why):
    rig.add("odd", **behaviour)
    rig.add("calm")
    made, said = run(rig)
    assert made["verdict"] == "INVALID"
    assert by_scenario(made)["odd"]["verdict"] == "INVALID" and by_scenario(made)["calm"]["verdict"] == "PASS"
    assert why in by_scenario(made)["odd"]["reasons"][0]
    assert any(why in line for line in said)
    errors = ET.parse(rig.reports / "pr-1" / "junit.xml").findall(".//testsuite[@name='gameday.odd']//error")
    assert errors


def test_a_verdict_of_another_run_is_no_verdict(rig):
    rig.add("odd")
    script = json.loads((rig.runs / "odd.1.json").read_text())
    script["verdict"]["scenario"] = "another"
    (rig.runs / "odd.1.json").write_text(json.dumps(script))
    assert by_scenario(run(rig)[0])["odd"]["verdict"] == "INVALID"


def test_a_run_that_takes_too_long_is_stopped_and_invalid(rig):
    rig.add("stuck", steps=LONG, limit_s=0.5, burn=True)
    rig.add("calm")
    made, _ = run(rig)
    assert made["verdict"] == "INVALID"
    assert by_scenario(made)["stuck"]["reasons"][0] == "it took longer than 0.5 s and was stopped"
    assert [what for _, scenario, what, _ in rig.journal() if scenario == "stuck"] == ["start", "stopped"]
    assert alive(rig.pids()) == []


def test_fail_beats_invalid(rig):
    rig.add("odd", None)
    rig.add("doubled", DOUBLED)
    assert run(rig)[0]["verdict"] == "FAIL"


def test_a_run_with_a_late_generator_is_repeated_alone_and_both_are_shown(rig):
    rig.add("late", LATE)
    rig.add("late", GOOD, attempt=2)
    rig.add("calm", steps=[(0.0, "steady_state"), (1.0, "recovery")])
    made, said = run(rig, jobs=2)
    assert made["verdict"] == "PASS"
    late = [one for one in made["runs"] if one["scenario"] == "late"]
    assert [(one["attempt"], one["verdict"], one["counts"]) for one in late] == [
        (1, "INVALID", False),
        (2, "PASS", True),
    ]
    assert late[0]["repeat_reason"] == "its load generator was late"
    calm_ended = max(at for at, scenario, _, _ in rig.journal() if scenario == "calm")
    repeated = [at for at, scenario, what, _ in rig.journal() if (scenario, what) == ("late", "start")][1]
    assert repeated > calm_ended, "the repeat was not alone"
    assert any("repeated alone, because its load generator was late: INVALID" in line for line in said)
    folder = rig.reports / "pr-1"
    assert "does not count" in (folder / "index.html").read_text()
    output = ET.parse(folder / "junit.xml").find(".//testsuite[@name='gameday.late']/system-out")
    assert output is not None and "repeated alone" in (output.text or "")
    assert len(ET.parse(folder / "junit.xml").findall("testsuite")) == 2


def test_the_main_reason_of_a_run_that_was_never_steady_is_the_steady_state(rig):
    missing = finding("latency-ms-p95", CheckKind.SLO, Status.INVALID)
    unsteady = finding("error-rate", CheckKind.HYPOTHESIS, Status.INVALID)
    rig.add("shaky", (missing, unsteady))
    made, said = run(rig)
    assert made["reasons"] == ["shaky: error-rate: error-rate as planted"]
    assert "    error-rate: error-rate as planted" in said


def test_a_run_is_repeated_only_once(rig):
    rig.add("late", LATE)
    rig.add("late", LATE, attempt=2)
    made, _ = run(rig)
    assert len(made["runs"]) == 2 and made["verdict"] == "INVALID"


def test_a_run_with_a_doubled_order_is_never_repeated(rig):
    rig.add("both", (*LATE, *DOUBLED))
    made, _ = run(rig)
    assert len(made["runs"]) == 1 and made["verdict"] == "FAIL"


def test_a_missed_duration_without_cpu_contention_stands(rig):
    rig.add("slow", SLOW)
    made, _ = run(rig)
    assert len(made["runs"]) == 1 and made["verdict"] == "FAIL"


def test_two_runs_never_deploy_at_the_same_time_but_run_in_parallel(rig):
    """The first ends only when the last has begun."""
    rig.add("a", steps=[(0.3, "steady_state"), ("c", "recovery")])
    rig.add("b", steps=[(0.3, "steady_state")])
    rig.add("c", steps=[(0.3, "steady_state")])
    made, _ = run(rig, jobs=3)
    assert made["verdict"] == "PASS"
    starts = {scenario: at for at, scenario, what, _ in rig.journal() if what == "start"}
    steady = {scenario: at for at, scenario, what, _ in rig.journal() if what.startswith("steady")}
    assert starts["b"] >= steady["a"] and starts["c"] >= steady["b"]


def test_no_more_runs_than_requested_run_in_parallel(rig):
    for name, awaited in (("a", "b"), ("b", "c"), ("c", "d"), ("d", "d")):
        rig.add(name, steps=[(0.0, "steady_state"), (awaited, "recovery")])
    made, _ = run(rig, jobs=2)
    assert made["verdict"] == "PASS"
    running, most = 0, 0
    for _, _, what, _ in rig.journal():
        running += {"start": 1, "end": -1}.get(what, 0)
        most = max(most, running)
    assert most == 2


@pytest.fixture
def start(rig: Rig):
    """A suite in a process of its own, which can be killed; nothing of it is left at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*names: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "tests.suite.killable_suite", str(rig.reports), ",".join(names)]
        started.append(subprocess.Popen(argv, stdout=subprocess.DEVNULL, cwd=ROOT))
        return started[0]

    yield start
    for process in started:
        process.kill()
        process.wait(WAIT_S_MAX)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_suite_stops_its_runs_and_records_what_it_knows(rig, start, number):
    rig.add("calm")
    for name in ("one", "two", "three"):
        rig.add(name, None, steps=STEADY_AND_LONG)
    process = start("calm", "one", "two", "three")
    wait_until(lambda: len([what for _, _, what, _ in rig.journal() if what.startswith("steady")]) == 3)
    process.send_signal(number)
    assert process.wait(WAIT_S_MAX) == INVALID
    assert alive(rig.pids()) == []
    stopped = {scenario for _, scenario, what, _ in rig.journal() if what == "stopped"}
    assert stopped == {"one", "two"}, "a run was not asked to stop, but killed"
    made = json.loads((rig.reports / "pr-1" / "suite.json").read_text())
    assert (made["state"], made["verdict"]) == ("stopped", "INVALID")
    assert {one["scenario"]: one["verdict"] for one in made["runs"]} == {
        "calm": "PASS", "one": "INVALID", "two": "INVALID", "three": "INVALID",
    }  # fmt: skip
    assert signal.Signals(number).name in by_scenario(made)["two"]["reasons"][0]
    assert "not started" in by_scenario(made)["three"]["reasons"][0]
    root = ET.parse(rig.reports / "pr-1" / "junit.xml").getroot()
    assert len(root.findall(".//testsuite")) == 5 and root.get("errors") == "4"


def test_a_killed_suite_leaves_no_process_and_no_passing_file(rig, start):
    """This includes a process that a run started in a session of its own."""
    rig.add("calm")
    rig.add("one", None, steps=STEADY_AND_LONG, burn=True)
    process = start("calm", "one")
    wait_until(lambda: any(scenario == "one" and "steady" in what for _, scenario, what, _ in rig.journal()))
    folder = rig.reports / "pr-1"
    wait_until(lambda: json.loads((folder / "suite.json").read_text())["runs"])
    family = rig.pids() | descendants(process.pid)
    process.kill()
    process.wait(WAIT_S_MAX)
    wait_until(lambda: alive(family) == [])
    verdicts = [Verdict(record["verdict"]) for _, record in suite.judge(folder)]
    assert gate.worst(verdicts) is Verdict.INVALID
    assert ET.parse(folder / "junit.xml").getroot().get("errors") == "1"


def descendants(pid: int) -> set[int]:
    import psutil

    return {child.pid for child in psutil.Process(pid).children(recursive=True)}


def test_a_run_that_ignores_the_request_to_stop_is_killed(rig, monkeypatch):
    monkeypatch.setattr("kit.suite.run_process.STOP_GRACE_S", 0.5)
    rig.add("stubborn", None, steps=LONG, limit_s=0.5, ignores_sigterm=True)
    made, _ = run(rig)
    assert made["verdict"] == "INVALID" and alive(rig.pids()) == []
    assert os.path.exists(rig.reports / "pr-1" / "stubborn-0a.log")
