"""Support a run from outside: clean up after it, keep a local AWS running.

The watchdog is a process of its own. Whatever kills the run, the watchdog stops the experiment and deletes the stack on
an AWS that outlives the run. A local AWS that belongs to the run ends with it and needs no watchdog.
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from kit import aws, build, deploy, faults, scenarios
from kit.errors import UsageError
from kit.gameday.parameters import CHANGES, ROOT, Parameters
from kit.process import terminal
from kit.scenarios.fidelity import differences

NOTEBOOK = ROOT / "notebooks" / "game_day.ipynb"
CLOUD_DIR = ROOT / "reports" / ".cloud"
STOP_TIMEOUT_S = 900
DONE = b"done"
# For how long after the end of a run something may still start: longer than a supervisor gives the notebook's
# processes to end (kit.notebook.runner.STOP_GRACE_S).
LATE_START_S = 15.0
LATE_START_POLL_S = 0.5


def hypothesis_of(scenario: str) -> str:
    """Return what the scenario expects of the system, in a sentence or two."""
    return scenarios.get(scenario).hypothesis


def is_known(scenario: str) -> bool:
    """Return whether this version of the kit has the scenario. A record from elsewhere may name any."""
    return scenario in scenarios.names()


def catalogue() -> Iterator[str]:
    """Yield one line for each scenario and each known bad change."""
    for name in scenarios.names():
        yield f"scenario  {name:24} {scenarios.get(name).title}"
    for name in build.known_changes(CHANGES):
        yield f"change    {name}"


def standing_cloud() -> aws.LocalCloud | None:
    """Return the local AWS that `gameday cloud up` started, if it still runs."""
    return aws.find_local(CLOUD_DIR)


def cloud(action: str, *, port: int, seed: int, region: str) -> Iterator[str]:
    """Start or stop the local AWS that stays between runs, or tell whether it runs or how to reach it; yields lines."""
    running = standing_cloud()
    if action == "up":
        if running:
            raise UsageError(f"a local AWS already runs at {running.endpoint}; `gameday cloud down` stops it")
        running = aws.start_local_detached(CLOUD_DIR, port=port, seed=seed, region=region)
        yield f"up at {running.endpoint}"
        yield from _kept_lines(running.session())
        yield 'for the aws command and other clients: eval "$(gameday cloud env)"'
    elif action == "down":
        stopped = aws.stop_local(CLOUD_DIR)
        yield "down"
        if stopped:
            yield "kept for the next `gameday cloud up`: FIS templates, experiments and safety levers, and nothing else"
    elif action == "env":
        if not running:
            raise UsageError("no local AWS runs between runs; `gameday cloud up` starts one")
        yield from _shell_lines(running)
    else:
        yield f"up at {running.endpoint}" if running else "down"


def _kept_lines(session: aws.Session) -> Iterator[str]:
    """Yield what this local AWS has taken over from its predecessor, if that is anything."""
    fis = session.client("fis")
    templates, experiments = (
        sum(len(page[key]) for page in fis.get_paginator(operation).paginate())
        for operation, key in (
            ("list_experiment_templates", "experimentTemplates"),
            ("list_experiments", "experiments"),
        )
    )
    if templates or experiments:
        yield f"kept from before: FIS templates {templates}, experiments {experiments}"
    lever = fis.get_safety_lever(id="default")["safetyLever"]["state"]
    if lever["status"] != "disengaged":
        yield f"the safety lever is still {lever['status']} ({lever['reason']}): no experiment will run"


def _shell_lines(running: aws.LocalCloud) -> Iterator[str]:
    """Yield what a shell must evaluate, so that any AWS tool in it calls this local AWS."""
    yield f"unset {' '.join(aws.MISLEADING_VARIABLES)}"
    for name, value in running.environment().items():
        yield f"export {name}={shlex.quote(value)}"


def stop_run(run_id: str, *, target: str, region: str) -> Iterator[str]:
    """Stop the experiments of a run and delete what is left of its stack; yields what was done."""
    running = standing_cloud() if target == "local" else None
    if target == "local" and not running:
        yield "no local AWS runs, so nothing of the run is left"
        return
    session = running.session() if running else aws.session(target=target, region=region)
    for execution in faults.stop_executions(session, run_id):
        yield f"stopped execution {execution}"
    for experiment in faults.stop_all(session, run_id):
        yield f"stopped experiment {experiment}"
    for stack in deploy.find_stacks(session, run_id=run_id):
        deploy.tear_down(session, stack, timeout_s=STOP_TIMEOUT_S)
        yield f"deleted stack {stack}"
    # A run that was killed before its stack existed may have left the bucket of its template.
    for bucket in deploy.find_buckets(session, run_id=run_id):
        deploy.delete_bucket(session, bucket)
        yield f"deleted bucket {bucket}"


@dataclass(slots=True)
class Watchdog:
    """The run's end of its watchdog process; `close` tells the process that the run has cleaned up by itself."""

    process: subprocess.Popen[bytes] | None

    def close(self) -> None:
        if self.process and self.process.stdin and not self.process.stdin.closed:
            # A watchdog that was killed has nobody to tell.
            with suppress(BrokenPipeError):
                self.process.stdin.write(DONE)
                self.process.stdin.close()


def start_watchdog(parameters: Parameters) -> Watchdog:
    """Start the watchdog process of a run, if the AWS of the run outlives the run."""
    target, region = parameters.target, parameters.region
    if target == "local" and standing_cloud() is None:
        return Watchdog(process=None)
    argv = [sys.executable, "-m", "kit", "_watchdog", parameters.run_id, "--target", target, "--region", region]
    return Watchdog(process=subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True))


@contextmanager
def watched_run(parameters: Parameters) -> Iterator[None]:
    """Run a block under a watchdog. If the block ends without an exception, clean up here and release the watchdog."""
    watchdog = start_watchdog(parameters)
    yield
    if watchdog.process:
        for line in stop_run(parameters.run_id, target=parameters.target, region=parameters.region):
            terminal.say(f"  {line}")
    watchdog.close()


def run_watchdog(run_id: str, *, target: str, region: str) -> None:
    """Wait, in the watchdog process, until the run's process has ended; stop the run unless it cleaned up by itself.

    Repeats for a while: a kernel whose command was killed lives on for some seconds, in which it may still start the
    experiment or create the stack that an earlier attempt did not find.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.stdin.buffer.read() == DONE:
        return
    deadline = time.monotonic() + LATE_START_S
    said: set[str] = set()
    while True:
        for line in stop_run(run_id, target=target, region=region):
            if line not in said:
                terminal.say(f"watchdog of {run_id}: {line}")
            said.add(line)
        if time.monotonic() > deadline:
            return
        time.sleep(LATE_START_POLL_S)


def fidelity_rows(scenario: str) -> list[dict[str, str]]:
    """Return where the local AWS differs from AWS in what a scenario touches: {what, local, aws} in plain text."""
    touched = set(scenarios.get(scenario).touches)
    rows = [difference for difference in differences() if touched & set(difference.touches)]
    return [{name: getattr(row, name).replace("`", "") for name in ("what", "local", "aws")} for row in rows]
