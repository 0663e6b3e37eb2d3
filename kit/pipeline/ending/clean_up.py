"""End what a run started, its experiment and its tasks, and assert that both ended. Safe to repeat.

Input: {"run_id"}, or an EventBridge event of an execution's end, whose name is the id of its run.
Output: {"stopped_experiments", "stopped_tasks", "leftovers"}; raises NotEnded if anything still runs.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

CONFIG = Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 4, "mode": "standard"})
RUN_TAG = "RunId"
OVER = frozenset({"completed", "stopped", "failed", "cancelled"})
STOPPED = "STOPPED"
DESCRIBE_MAX = 100
POLL_S = 0.2
# The undo of an experiment on AWS may take minutes (network ACLs are put back one by one).
ENDED_S_MAX = 240.0
CLEANUP = "cleanup.json"


class NotEnded(Exception):
    """An experiment or a task of the run still runs."""


class BadInput(ValueError):
    """The caller sent something else than the input of this function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aws:
    """What the function calls and its clock, replaced in tests. `cluster` is that of the run's own tasks."""

    fis: Any
    ecs: Any
    s3: Any
    bucket: str
    cluster: str
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


def handle(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Run in AWS Lambda."""
    fis, ecs, s3 = (boto3.client(name, config=CONFIG) for name in ("fis", "ecs", "s3"))
    environment = os.environ
    aws = Aws(fis=fis, ecs=ecs, s3=s3, bucket=environment["ARTIFACTS_BUCKET"], cluster=environment["TASKS_CLUSTER"])
    return clean_up(run_of(event), aws)


def run_of(event: Mapping[str, Any]) -> str:
    """Return the id of the run. Raises BadInput."""
    detail = event.get("detail")
    run_id = detail.get("name") if isinstance(detail, Mapping) else event.get("run_id")
    if not isinstance(run_id, str) or not run_id:
        raise BadInput(f"run_id={run_id!r:.60} must be the id of a run")
    return run_id


def clean_up(run_id: str, aws: Aws) -> dict[str, Any]:
    """Stop the run's experiments and tasks, wait until they have ended, and write what is left. Raises NotEnded."""
    experiments = [one["id"] for one in _open_experiments(aws, run_id)]
    for experiment in experiments:
        _stop_experiment(aws, experiment)
    tasks = [one["taskArn"] for one in _live_tasks(aws, run_id)]
    for task in tasks:
        aws.ecs.stop_task(cluster=aws.cluster, task=task, reason=f"run {run_id} is over")
    leftovers = _await_end(aws, run_id)
    body = json.dumps({"leftovers": leftovers, "ended_at": aws.now()}).encode()
    aws.s3.put_object(Bucket=aws.bucket, Key=f"{run_id}/{CLEANUP}", Body=body, ContentType="application/json")
    if leftovers:
        raise NotEnded(f"run {run_id}: {'; '.join(leftovers)} after {ENDED_S_MAX:g} s")
    return {"stopped_experiments": experiments, "stopped_tasks": tasks, "leftovers": leftovers}


def _await_end(aws: Aws, run_id: str) -> list[str]:
    """Return what still runs at the deadline; nothing as soon as all has ended."""
    deadline = aws.now() + ENDED_S_MAX
    while True:
        left = [f"experiment {one['id']} is {one['state']['status']}" for one in _open_experiments(aws, run_id)]
        left += [f"task {one['taskArn']} is {one['lastStatus']}" for one in _live_tasks(aws, run_id)]
        if not left or aws.now() > deadline:
            return left
        aws.sleep(POLL_S)


def _open_experiments(aws: Aws, run_id: str) -> Iterator[dict[str, Any]]:
    for page in aws.fis.get_paginator("list_experiments").paginate():
        for found in page["experiments"]:
            if found.get("tags", {}).get(RUN_TAG) == run_id and found["state"]["status"] not in OVER:
                yield found


def _stop_experiment(aws: Aws, experiment: str) -> None:
    try:
        aws.fis.stop_experiment(id=experiment)
    except (aws.fis.exceptions.ConflictException, aws.fis.exceptions.ValidationException):
        # It ended meanwhile, or is ending; `_await_end` looks.
        return


def _live_tasks(aws: Aws, run_id: str) -> Iterator[dict[str, Any]]:
    """Yield the tasks of the run that have not stopped. ECS lists those that were told to stop as STOPPED, too."""
    pager = aws.ecs.get_paginator("list_tasks")
    arns = [
        arn
        for status in ("RUNNING", STOPPED)
        for page in pager.paginate(cluster=aws.cluster, desiredStatus=status)
        for arn in page["taskArns"]
    ]
    for first in range(0, len(arns), DESCRIBE_MAX):
        found = aws.ecs.describe_tasks(cluster=aws.cluster, tasks=arns[first : first + DESCRIBE_MAX])
        yield from (one for one in found["tasks"] if one.get("group") == run_id and one["lastStatus"] != STOPPED)
