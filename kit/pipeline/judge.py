"""`python -m kit.pipeline.judge --bucket B --run-id R --execution ARN`: judge one conducted run, in a task.

The task downloads the run's folder, judges it by the one path that every run is judged by, writes what people read, and
uploads it beside the evidence. How the run was conducted can only make the verdict worse.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from kit import aws, collect, faults
from kit.aws.client_errors import ClientSource, cloud_errors
from kit.errors import CloudError, EvidenceMissing, KitError, UsageError
from kit.files import make_folder, read_object, write_json
from kit.files.seal import write_manifest
from kit.gameday import publish
from kit.gameday.evidence import HISTORY
from kit.load.artifacts import Artifacts
from kit.load.files import SUMMARY_FILE
from kit.load.ordered_load import FAILED, shard_name
from kit.model import Verdict
from kit.notebook import partial_record
from kit.pipeline.conduct import CONDUCTED, REASON_CHARS_MAX, conduct_problems, judge_conducted
from kit.pipeline.run_plan import CLEANUP, EVIDENCE, JUDGED, WATCH_FAILED, RunPlan, read_plan

VERDICT, JUNIT, REPORT = "verdict.json", "junit.xml", "report.html"
EXPERIMENT, EXECUTION, LOAD_SUMMARY = "fis-experiment.json", "state-machine-history.json", "load-summary.json"
REASONS_MAX = 5
# Of the state machine's history; it may have 25,000 events.
EVENTS_MAX = 25_000


def run(session: ClientSource, artifacts: Artifacts, run_dir: Path, execution: str) -> dict[str, Any]:
    """Judge a run, write its results into its folder and into S3, and return the verdict record. Raises KitError."""
    plan = read_plan(artifacts)
    artifacts.download(EVIDENCE, run_dir)
    write_json(
        run_dir / CONDUCTED, (artifacts.get_json(CONDUCTED) or {}) | {"failed": task_errors(artifacts, plan.shards)}
    )
    _write_cleanup(artifacts, run_dir)
    record = _judged(run_dir, plan)
    write_manifest(run_dir, headless=False, verdict=record)
    publish(run_dir, record)
    _write_sources(session, run_dir, plan, execution)
    for name in (VERDICT, JUNIT, REPORT, EXPERIMENT, EXECUTION, LOAD_SUMMARY):
        if (run_dir / name).exists():
            artifacts.upload(run_dir / name, name)
    for name in ("manifest.json", "cleanup.json", CONDUCTED):
        if (run_dir / name).exists():
            artifacts.upload(run_dir / name, f"{EVIDENCE}/{name}")
    # Last: the gate reads it, and everything that it names is there by then.
    artifacts.put_json(JUDGED, summary(record))
    return record


def summary(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the gate, the OpsItem and the message need of a verdict record, short whatever the run was."""
    failing = [check for check in record["checks"] if check["status"] == "fail"]
    worst = failing or [check for check in record["checks"] if check["status"] == "invalid"]
    reasons = [reason[:REASON_CHARS_MAX] for reason in record["reasons"][:REASONS_MAX]]
    return {
        "verdict": record["verdict"],
        "scenario": record["scenario"],
        "cause": _first_named(reasons, worst) or "conduct",
        "reasons": reasons,
        "violations": {check["name"]: check["measured"] for check in failing},
    }


def task_errors(artifacts: Artifacts, shards: int) -> list[str]:
    """Return what tasks of the run that failed said themselves, which tells more than how they ended."""
    names = {"watching task": WATCH_FAILED} | {
        f"load task {index}": f"{FAILED}/{shard_name(index)}.json" for index in range(shards)
    }
    found = {who: artifacts.get_json(name) for who, name in names.items()}
    return [f"{who}: {str(said.get('error'))[:REASON_CHARS_MAX]}" for who, said in found.items() if said is not None]


def _first_named(reasons: list[str], checks: list[Mapping[str, Any]]) -> str:
    """Return the name of the check that the first reason is about, or of the first check in question."""
    names = [check["name"] for check in checks]
    return next((name for reason in reasons for name in names if reason.startswith(name)), next(iter(names), ""))


def _judged(run_dir: Path, plan: RunPlan) -> dict[str, Any]:
    try:
        return judge_conducted(run_dir)
    except (EvidenceMissing, UsageError) as error:
        problems = conduct_problems(read_object(run_dir / CONDUCTED))
        parameters = {**plan.facts.parameters, "scenario": plan.facts.scenario}
        return partial_record.invalid_record(
            run_dir, [*problems, str(error)], parameters=parameters, reproduce=plan.facts.reproduce
        )


def _write_cleanup(artifacts: Artifacts, run_dir: Path) -> None:
    """Write what the clean-up function asserted; a run without it was not cleaned up, and is INVALID."""
    found = artifacts.get_json(CLEANUP)
    if found is not None:
        cleanup = collect.Cleanup(leftovers=tuple(found["leftovers"]), ended_at=float(found["ended_at"]))
        collect.write_cleanup(cleanup, run_dir)
    if (run_dir / collect.OBSERVATIONS_FILE).exists():
        write_manifest(run_dir, headless=False)


def _write_sources(session: ClientSource, run_dir: Path, plan: RunPlan, execution: str) -> None:
    """Write what FIS and Step Functions say themselves, and the load's summary. None of it is judged."""
    if (run_dir / HISTORY / SUMMARY_FILE).exists():
        (run_dir / LOAD_SUMMARY).write_bytes((run_dir / HISTORY / SUMMARY_FILE).read_bytes())
    try:
        experiment = faults.acting_experiment(session, plan.run_id)
        if experiment is not None:
            with cloud_errors(f"experiment {experiment.id}"):
                raw = session.client("fis").get_experiment(id=experiment.id)["experiment"]
            write_json(run_dir / EXPERIMENT, _texts(raw))
        write_json(run_dir / EXECUTION, {"execution": execution, "events": list(_events(session, execution))})
    except (CloudError, ClientError, BotoCoreError) as error:
        sys.stderr.write(f"not all sources could be kept: {error}\n")


def _events(session: ClientSource, execution: str) -> Iterator[Any]:
    with cloud_errors(f"history of {execution}"):
        pages = session.client("stepfunctions").get_paginator("get_execution_history")
        for page in pages.paginate(executionArn=execution, PaginationConfig={"MaxItems": EVENTS_MAX}):
            yield from map(_texts, page["events"])


def _texts(value: Any) -> Any:
    """Return a description of an API as JSON values: times as text."""
    return json.loads(json.dumps(value, default=lambda one: one.isoformat()))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m kit.pipeline.judge", description="Judge a conducted run.")
    parser.add_argument("--bucket", required=True, help="of the run's artifacts")
    parser.add_argument("--run-id", required=True)
    parser.add_argument("--execution", required=True, help="ARN of the execution that conducts the run")
    arguments = parser.parse_args()
    session = aws.task_session()
    artifacts = Artifacts(s3=session.client("s3"), bucket=arguments.bucket, run_id=arguments.run_id)
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / arguments.run_id
        make_folder(run_dir)
        try:
            record = run(session, artifacts, run_dir, arguments.execution)
        except KitError as error:
            sys.stderr.write(f"{artifacts.url('')}: {error}\n")
            return Verdict.INVALID.exit_code
    sys.stdout.write(f"{record['verdict']} {arguments.run_id}\n")
    # The gate reads the verdict; this task has done its work whatever it is.
    return 0


if __name__ == "__main__":
    sys.exit(main())
