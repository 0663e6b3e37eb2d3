"""The commands around a run: find its notebook, guard its end, keep a local AWS up, stop what is left.

The watchdog is a process outside the run: whatever kills the run, it stops the experiment and deletes the stack on an
AWS that outlives the run. A local AWS that belongs to the run dies with it and needs no watchdog.
"""

from __future__ import annotations

import logging
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kit import aws, build, deploy, faults, scenarios
from kit.errors import UsageError
from kit.gameday.parameters import CHANGES, ROOT, Parameters

NOTEBOOKS = ROOT / "notebooks"
FIDELITY = ROOT / "docs" / "fidelity.md"
CLOUD_DIR = ROOT / "reports" / ".cloud"
STOP_TIMEOUT_S = 900
DONE = b"done"
# Longer than a supervisor gives the notebook's processes to end (kit.notebook.runner.STOP_GRACE_S).
STRAGGLERS_S = 15.0
STRAGGLERS_POLL_S = 0.5

log = logging.getLogger(__name__)


def notebook_of(scenario: str) -> Path:
    """The notebook of a scenario. Raises UsageError naming the known scenarios."""
    scenarios.get(scenario)
    return NOTEBOOKS / f"{scenario.replace('-', '_')}.ipynb"


def hypothesis_of(scenario: str) -> str:
    """What the scenario believes of the system, in a sentence or two."""
    return scenarios.get(scenario).hypothesis


def catalogue() -> Iterator[str]:
    """Scenarios and known bad changes, a line each."""
    for name in scenarios.names():
        yield f"scenario  {name:24} {scenarios.get(name).title}"
    for name in build.known_changes(CHANGES):
        yield f"change    {name}"


def standing_cloud() -> aws.LocalCloud | None:
    """The local AWS that `gameday cloud up` left running, if it still runs."""
    return aws.find_local(CLOUD_DIR)


def cloud(action: str, *, port: int, seed: int, region: str) -> Iterator[str]:
    """`up`, `status` or `down` for the standing local AWS; yields the lines to print."""
    running = standing_cloud()
    if action == "up":
        if running:
            raise UsageError(f"a local AWS is up already at {running.endpoint}; `gameday cloud down` stops it")
        running = aws.start_local_detached(CLOUD_DIR, port=port, seed=seed, region=region)
        yield f"up at {running.endpoint}"
        yield f"export AWS_ENDPOINT_URL={running.endpoint} AWS_REGION={region}"
    elif action == "down":
        aws.stop_local(CLOUD_DIR)
        yield "down"
    else:
        yield f"up at {running.endpoint}" if running else "down"


def stop_run(run_id: str, *, target: str, region: str) -> Iterator[str]:
    """Stop the experiments of a run and delete what it left of its stack; says what was found."""
    running = standing_cloud() if target == "local" else None
    if target == "local" and not running:
        yield "no local AWS is up: nothing of the run can be left"
        return
    session = running.session() if running else aws.session(target=target, region=region)
    for experiment in faults.stop_all(session, run_id):
        yield f"stopped experiment {experiment}"
    for stack in deploy.find_stacks(session, run_id=run_id):
        deploy.tear_down(session, stack, timeout_s=STOP_TIMEOUT_S)
        yield f"deleted stack {stack}"
    # A run that was killed before its stack was there may have left what its template came by.
    for bucket in deploy.find_buckets(session, run_id=run_id):
        deploy.delete_bucket(session, bucket)
        yield f"deleted bucket {bucket}"


@dataclass(slots=True)
class Watchdog:
    """The near end of a watchdog process; `close` tells it that the run cleaned up by itself."""

    process: subprocess.Popen[bytes] | None

    def close(self) -> None:
        if self.process and self.process.stdin and not self.process.stdin.closed:
            self.process.stdin.write(DONE)
            self.process.stdin.close()


def watch(plan: Parameters) -> Watchdog:
    """Start the watchdog of a run, where the AWS of the run outlives it."""
    if plan.target == "local" and standing_cloud() is None:
        return Watchdog(process=None)
    argv = [sys.executable, "-m", "kit", "_watch", plan.run_id, "--target", plan.target, "--region", plan.region]
    return Watchdog(process=subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True))


@contextmanager
def start_watchdog(plan: Parameters) -> Iterator[Watchdog]:
    """A watchdog around a block; an orderly end of the block releases it, a kill does not."""
    dog = watch(plan)
    yield dog
    for line in stop_run(plan.run_id, target=plan.target, region=plan.region) if dog.process else ():
        sys.stdout.write(f"  {line}\n")
    dog.close()


def guard(run_id: str, *, target: str, region: str) -> None:
    """The far end: wait for the end of the run's process; unless it said that it is done, stop the run.

    Again and again for a while: a kernel whose command was killed has some seconds to live, in which it may still
    start the experiment or the stack that a first look did not find.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.stdin.buffer.read() == DONE:
        return
    deadline = time.monotonic() + STRAGGLERS_S
    while True:
        for line in stop_run(run_id, target=target, region=region):
            log.info(line)
        if time.monotonic() > deadline:
            return
        time.sleep(STRAGGLERS_POLL_S)


def fidelity_rows(scenario: str) -> list[dict[str, str]]:
    """The rows of docs/fidelity.md that touch a scenario: {what, local, aws}."""
    touched = set(scenarios.get(scenario).touches)
    rows = []
    for line in FIDELITY.read_text(encoding="utf-8").splitlines() if FIDELITY.exists() else ():
        cells = [cell.strip().replace("`", "") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 4 and touched & set(cells[3].split()):
            rows.append({"what": cells[0], "local": cells[1], "aws": cells[2]})
    return rows
