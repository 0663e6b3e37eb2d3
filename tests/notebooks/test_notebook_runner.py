"""Executed notebooks that look clean and are no evidence, parameters that are refused, and runs that are killed."""

import inspect
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from kit.errors import UsageError
from kit.model import CheckKind, Finding, Status, Verdict
from kit.notebook import run_verdict, runner, scraps
from kit.verdict import gate
from tests.notebooks.run_ending import end_run
from tests.polling import wait_until
from tests.verdict.records import run_facts

FINDING = Finding(name="gap-free-sequence", kind=CheckKind.INTEGRITY, status=Status.PASS, detail="no gaps")


def a_record(verdict: Verdict) -> dict:
    status = {Verdict.PASS: Status.PASS, Verdict.FAIL: Status.FAIL}.get(verdict, Status.INVALID)
    finding = Finding(name=FINDING.name, kind=FINDING.kind, status=status, detail="as planted")
    reasons = () if verdict is Verdict.PASS else ("as planted",)
    return gate.record(run_facts(), verdict, reasons, findings=[finding])


def a_cell(source="1", *, outputs=(), status="completed", duration: float | None = 0.1, count: int | None = 1):
    cell = new_code_cell(source, outputs=list(outputs), execution_count=count)
    cell.metadata["papermill"] = {"status": status, "duration": duration, "exception": False}
    return cell


def a_scrap(record: dict):
    payload = {"name": "verdict", "data": record, "encoder": "json", "version": 1}
    metadata = {"scrapbook": {"name": "verdict", "data": True, "display": False}}
    return new_output("display_data", {"application/scrapbook.scrap.json+json": payload}, metadata=metadata)


def a_run(folder: Path, cells, *, exit_code=0, about=None) -> Path:
    made = new_notebook(cells=cells)
    made.metadata["papermill"] = {"end_time": "2026-01-01T00:00:00", "exception": None} if about is None else about
    nbformat.write(made, folder / runner.EXECUTED)
    glued = [output for cell in cells for output in cell.outputs if "data" in output]
    record = next(iter(glued[0]["data"].values()))["data"] if glued else None
    end_run(folder, record, exit_code=exit_code)
    return folder


def raised(name="VerdictNotPass"):
    return new_output("error", ename=name, evalue="x", traceback=[])


def test_a_clean_notebook_with_one_pass_scrap_passes(tmp_path):
    run = a_run(tmp_path, [a_cell(), a_cell(outputs=[a_scrap(a_record(Verdict.PASS))])])
    assert run_verdict.judge_run(run)["verdict"] == "PASS"


@pytest.mark.parametrize(
    ("ending", "why"),
    [
        ({"about": {"exception": None}}, "no end time"),
        ({"about": {"end_time": "x", "exception": True}}, "exception"),
        ({"exit_code": 1}, "exited with code 1"),
        ({"exit_code": 137}, "killed by signal 9"),
        ({"exit_code": -9}, "killed by signal 9"),
        ({"exit_code": None}, "never reported its end"),
    ],
    ids=["no-end-time", "exception", "exit-code", "killed", "supervisor-killed", "runner-vanished"],
)
def test_a_pass_from_a_run_that_did_not_end_well_is_invalid(tmp_path, ending, why):
    run = a_run(tmp_path, [a_cell(outputs=[a_scrap(a_record(Verdict.PASS))])], **ending)
    record = run_verdict.judge_run(run)
    assert record["verdict"] == "INVALID"
    assert why in " ".join(record["reasons"])


@pytest.mark.parametrize(
    "cell",
    [
        a_cell("later()", count=None),
        a_cell("later()", duration=None),
        a_cell("later()", status="pending"),
        a_cell("later()", outputs=[raised("ValueError")]),
    ],
    ids=["no-count", "no-duration", "pending", "error-output"],
)
def test_a_pass_beside_a_cell_that_never_finished_is_invalid(tmp_path, cell):
    run = a_run(tmp_path, [a_cell(outputs=[a_scrap(a_record(Verdict.PASS))]), cell])
    assert run_verdict.judge_run(run)["verdict"] == "INVALID"


@pytest.mark.parametrize("copies", [0, 2])
def test_none_or_two_verdicts_are_invalid(tmp_path, copies):
    run = a_run(tmp_path, [a_cell(outputs=[a_scrap(a_record(Verdict.PASS))] * copies)])
    record = run_verdict.judge_run(run)
    assert record["verdict"] == "INVALID"
    assert f"{copies} verdict scraps" in " ".join(record["reasons"])


def test_a_verdict_that_breaks_the_schema_is_invalid(tmp_path):
    forged = {**a_record(Verdict.PASS), "checks": []}
    assert run_verdict.judge_run(a_run(tmp_path, [a_cell(outputs=[a_scrap(forged)])]))["verdict"] == "INVALID"


def test_fail_stands_although_its_last_cell_raised(tmp_path):
    cells = [a_cell(outputs=[a_scrap(a_record(Verdict.FAIL)), raised()], status="failed")]
    run = a_run(tmp_path, cells, exit_code=1, about={"end_time": "x", "exception": True})
    assert run_verdict.judge_run(run)["verdict"] == "FAIL"


def test_aborted_stands_on_its_own_exception_only(tmp_path):
    verdict = a_cell(outputs=[a_scrap(a_record(Verdict.ABORTED)), raised()], status="failed")
    about = {"end_time": "x", "exception": True}
    assert run_verdict.judge_run(a_run(tmp_path, [verdict], exit_code=1, about=about))["verdict"] == "ABORTED"
    other = a_cell("later()", count=None)
    assert run_verdict.judge_run(a_run(tmp_path, [other, verdict], exit_code=1, about=about))["verdict"] == "INVALID"


def test_a_torn_notebook_is_invalid(tmp_path):
    run = a_run(tmp_path, [a_cell()])
    (run / runner.EXECUTED).write_text('{"cells": [')
    assert run_verdict.judge_run(run)["verdict"] == "INVALID"


def test_no_run_folder_is_wrong_usage(tmp_path):
    with pytest.raises(UsageError, match="no run folder"):
        run_verdict.judge_run(tmp_path / "none")


def a_source(folder: Path, *cells: str) -> Path:
    parameters = new_code_cell('rate_per_s: int = 5  # orders a second\nname: str = "x"\nflag: bool = False')
    parameters.metadata["tags"] = ["parameters"]
    place = new_code_cell('region: str = "us-east-1"')
    place.metadata["tags"] = ["target-parameters"]
    made = new_notebook(cells=[place, parameters, *map(new_code_cell, cells)])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = folder / "probe.ipynb"
    nbformat.write(made, path)
    return path


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"rate": 5}, "parameter 'rate' is unknown; probe has: flag, name, rate_per_s, region"),
        ({"rate_per_s": "fast"}, "rate_per_s='fast' must be a whole number from 1 to 20000"),
        ({"rate_per_s": 0}, "rate_per_s=0 must be a whole number from 1 to 20000"),
        ({"rate_per_s": 1.5}, "rate_per_s=1.5 must be a whole number"),
        ({"rate_per_s": True}, "rate_per_s=True must be a whole number"),
        ({"flag": "maybe"}, "flag='maybe' must be true or false"),
        ({"name": 3}, "name=3 must be text"),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_starts(tmp_path, given, why):
    with pytest.raises(UsageError, match=why):
        runner.strict_parameters(a_source(tmp_path), given)


def test_text_from_the_command_line_becomes_the_declared_type(tmp_path):
    values = runner.strict_parameters(a_source(tmp_path), {"rate_per_s": "7", "flag": "true", "name": "7"})
    assert values == {"rate_per_s": 7, "flag": True, "name": "7"}


def glue_pass(run_dir: Path) -> str:
    """Return the source of a cell that seals and glues a verdict of PASS."""
    record = json.dumps(a_record(Verdict.PASS))
    return (
        "import json, pathlib\nfrom kit.files.seal import write_manifest\nfrom kit.notebook import scraps\n"
        f"record = json.loads({record!r})\n"
        f"write_manifest(pathlib.Path({str(run_dir)!r}), headless=True, verdict=record)\n"
        "scraps.glue('verdict', record)"
    )


def execute(tmp_path: Path, *cells: str) -> dict:
    run_dir = tmp_path / "run"
    source = a_source(tmp_path, *cells)
    given = {"rate_per_s": 9, "region": "eu-west-1"}
    runner.execute(runner.Request(notebook=source, parameters=given, run_dir=run_dir, reproduce="again"))
    return run_verdict.judge_run(run_dir)


def test_a_real_run_passes_its_parameters_and_its_verdict(tmp_path):
    judged = execute(tmp_path, "assert (rate_per_s, region) == (9, 'eu-west-1')", glue_pass(tmp_path / "run"))
    assert judged["verdict"] == "PASS"
    assert "unknown parameter" not in (tmp_path / "run" / runner.LOG_FILE).read_text()
    assert scraps.read(tmp_path / "run" / runner.EXECUTED)["verdict"]["run_id"] == "r1"


def test_a_cell_may_wait_for_the_longest_stage_of_its_run(tmp_path, monkeypatch):
    """The soak's fault lasts for longer than any cell that does not wait for a stage."""
    monkeypatch.setattr(runner, "CELL_SLACK_S", 1)
    source, run_dir = a_source(tmp_path, "import time; time.sleep(1.3)", glue_pass(tmp_path / "run")), tmp_path / "run"
    request = runner.Request(notebook=source, parameters={}, run_dir=run_dir, reproduce="", longest_stage_s=30)
    runner.execute(request)
    assert run_verdict.judge_run(run_dir)["verdict"] == "PASS"


@pytest.mark.parametrize(
    "ending",
    ["import sys; sys.exit(0)", "import os; os.kill(os.getpid(), 9)"],
    ids=["sys-exit-0", "kernel-killed"],
)
def test_a_run_that_ends_early_after_its_pass_is_invalid(tmp_path, ending):
    judged = execute(tmp_path, glue_pass(tmp_path / "run"), ending, "print('never')")
    assert judged["verdict"] == "INVALID"


def sleep_with_a_detached_child(mark: str) -> None:
    """Write the child's pid to `mark` and sleep. It is the source of a cell, so it imports what it needs."""
    import subprocess
    import sys
    import time
    from pathlib import Path

    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
    Path(mark).write_text(str(child.pid))
    time.sleep(120)


@pytest.mark.parametrize("victim", ["papermill", "kernel", "command"])
def test_sigkill_of_any_part_leaves_no_process_and_no_pass(tmp_path, victim):
    """The notebook's own detached child dies as well, whoever was killed."""
    mark = tmp_path / "child.pid"
    cell = f"{inspect.getsource(sleep_with_a_detached_child)}\n{sleep_with_a_detached_child.__name__}({str(mark)!r})"
    source = a_source(tmp_path, cell)
    run_dir = tmp_path / "run"
    argv = [sys.executable, Path(__file__).with_name("run_notebook.py"), source, run_dir]
    temporary = a_folder(tmp_path / "tmp")
    environment = {**os.environ, "TMPDIR": str(temporary)}
    command = subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(mark.exists, timeout_s=30)
    family = psutil.Process(command.pid).children(recursive=True)
    victims = {
        "command": command.pid,
        "papermill": next(p.pid for p in family if p.cmdline()[1:4] == ["-m", "kit", "_execute"]),
        "kernel": next(p.pid for p in family if "ipykernel_launcher" in " ".join(p.cmdline())),
    }
    os.kill(victims[victim], signal.SIGKILL)
    command.wait(30)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    assert run_verdict.judge_run(run_dir)["verdict"] == "INVALID"
    assert not (run_dir / ".runtime").exists()
    assert list(temporary.iterdir()) == []


def a_folder(path: Path) -> Path:
    path.mkdir()
    return path


def supervisor_of(command: subprocess.Popen[bytes]) -> psutil.Process:
    family = psutil.Process(command.pid).children()
    return next(process for process in family if process.cmdline()[1:3] == ["-I", "-S"])


def test_a_run_whose_supervisor_was_killed_leaves_no_file_of_its_kernel(tmp_path):
    mark, run_dir = tmp_path / "mark", tmp_path / "run"
    source = a_source(tmp_path, f"import pathlib, time\npathlib.Path({str(mark)!r}).touch()\ntime.sleep(60)")
    argv = [sys.executable, Path(__file__).with_name("run_notebook.py"), source, run_dir]
    command = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(mark.exists, timeout_s=30)
    family = psutil.Process(command.pid).children(recursive=True)
    supervisor_of(command).kill()
    command.wait(30)
    assert not (run_dir / runner.RUNTIME_FOLDER).exists()
    assert psutil.wait_procs(family, timeout=10)[1] == []


@pytest.mark.slow
def test_the_next_run_removes_what_a_run_that_was_killed_as_a_whole_has_left(tmp_path):
    mark, killed = tmp_path / "mark", tmp_path / "killed"
    source = a_source(tmp_path, f"import pathlib, time\npathlib.Path({str(mark)!r}).touch()\ntime.sleep(60)")
    argv = [sys.executable, Path(__file__).with_name("run_notebook.py"), source, killed]
    command = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(mark.exists, timeout_s=30)
    family = psutil.Process(command.pid).children(recursive=True)
    os.kill(command.pid, signal.SIGSTOP)  # it would clean up
    supervisor_of(command).kill()
    command.kill()
    command.wait(10)
    psutil.wait_procs(family, timeout=10)
    assert (killed / runner.RUNTIME_FOLDER / "kernel.json").exists()
    assert execute(tmp_path, glue_pass(tmp_path / "run"))["verdict"] == "PASS"
    assert not (killed / runner.RUNTIME_FOLDER).exists()
