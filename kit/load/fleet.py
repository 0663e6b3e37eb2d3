"""Send the load from Fargate tasks, one for each shard, and control them from outside as `LoadRun` does its generator.

A laptop is no honest source of load for a system on AWS: its network and its CPU would be measured, too.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.aws.client_errors import ClientSource, cloud_errors
from kit.errors import CloudError, EvidenceMissing
from kit.files import write_json
from kit.load.artifacts import Artifacts
from kit.load.files import PROGRESS_FILE, stats_of
from kit.load.ordered_load import FAILED, PROGRESS, READY, Load, end_load, fetch_history, order_load, shard_name
from kit.load.plan import LoadPlan
from kit.model import LoadStats

CONTAINER = "load"
READY_S_MAX = 180.0
READY_POLL_S = 0.5
# From the order to the common start: every task polls for the order and starts its generator in this time.
LEAD_S = 8.0
# More than the generators' drain and catch-up, and the upload, may take together.
FINISH_S_MAX = 120.0
STOPPED = "STOPPED"
# Of a task's own words: they begin with what failed, and end with the last lines of a log.
ERROR_CHARS_FIRST, ERROR_CHARS_LAST = 100, 400
ADDED = ("intended", "sent", "ok", "fail", "info", "dropped", "inflight", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the tasks run, as the outputs of the load stack name it."""

    cluster: str
    task_definition: str
    subnets: tuple[str, ...]
    security_group: str
    bucket: str

    @classmethod
    def from_outputs(cls, outputs: Mapping[str, str]) -> Place:
        return cls(
            cluster=outputs["LoadClusterName"],
            task_definition=outputs["LoadTaskDefinition"],
            subnets=tuple(outputs["LoadSubnets"].split(",")),
            security_group=outputs["LoadSecurityGroup"],
            bucket=outputs["ArtifactsBucket"],
        )


class LoadFleet:
    """A load in tasks of their own. Create it by `start`."""

    def __init__(
        self,
        session: ClientSource,
        place: Place,
        artifacts: Artifacts,
        load: Load,
        tasks: tuple[str, ...],
        out_dir: Path,
        *,
        now: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._session = session
        self._place = place
        self._artifacts = artifacts
        self._load = load
        self._tasks = tasks
        self._out_dir = out_dir
        self._now = now
        self._sleep = sleep
        self._closed = False

    @classmethod
    def start(
        cls,
        session: ClientSource,
        place: Place,
        plan: LoadPlan,
        out_dir: Path,
        *,
        run_id: str,
        tasks: int,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> LoadFleet:
        """Start the tasks, order the load when all are ready, and wait for its common start.

        Raises CloudError if a task does not start.
        """
        artifacts = Artifacts(s3=session.client("s3"), bucket=place.bucket, run_id=run_id)
        # Refuses a wrong number before any task starts. The order follows when all are ready.
        Load(plan=plan, shards=tasks, starts_at_ms=1).shard(0)
        arns: list[str] = []
        try:
            for index in range(tasks):
                arns.append(_run_task(session, place, run_id, index))  # noqa: PERF401 - the others are stopped if one fails
            _await_ready(session, place, artifacts, tuple(arns), now=now, sleep=sleep)
            load = Load(plan=plan, shards=tasks, starts_at_ms=round((now() + LEAD_S) * 1_000))
            order_load(artifacts, load)
        except BaseException as error:
            try:
                _stop_tasks(session, place.cluster, arns, "the load could not be started")
            except CloudError as still_running:
                # They end by themselves when no load is ordered; the stack's deletion stops them before.
                error.add_note(f"and {still_running}")
            raise
        fleet = cls(session, place, artifacts, load, tuple(arns), out_dir, now=now, sleep=sleep)
        while (left_s := load.starts_at_ms / 1_000 - now()) > 0:
            sleep(left_s)
        return fleet

    @property
    def started_at(self) -> float:
        """The common start in epoch seconds."""
        return self._load.starts_at_ms / 1_000

    def progress(self) -> dict[str, Any] | None:
        """Return the counters of all tasks, added; None before the first of each.

        `p95_ms_last` is the largest of the tasks. Raises EvidenceMissing if a task died.
        """
        self._check_tasks()
        names = (f"{PROGRESS}/{shard_name(index)}.json" for index in range(self._load.shards))
        found = [one for name in names if (one := self._artifacts.get_json(name)) is not None]
        if len(found) < self._load.shards:
            return None
        p95s = [one["p95_ms_last"] for one in found if one.get("p95_ms_last") is not None]
        added = {name: sum(one[name] for one in found) for name in ADDED}
        progress = {**found[0], **added, "t": min(one["t"] for one in found), "p95_ms_last": max(p95s, default=None)}
        self._out_dir.mkdir(parents=True, exist_ok=True)
        write_json(self._out_dir / PROGRESS_FILE, progress)
        return progress

    def finish(self, timeout_s: float = FINISH_S_MAX) -> LoadStats:
        """End all shards at one operation, wait for the tasks, merge their histories, and return what was done.

        Raises EvidenceMissing if a task died, is not over in time, or left no part of this load.
        """
        end_load(self._artifacts, self._now())
        deadline_s = self._now() + max(timeout_s, FINISH_S_MAX)
        while states := [one for one in self._states() if one["lastStatus"] != STOPPED]:
            if self._now() > deadline_s:
                raise EvidenceMissing(f"load: {len(states)} of {len(self._tasks)} tasks did not end in time")
            self._sleep(READY_POLL_S)
        self._check_tasks()
        self._closed = True
        with tempfile.TemporaryDirectory() as work_dir:
            return stats_of(dict(fetch_history(self._artifacts, self._load, Path(work_dir), self._out_dir)))

    def close(self) -> None:
        """Stop the tasks now. Safe to call at any time."""
        if not self._closed:
            self._closed = True
            _stop_tasks(self._session, self._place.cluster, self._tasks, "the run is over")

    def _states(self) -> list[dict[str, Any]]:
        return _describe(self._session, self._place.cluster, self._tasks)

    def _check_tasks(self) -> None:
        """Raise EvidenceMissing for a task that ended in another way than by finishing its shard."""
        states = {one["taskArn"]: one for one in self._states()}
        for index, arn in enumerate(self._tasks):
            if arn not in states:
                raise EvidenceMissing(f"load: task of shard {index} of {len(self._tasks)} is gone")
            if reason := _failure(self._artifacts, index, states[arn]):
                raise EvidenceMissing(f"load: task of shard {index} of {len(self._tasks)} died: {reason}")


def _run_task(session: ClientSource, place: Place, run_id: str, index: int) -> str:
    command = ["python", "-m", "kit.load.task", "--bucket", place.bucket, "--run-id", run_id, "--shard", str(index)]
    network = {"subnets": list(place.subnets), "securityGroups": [place.security_group], "assignPublicIp": "ENABLED"}
    with cloud_errors(f"starting load task {index}"):
        answer = session.client("ecs").run_task(
            cluster=place.cluster,
            taskDefinition=place.task_definition,
            launchType="FARGATE",
            startedBy=run_id[:36],
            networkConfiguration={"awsvpcConfiguration": network},
            overrides={"containerOverrides": [{"name": CONTAINER, "command": command}]},
        )
    if answer["failures"]:
        raise CloudError(f"starting load task {index}: {answer['failures'][0].get('reason', 'no reason given')}")
    return answer["tasks"][0]["taskArn"]


def _await_ready(
    session: ClientSource,
    place: Place,
    artifacts: Artifacts,
    arns: tuple[str, ...],
    *,
    now: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    deadline_s = now() + READY_S_MAX
    waiting = set(range(len(arns)))
    while waiting:
        waiting -= {index for index in waiting if artifacts.get_json(f"{READY}/{shard_name(index)}.json") is not None}
        for state in _describe(session, place.cluster, arns):
            if state["lastStatus"] == STOPPED:
                index = arns.index(state["taskArn"])
                raise CloudError(f"load task {index} did not start: {_reason(artifacts, index, state)}")
        if waiting and now() > deadline_s:
            raise CloudError(f"{len(waiting)} of {len(arns)} load tasks were not ready within {READY_S_MAX:g} s")
        if waiting:
            sleep(READY_POLL_S)


def _describe(session: ClientSource, cluster: str, arns: tuple[str, ...]) -> list[dict[str, Any]]:
    """Describe the tasks; there are fewer than the hundred that one call may name."""
    with cloud_errors("load tasks"):
        return session.client("ecs").describe_tasks(cluster=cluster, tasks=list(arns))["tasks"]


def _stop_tasks(session: ClientSource, cluster: str, arns: Sequence[str], reason: str) -> None:
    """Stop all tasks. Raises CloudError for the first that cannot be stopped, after asking for the others."""
    failed: list[CloudError] = []
    for arn in arns:
        try:
            with cloud_errors(f"stopping load task {arn}"):
                session.client("ecs").stop_task(cluster=cluster, task=arn, reason=reason)
        except CloudError as error:
            failed.append(error)
    if failed:
        raise failed[0]


def _failure(artifacts: Artifacts, index: int, state: Mapping[str, Any]) -> str:
    """Say how a task ended; "" if it runs, or ended because its shard was finished."""
    if state["lastStatus"] != STOPPED:
        return ""
    return "" if _exit_codes(state) == [0] else _reason(artifacts, index, state)


def _reason(artifacts: Artifacts, index: int, state: Mapping[str, Any]) -> str:
    """Say why a task ended: in ECS's words, and in its own if it left any."""
    shown = ", ".join("no exit code" if code is None else f"exit code {code}" for code in _exit_codes(state))
    told = artifacts.get_json(f"{FAILED}/{shard_name(index)}.json")
    own = "" if told is None else f": {_shortened(str(told.get('error')))}"
    return f"{state.get('stoppedReason', 'no reason given')} ({shown}){own}"


def _shortened(text: str) -> str:
    if len(text) <= ERROR_CHARS_FIRST + ERROR_CHARS_LAST:
        return text
    return f"{text[:ERROR_CHARS_FIRST]} … {text[-ERROR_CHARS_LAST:]}"


def _exit_codes(state: Mapping[str, Any]) -> list[int | None]:
    return [container.get("exitCode") for container in state["containers"]]
