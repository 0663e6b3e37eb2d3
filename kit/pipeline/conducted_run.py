"""Conduct one run with the state machine: deploy PaperBroker, start the execution, follow it, fetch its results.

The state machine conducts by itself and needs nobody who follows it. Who deployed PaperBroker's stack deletes it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kit import aws, build, deploy, scenarios
from kit.errors import EvidenceMissing, KitError, UsageError
from kit.files import make_folder, read_object
from kit.gameday import Parameters, connect, deploy_build, publish, push_build
from kit.gameday.commands import standing_cloud
from kit.gameday.evidence import TEMPLATE
from kit.gameday.load_plan import load_plan, write_past
from kit.load.artifacts import Artifacts
from kit.model import Deployment, Verdict
from kit.notebook import partial_record
from kit.parameter_specs import RUN_PARAMETERS
from kit.past import FOLDER as PAST
from kit.pipeline import conductor_stack, execution
from kit.pipeline.conductor_stack import Conductor
from kit.pipeline.execution import SUCCEEDED, Ending, Step
from kit.pipeline.judge import EXECUTION, EXPERIMENT, JUNIT, LOAD_SUMMARY, REPORT, VERDICT
from kit.pipeline.run_plan import EVIDENCE, RunPlan, parameters_of, plan_run, write_plan
from kit.verdict import gate

RESULTS = (VERDICT, JUNIT, REPORT, EXPERIMENT, EXECUTION, LOAD_SUMMARY, "diagnostics.json")
# The state machine's own time-outs end first.
SLACK_S = 300
DIGEST_CHARS = 19

Say = Callable[[str], None]
Connect = Callable[[Parameters], tuple[aws.Session, aws.LocalCloud | None]]


class ConductedRun:
    """One run. Call `deploy`, `start`, `follow`, `fetch`, and `close` whatever happens.

    `connect` returns a session, and the local AWS if one was started for this run, which ends with it. `members`: ids
    of processes of this machine that work for the run, beside this one and its local AWS.
    """

    def __init__(
        self, parameters: Parameters, *, say: Say, connect: Connect = connect, members: Sequence[int] = ()
    ) -> None:
        if parameters.run_id == conductor_stack.NAME:
            raise UsageError(f"run_id={parameters.run_id!r} is the name of the conductor; choose another")
        self.parameters = parameters_of(parameters)
        self.run_dir = self.parameters.run_dir
        self.execution = ""
        self.ending: Ending | None = None
        self._scenario = scenarios.get(parameters.scenario)
        self._started_at = time.time()
        self._say = say
        self._connect = connect
        self._members = tuple(members)
        self._session: aws.Session | None = None
        self._cloud: aws.LocalCloud | None = None
        self._conductor: Conductor | None = None
        self._plan: RunPlan | None = None
        self._deployed = False

    def deploy(self) -> None:
        """Bring up the conductor, PaperBroker with the change, and the past of its ledger; write the run's plan."""
        p = self.parameters
        make_folder(self.run_dir)
        self._session, self._cloud = self._connect(p)
        session = self._session
        self._conductor = conductor_stack.up(session)
        self._say(f"conductor {self._conductor.state_machine}")
        image = push_build(session, p)
        self._say(
            f"run {p.run_id}: image {image.digest[:DIGEST_CHARS]}" + (f" with change {p.change}" if p.change else "")
        )
        # From here on there may be a stack, also if its creation fails in the middle.
        self._deployed = True
        deployment = deploy_build(session, self._scenario, image, p)
        self._say(f"stack {deployment.stack_name} is up at {deployment.api_url}")
        plan, items = write_past(session, deployment, load_plan(self._scenario, p, deployment), p)
        self._say(f"{p.past_orders:,} earlier orders: {items:,} items written")
        self._plan = self._planned(deployment, image, plan)
        self._upload(self._plan)

    def start(self) -> str:
        """Start the execution; returns its ARN."""
        assert self._session and self._conductor, "deployed"
        self.execution = execution.start(self._session, self._conductor.state_machine, self.parameters.run_id)
        return self.execution

    def follow(self, *, stopped_by: Sequence[str] = (), on_step: Callable[[Step], None]) -> Ending:
        """Follow the execution to its end; stop it as soon as `stopped_by` names a signal."""
        assert self._session and self._plan, "started"
        asked = False

        def sleep(s: float) -> None:
            nonlocal asked
            if stopped_by and not asked:
                asked = True
                self._say(f"stopping the execution: {stopped_by[0]}")
                execution.stop(self._session, self.execution, cause=f"stopped by {stopped_by[0]}")  # type: ignore[arg-type]
            time.sleep(s)

        timeout_s = self._plan.times["watch_s_max"] + self._plan.times["judge_s_max"] + SLACK_S
        for seen in execution.follow(self._session, self.execution, timeout_s=timeout_s, sleep=sleep):
            if isinstance(seen, Ending):
                self.ending = seen
            else:
                on_step(seen)
        assert self.ending is not None, "the last one is the ending"
        return self.ending

    def fetch(self) -> dict[str, Any]:
        """Download evidence and results into the run's folder, and return the verdict record.

        Without a record, or with one that the execution's end contradicts, the run is INVALID.
        """
        artifacts = self._artifacts()
        artifacts.download(EVIDENCE, self.run_dir)
        for name in RESULTS:
            artifacts.fetch(name, self.run_dir / name)
        return verdict_of(self.run_dir, self.ending, self._facts())

    def close(self) -> list[str]:
        """Delete PaperBroker's stack and what was started here; returns what is left of the run. Safe to repeat."""
        left: list[str] = []
        session, run_id = self._session, self.parameters.run_id
        try:
            if session is not None and self._deployed:
                self._deployed = False
                deploy.tear_down(session, f"{deploy.STACK_PREFIX}{run_id}")
                left += deploy.find_stacks(session, run_id=run_id) + deploy.find_buckets(session, run_id=run_id)
        except KitError as error:
            left.append(f"stack of {run_id}: {error}")
        finally:
            if self._cloud is not None:
                self._cloud.close()
                self._cloud = None
        return left

    def _planned(self, deployment: Deployment, image: build.Image, plan: Any) -> RunPlan:
        p = self.parameters
        members = (os.getpid(), *self._members, *((cloud.pid,) if (cloud := self._local()) else ()))
        return plan_run(
            p,
            deployment,
            plan,
            build=image.digest,
            reproduce=self._facts()["reproduce"],
            run_parameters=self._facts()["parameters"],
            started_at=self._started_at,
            members=members if p.target == "local" else (),
        )

    def _local(self) -> aws.LocalCloud | None:
        return self._cloud or (standing_cloud() if self.parameters.target == "local" else None)

    def _facts(self) -> dict[str, Any]:
        """Return the parameters of the run, and the command that repeats it."""
        p = self.parameters
        reproduce = p.reproduce.replace("gameday run", "gameday pipeline run", 1)
        return {"parameters": {name: getattr(p, name) for name in RUN_PARAMETERS}, "reproduce": reproduce}

    def _upload(self, plan: RunPlan) -> None:
        artifacts = self._artifacts()
        paths = [self.run_dir / TEMPLATE, *sorted((self.run_dir / PAST).iterdir())]
        for path in paths:
            artifacts.upload(path, f"{EVIDENCE}/{path.relative_to(self.run_dir).as_posix()}")
        write_plan(artifacts, plan)

    def _artifacts(self) -> Artifacts:
        assert self._session and self._conductor, "deployed"
        s3 = self._session.client("s3")
        return Artifacts(s3=s3, bucket=self._conductor.bucket, run_id=self.parameters.run_id)


def verdict_of(run_dir: Path, ending: Ending | None, facts: dict[str, Any]) -> dict[str, Any]:
    """Return the verdict record that the judge wrote, no better than the end of the execution allows."""
    ended = _ended(ending)
    try:
        record = read_object(run_dir / VERDICT)
        gate.validate(record)
        if record["run_id"] != run_dir.name:
            raise EvidenceMissing(f"{VERDICT} is that of run {record['run_id']}")
    except (EvidenceMissing, KeyError) as error:
        problem = f"the run was not judged: {error}" if (run_dir / VERDICT).exists() else "the run was not judged"
        return partial_record.invalid_record(run_dir, [ended, problem] if ended else [problem], **facts)
    return record if _fits(ending, record["verdict"]) else gate.downgrade(record, [ended or "the execution succeeded"])


def _fits(ending: Ending | None, verdict: str) -> bool:
    """Return whether the execution ended as its gate ends it for this verdict."""
    if ending is None:
        return False
    return ending.status == SUCCEEDED if verdict == Verdict.PASS else ending.error == f"GameDay.{verdict}"


def _ended(ending: Ending | None) -> str:
    if ending is None:
        return "the execution was not followed to its end"
    if ending.status == SUCCEEDED:
        return ""
    return f"the execution ended {ending.status}: {ending.error or 'no error'}: {ending.cause or 'no cause'}"


def with_leftovers(record: dict[str, Any], left: Sequence[str]) -> dict[str, Any]:
    """Return the record of a run that left something behind: FAIL, as for a run that a notebook conducts."""
    if not left:
        return record
    failed = {**record, "verdict": Verdict.FAIL.value}
    changed = {**failed, "reasons": [f"nothing-left-behind: {'; '.join(left)}", *record["reasons"]]}
    gate.validate(changed)
    return changed


def publish_again(run_dir: Path, record: dict[str, Any]) -> None:
    """Write the results of a record that the judge did not write itself."""
    if not (run_dir / VERDICT).exists() or read_object(run_dir / VERDICT) != record:
        publish(run_dir, record)
