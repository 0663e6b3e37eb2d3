"""Preview, start, follow and stop an experiment through the FIS API. `proofs` checks what it really did."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from kit.aws.client_errors import ClientSource, cloud_errors, error_code
from kit.errors import FaultError
from kit.faults import guards
from kit.faults.guards import ALLOWED_TAG, RUN_TAG, Target
from kit.model import Deployment, FaultWindow

TERMINAL = frozenset({"completed", "stopped", "failed", "cancelled"})
POLL_S = 0.5
# Resolving targets takes AWS some tens of seconds.
PREVIEW_S_MAX = 180.0
# A guardrail in ALARM stops an experiment at once. After a deployment its alarm needs a while to have data.
GUARDRAIL_SETTLE_S_MAX = 60.0
# The undo of an experiment on AWS may take minutes (network ACLs are put back one by one).
STOP_S_MAX = 300.0
# FIS is polled twice a second; after this many failures in a row the experiment counts as lost.
FAILED_POLLS_MAX = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One experiment as FIS last described it. Times are epoch seconds, None = not yet.

    `actions`: {name, action_id, status, reason, start, end, duration, parameters, targets}; `alarms`: ARNs of its stop
    conditions; `targets`: as the guards described them when it was started.
    """

    id: str
    template_id: str
    run_id: str
    status: str
    reason: str
    started_at: float | None
    ended_at: float | None
    actions: tuple[dict[str, Any], ...]
    alarms: tuple[str, ...]
    targets: tuple[Target, ...] = ()

    @property
    def over(self) -> bool:
        return self.status in TERMINAL


def preview(session: ClientSource, template_id: str, deployment: Deployment) -> list[Target]:
    """Return the targets that FIS resolves, without acting on them.

    Raises UnsafeTarget if the template, the stack or a target does not belong to the run, FaultError if a guardrail is
    already in ALARM or FIS resolves no target.
    """
    with cloud_errors(f"preview of {template_id}", FaultError):
        fis = session.client("fis")
        guards.check_stack(session, deployment)
        template = fis.get_experiment_template(id=template_id)["experimentTemplate"]
        guards.check_template(template, deployment)
        _wait_for_guardrails(session, template)
        trial = _begin(fis, template_id, deployment.run_id, actions_mode="skip-all")
        for state in _follow(fis, trial, PREVIEW_S_MAX):
            trial = state
        if trial.status != "completed":
            raise FaultError(f"preview of {template_id} is {trial.status}: {trial.reason}")
        targets = _targets(session, fis, trial.id)
    guards.check_targets(targets, deployment.run_id)
    return targets


def start(session: ClientSource, template_id: str, deployment: Deployment) -> Experiment:
    """Preview the experiment, so that no caller can skip the guards, then start it. Raises as `preview` does."""
    preview(session, template_id, deployment)
    with cloud_errors(f"start of {template_id}", FaultError):
        return _begin(session.client("fis"), template_id, deployment.run_id, actions_mode="run-all")


def watch(session: ClientSource, experiment: Experiment, *, timeout_s: float) -> Iterator[Experiment]:
    """Yield the experiment at every poll until it is over.

    Stops it and raises FaultError when it is not over within `timeout_s` or cannot be followed.
    """
    fis = session.client("fis")
    with cloud_errors(f"experiment {experiment.id}", FaultError):
        try:
            yield from _follow(fis, experiment, timeout_s)
        except (FaultError, ClientError):
            stop(session, experiment.id)
            raise


def stop(session: ClientSource, experiment_id: str, *, timeout_s: float = STOP_S_MAX) -> Experiment:
    """Stop an experiment, wait until its faults are undone, and return its last state. One that is over stays so."""
    with cloud_errors(f"stop of experiment {experiment_id}", FaultError):
        fis = session.client("fis")
        with suppress(fis.exceptions.ConflictException, fis.exceptions.ValidationException):
            fis.stop_experiment(id=experiment_id)
        asked = _read(fis, experiment_id)
        *_, last = _follow(fis, asked, timeout_s)
    return last


def stop_all(session: ClientSource, run_id: str) -> list[str]:
    """Stop every experiment of a run that is not over, and return their ids."""
    with cloud_errors(f"experiments of run {run_id}", FaultError):
        pages = session.client("fis").get_paginator("list_experiments").paginate()
        open_ones = [
            found["id"]
            for page in pages
            for found in page["experiments"]
            if found.get("tags", {}).get(RUN_TAG) == run_id and found["state"]["status"] not in TERMINAL
        ]
    for experiment_id in open_ones:
        stop(session, experiment_id)
    return open_ones


def acting_experiment(session: ClientSource, run_id: str) -> Experiment | None:
    """Return the experiment of a run that acts, previews left out; None if none was started.

    Raises FaultError for more than one, because nobody could say which fault the run had.
    """
    with cloud_errors(f"experiments of run {run_id}", FaultError):
        fis = session.client("fis")
        pages = fis.get_paginator("list_experiments").paginate()
        ids = [one["id"] for page in pages for one in page["experiments"] if one.get("tags", {}).get(RUN_TAG) == run_id]
        found = [fis.get_experiment(id=each)["experiment"] for each in ids]
    acting = [one for one in found if one.get("experimentOptions", {}).get("actionsMode") != "skip-all"]
    if len(acting) > 1:
        raise FaultError(f"run {run_id} has {len(acting)} experiments: {', '.join(one['id'] for one in acting)}")
    return _experiment(acting[0]) if acting else None


def unproven(experiment: Experiment) -> FaultWindow:
    """Describe an experiment by what FIS says alone; that its fault took effect is not proven."""
    return FaultWindow(
        experiment_id=experiment.id,
        template=experiment.template_id,
        status=experiment.status,
        reason=experiment.reason,
        actions=tuple({**action, "proof": "not proven, FIS says so"} for action in experiment.actions),
        targets=tuple(experiment.targets),
        injected_at=experiment.started_at,
        ended_at=experiment.ended_at,
    )


def refresh(session: ClientSource, experiment: Experiment) -> Experiment:
    """Read the experiment from FIS again, with its resolved targets."""
    with cloud_errors(f"experiment {experiment.id}", FaultError):
        fis = session.client("fis")
        return _read(fis, experiment.id, targets=tuple(_targets(session, fis, experiment.id)))


def _wait_for_guardrails(session: ClientSource, template: Mapping[str, Any]) -> None:
    arns = [condition["value"] for condition in template["stopConditions"] if condition.get("value")]
    names = [arn.rsplit(":alarm:", 1)[-1] for arn in arns]
    deadline = time.monotonic() + GUARDRAIL_SETTLE_S_MAX
    while names:
        alarms = session.client("cloudwatch").describe_alarms(AlarmNames=names, StateValue="ALARM")
        ringing = [alarm["AlarmName"] for alarm in alarms["MetricAlarms"]]
        if not ringing:
            return
        if time.monotonic() >= deadline:
            raise FaultError(
                f"guardrail {ringing[0]} is in ALARM before the experiment, still after {GUARDRAIL_SETTLE_S_MAX:g} s"
            )
        time.sleep(POLL_S)


def _begin(fis: Any, template_id: str, run_id: str, *, actions_mode: str) -> Experiment:
    key, value = ALLOWED_TAG
    answer = fis.start_experiment(
        # Botocore may retry a lost answer: a token of our own keeps the retry from starting a second experiment.
        clientToken=str(uuid.uuid4()),
        experimentTemplateId=template_id,
        experimentOptions={"actionsMode": actions_mode},
        tags={key: value, RUN_TAG: run_id},
    )
    return _experiment(answer["experiment"])


def _follow(fis: Any, experiment: Experiment, timeout_s: float) -> Iterator[Experiment]:
    deadline, failures = time.monotonic() + timeout_s, 0
    while True:
        try:
            experiment, failures = _read(fis, experiment.id), 0
        except ClientError as error:
            failures += 1
            if failures >= FAILED_POLLS_MAX:
                raise FaultError(f"experiment {experiment.id} cannot be followed: {error_code(error)}") from error
        yield experiment
        if experiment.over:
            return
        if time.monotonic() >= deadline:
            raise FaultError(f"experiment {experiment.id} is {experiment.status}, not over within {timeout_s:g} s")
        time.sleep(POLL_S)


def _read(fis: Any, experiment_id: str, targets: tuple[Target, ...] = ()) -> Experiment:
    return _experiment(fis.get_experiment(id=experiment_id)["experiment"], targets)


def _targets(session: ClientSource, fis: Any, experiment_id: str) -> list[Target]:
    pages = fis.get_paginator("list_experiment_resolved_targets").paginate(experimentId=experiment_id)
    return guards.describe_targets(session, [entry for page in pages for entry in page["resolvedTargets"]])


def _experiment(raw: Mapping[str, Any], targets: tuple[Target, ...] = ()) -> Experiment:
    state = raw["state"]
    error = state.get("error") or {}
    parts = (state.get("reason", ""), error.get("code", ""), error.get("location", ""))
    return Experiment(
        id=raw["id"],
        template_id=raw["experimentTemplateId"],
        run_id=raw.get("tags", {}).get(RUN_TAG, ""),
        status=state["status"],
        reason=" ".join(part for part in parts if part),
        started_at=_epoch(raw.get("startTime")),
        ended_at=_epoch(raw.get("endTime")),
        actions=tuple(_action(name, action) for name, action in raw.get("actions", {}).items()),
        alarms=tuple(condition["value"] for condition in raw.get("stopConditions", []) if condition.get("value")),
        targets=targets,
    )


def _action(name: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    state = raw.get("state", {})
    return {
        "name": name,
        "action_id": raw["actionId"],
        "status": state.get("status", ""),
        "reason": state.get("reason", ""),
        "start": _epoch(raw.get("startTime")),
        "end": _epoch(raw.get("endTime")),
        "duration": raw.get("parameters", {}).get("duration", ""),
        "parameters": dict(raw.get("parameters", {})),
        "targets": list(raw.get("targets", {}).values()),
    }


def _epoch(timestamp: Any) -> float | None:
    return None if timestamp is None else timestamp.timestamp()
