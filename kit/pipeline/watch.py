"""`python -m kit.pipeline.watch --bucket B --run-id R`: watch one run and collect its evidence, in a task.

ECS and ELB keep no history of tasks and targets, so somebody has to look all the time. The task checks what the
experiment will hit, says that it watches, waits for the end of the load, merges the shards' histories, collects
everything else as a notebook does, and uploads the run's folder, `observations.json` and the manifest last.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit import aws, collect, faults
from kit.aws.client_errors import ClientSource
from kit.errors import EvidenceMissing, KitError
from kit.files import make_folder
from kit.files.seal import MANIFEST_FILE, write_manifest
from kit.gameday import LoadWindow, collect_evidence
from kit.gameday.evidence import HISTORY
from kit.load.artifacts import Artifacts
from kit.load.files import SUMMARY_FILE
from kit.load.ordered_load import SHARDS, Load, fetch_history, read_load, read_stop, shard_name
from kit.model import NS_PER_S, Verdict
from kit.notebook import partial_record
from kit.pipeline.run_plan import EVIDENCE, PLAN, WATCH_FAILED, WATCH_READY, RunPlan, read_plan
from kit.process.machine import MachineWatch

POLL_S = 0.5
# From the common end of the load until every shard has drained and uploaded its history.
UPLOAD_S_MAX = 180.0
ERROR_CHARS_MAX = 2_000
LAST = (collect.OBSERVATIONS_FILE, MANIFEST_FILE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What watches a run: `tasks` its tasks and targets, `machine` this machine."""

    tasks: collect.TaskWatch
    machine: MachineWatch

    def stop(self) -> None:
        self.machine.stop()
        self.tasks.stop()


def run(
    session: ClientSource,
    artifacts: Artifacts,
    run_dir: Path,
    work_dir: Path,
    *,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.time,
) -> collect.Observations:
    """Watch the run to its end and upload its evidence. Raises KitError."""
    plan = read_plan(artifacts)
    # The deployed template and the past of the ledger, which the deployment has written.
    artifacts.download(EVIDENCE, run_dir)
    faults.preview(session, plan.template_id, plan.deployment)
    watch = Watch(tasks=collect.TaskWatch.start(session, plan.deployment), machine=MachineWatch.start(plan.members))
    try:
        artifacts.put_json(WATCH_READY, {})
        load, stops_at = await_load(artifacts, plan, sleep=sleep, now=now)
        fetch_history(artifacts, load, work_dir, run_dir / HISTORY)
        experiment = faults.acting_experiment(session, plan.run_id)
        if experiment is not None:
            partial_record.write_experiment(run_dir, faults.unproven(experiment))
        observed = collect_evidence(
            session,
            plan.deployment,
            run_dir=run_dir,
            scenario=plan.scenario,
            facts=plan.facts,
            load=LoadWindow(started_at=load.starts_at_ms / 1_000, ended_at=stops_at),
            experiment=experiment,
            watch=watch.tasks,
            machine_samples=watch.machine.samples,
        )
    finally:
        watch.stop()
    write_manifest(run_dir, headless=False)
    upload(artifacts, run_dir, EVIDENCE)
    return observed


def await_load(
    artifacts: Artifacts, plan: RunPlan, *, sleep: Callable[[float], None], now: Callable[[], float]
) -> tuple[Load, float]:
    """Wait until the load was ordered, was told when to end, and every shard has uploaded its summary.

    Returns the load and its end (epoch s). Raises EvidenceMissing if that takes longer than the plan allows.
    """
    deadline = now() + plan.times["load_s_max"]
    stop_ns = _await(lambda: read_stop(artifacts), deadline, "the load was never told to end", sleep=sleep, now=now)
    load = read_load(artifacts)
    if load is None:
        raise EvidenceMissing(f"{artifacts.url('load/load.json')}: no load was ordered")
    stops_at = stop_ns / NS_PER_S
    for index in range(load.shards):
        name = f"{SHARDS}/{shard_name(index)}/{SUMMARY_FILE}"
        _await(
            lambda name=name: artifacts.get_json(name), stops_at + UPLOAD_S_MAX,
            f"shard {index} of {load.shards} uploaded no history", sleep=sleep, now=now,
        )  # fmt: skip
    return load, stops_at


def upload(artifacts: Artifacts, run_dir: Path, name: str) -> None:
    """Upload a run's folder below `name`; observations and manifest last, because they say that the rest is there."""
    for path in sorted(_files(run_dir), key=lambda one: LAST.index(one.name) if one.name in LAST else -1):
        artifacts.upload(path, f"{name}/{path.relative_to(run_dir).as_posix()}")


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _await(
    look: Callable[[], Any], deadline: float, problem: str, *, sleep: Callable[[float], None], now: Callable[[], float]
) -> Any:
    """Return what `look` finds. Raises EvidenceMissing at the deadline (epoch s)."""
    while (found := look()) is None:
        if now() > deadline:
            raise EvidenceMissing(problem)
        sleep(POLL_S)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m kit.pipeline.watch", description="Watch a run, collect its evidence."
    )
    parser.add_argument("--bucket", required=True, help="of the run's artifacts")
    parser.add_argument("--run-id", required=True)
    arguments = parser.parse_args()
    session = aws.task_session()
    artifacts = Artifacts(s3=session.client("s3"), bucket=arguments.bucket, run_id=arguments.run_id)
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / arguments.run_id
        make_folder(run_dir)
        try:
            run(session, artifacts, run_dir, Path(folder))
        except KitError as error:
            sys.stderr.write(f"{artifacts.url(PLAN)}: {error}\n")
            artifacts.put_json(WATCH_FAILED, {"error": str(error)[:ERROR_CHARS_MAX]})
            return Verdict.INVALID.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
