"""A program that stands in for `gameday run`: it enters phases, writes a verdict and exits as its script says.

The script is $FAKE_RUNS/<name>.<attempt>.json. The name is that of the bad change in the run's parameters, or else that
of its scenario; a repeat is attempt 2. Keys of the script:
`steps`: [pause, phase] pairs; a pause is seconds, or the name of a run whose start is awaited.
`verdict`: the record to write, null for none. `exit`: the exit code, a negative one is a signal.
`change`: the change in the record, if it is not the run's own. `output`: a line to print.
`ignores_sigterm`: do not stop on SIGTERM. `burn`: start a process that uses CPU in a session of its own.

It imports nothing that is installed, so that it starts quickly. Everything that it does is noted in $FAKE_RUNS/journal.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

AWAITED_S_MAX = 20.0
STOPPED, NEVER_STARTED = 3, 5
HERE = Path(os.environ["FAKE_RUNS"])
OPTIONS = sys.argv[2:]


def option(name: str) -> str:
    return OPTIONS[OPTIONS.index(name) + 1]


def parameters() -> dict[str, str]:
    return dict(word.split("=", 1) for at, word in enumerate(OPTIONS) if OPTIONS[at - 1] == "-p")


CHANGE = parameters().get("change", "")
NAME = CHANGE or sys.argv[1]
RUN_ID = option("--run-id")
RUN_DIR = Path(option("--reports")) / RUN_ID


def note(what: str) -> None:
    with (HERE / "journal").open("a") as file:
        file.write(f"{time.time()} {NAME} {what} {os.getpid()}\n")


def stop(*_: object) -> None:
    note("stopped")
    sys.exit(STOPPED)


def pause(until: float | str) -> None:
    if not isinstance(until, str):
        time.sleep(until)
        return
    end = time.monotonic() + AWAITED_S_MAX
    while f" {until} start " not in (HERE / "journal").read_text():
        if time.monotonic() > end:
            sys.exit(NEVER_STARTED)
        time.sleep(0.02)


def enter(phase: str) -> None:
    with (RUN_DIR / "phases.jsonl").open("a") as file:
        file.write(json.dumps({"phase": phase, "t": time.time()}) + "\n")
    note(phase)


def main() -> None:
    script = json.loads((HERE / f"{NAME}.{2 if RUN_ID.endswith('r') else 1}.json").read_text())
    signal.signal(signal.SIGTERM, signal.SIG_IGN if script.get("ignores_sigterm") else stop)
    note("start")
    RUN_DIR.mkdir()
    if script.get("burn"):
        subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"], start_new_session=True)
    for until, phase in script["steps"]:
        pause(until)
        enter(phase)
    sys.stdout.write(script.get("output", "") + "\n")
    if script["verdict"]:
        record = {"run_id": RUN_ID, **script["verdict"], "change": script.get("change", CHANGE)}
        (RUN_DIR / "verdict.json").write_text(json.dumps(record))
        (RUN_DIR / "report.html").write_text("a report")
    note("end")
    if script["exit"] < 0:
        os.kill(os.getpid(), -script["exit"])
    sys.exit(script["exit"])


if __name__ == "__main__":
    main()
