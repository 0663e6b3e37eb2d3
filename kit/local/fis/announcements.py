"""Publish what happens in an experiment: EventBridge events and log records (schema version 2).

A failure to publish never fails the experiment: its faults must be undone even when its log group was deleted.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ministack.services import eventbridge

from kit.local.fis import log_delivery
from kit.local.fis.experiments import ActionState, Experiment
from kit.local.fis.targets import ResolvedTarget
from kit.local.publishing import never_raises

EXPERIMENT_EVENT = "FIS Experiment State Change"

log = logging.getLogger(__name__)


@never_raises
def experiment_changed(experiment: Experiment, old_status: str) -> None:
    """Put the EventBridge event of a change of state."""
    detail = {
        "experiment-id": experiment.id,
        "experiment-template-id": experiment.template["id"],
        "new-state": {"status": experiment.status, "reason": experiment.reason},
        "old-state": {"status": old_status},
    }
    entry = {
        "Source": "aws.fis",
        "DetailType": EXPERIMENT_EVENT,
        "Detail": json.dumps(detail),
        "Resources": [experiment.arn],
    }
    eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)


def experiment_started(experiment: Experiment) -> None:
    """Write `experiment-start`."""
    _write(
        experiment,
        "experiment-start",
        {
            "experiment_template_id": experiment.template["id"],
            "experiment_start_time": _iso(experiment.started_at or experiment.created_at),
        },
    )


def experiment_ended(experiment: Experiment) -> None:
    """Write `experiment-end`, and deliver the log to S3."""
    state = {"status": experiment.status, "reason": experiment.reason}
    details = {"experiment_end_time": _iso(experiment.ended_at), "experiment_state": state}
    if experiment.error:
        details["error_information"] = experiment.error
    _write(experiment, "experiment-end", details)
    _deliver(experiment)


def target_resolution_started(experiment: Experiment) -> None:
    """Write `target-resolution-start`."""
    _write(experiment, "target-resolution-start", {"target_resolution_start_time": _iso(None)})


def target_resolved(experiment: Experiment, target: ResolvedTarget) -> None:
    """Write `target-resolution-detail`."""
    resolved = [{"arn": resource.arn} for resource in target.resources]
    details = {
        "target_name": target.name,
        "target_type": target.type,
        "account_id": experiment.account_id,
        "resolved_targets": resolved,
        "page": 1,
        "total_pages": 1,
    }
    _write(experiment, "target-resolution-detail", details)


def target_resolution_ended(experiment: Experiment) -> None:
    """Write `target-resolution-end`."""
    _write(experiment, "target-resolution-end", {"target_resolution_end_time": _iso(None)})


def action_started(experiment: Experiment, action: ActionState, arns: Mapping[str, Sequence[str]]) -> None:
    """Write `action-start`."""
    _write(
        experiment,
        "action-start",
        {
            **_action(action),
            "action_start_time": _iso(action.started_at),
            "action_targets": {slot: ", ".join(each) for slot, each in arns.items()},
            "parameters": dict(action.definition.get("parameters") or {}),
        },
    )


def action_failed(experiment: Experiment, action: ActionState, *, code: str, reason: str) -> None:
    """Write `action-error`."""
    error = {"account_id": experiment.account_id, "error_code": code, "error_message": reason}
    _write(experiment, "action-error", {**_action(action), "error_information": error})


def action_ended(experiment: Experiment, action: ActionState) -> None:
    """Write `action-end`."""
    state = {"status": action.status, "reason": action.reason}
    _write(
        experiment, "action-end", {**_action(action), "action_end_time": _iso(action.ended_at), "action_state": state}
    )


@never_raises
def _deliver(experiment: Experiment) -> None:
    log_delivery.deliver(experiment)


def _action(action: ActionState) -> dict[str, Any]:
    return {"action_name": action.name, "action_id": action.definition["actionId"]}


@never_raises
def _write(experiment: Experiment, log_type: str, details: Mapping[str, Any]) -> None:
    log.info("fis %s", log_type, extra={"experiment": experiment.id, "details": details})
    version = (experiment.template.get("logConfiguration") or {}).get("logSchemaVersion")
    record = {
        "id": experiment.id,
        "log_type": log_type,
        "event_timestamp": _iso(None),
        "version": str(version),
        "details": details,
    }
    log_delivery.write(experiment, record)


def _iso(at: float | None) -> str:
    timestamp = datetime.now(tz=UTC) if at is None else datetime.fromtimestamp(at, tz=UTC)
    return timestamp.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
