"""Hold the state of one experiment, and describe it as the API does."""

import asyncio
import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ministack.core.responses import get_account_id, get_region

from kit.local.fis.resources import Resource
from kit.local.fis.targets import ResolvedTarget
from kit.local.fis.templates import Template, arn_of, make_id

PENDING = "pending"
INITIATING = "initiating"
RUNNING = "running"
COMPLETED = "completed"
STOPPING = "stopping"
STOPPED = "stopped"
FAILED = "failed"
CANCELLED = "cancelled"
SKIPPED = "skipped"

ENDED = frozenset({COMPLETED, STOPPED, FAILED, CANCELLED})
REASON_CHARS_MAX = 512


@dataclass(slots=True, kw_only=True)
class ActionState:
    """The state of one action of an experiment."""

    name: str
    definition: Mapping[str, Any]
    status: str = PENDING
    reason: str = "Initial state"
    started_at: float | None = None
    ended_at: float | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def describe(self) -> dict[str, Any]:
        """Return the action as the API describes it."""
        keys = ("actionId", "description", "parameters", "targets", "startAfter")
        return {
            **{key: self.definition.get(key) for key in keys},
            "state": {"status": self.status, "reason": self.reason[:REASON_CHARS_MAX]},
            "startTime": self.started_at,
            "endTime": self.ended_at,
        }


@dataclass(slots=True, kw_only=True)
class Experiment:
    """The state of one experiment, with a copy of its template at the start."""

    id: str
    arn: str
    account_id: str
    region: str
    template: Template
    actions_mode: str
    tags: dict[str, str]
    actions: dict[str, ActionState]
    status: str = PENDING
    reason: str = "Experiment is pending."
    error: dict[str, str] | None = None
    created_at: float
    started_at: float | None = None
    ended_at: float | None = None
    resolved: list[ResolvedTarget] = field(default_factory=list)
    # Log records to be delivered to S3.
    log_lines: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, template: Template, *, actions_mode: str, tags: Mapping[str, str]) -> "Experiment":
        """Make a new experiment, pending."""
        experiment_id = make_id("EXP")
        snapshot = copy.deepcopy(template)
        return cls(
            id=experiment_id,
            arn=arn_of("experiment", experiment_id),
            account_id=get_account_id(),
            region=get_region(),
            template=snapshot,
            actions_mode=actions_mode,
            tags=dict(tags),
            actions={
                name: ActionState(name=name, definition=definition) for name, definition in snapshot["actions"].items()
            },
            created_at=time.time(),
        )

    @property
    def is_active(self) -> bool:
        """Whether its state is not final yet."""
        return self.status not in ENDED

    def describe(self) -> dict[str, Any]:
        """Return the experiment as GetExperiment describes it."""
        return {
            **self.summary(),
            "roleArn": self.template["roleArn"],
            "targets": self.template["targets"],
            "actions": {name: action.describe() for name, action in self.actions.items()},
            "stopConditions": self.template["stopConditions"],
            # StartExperiment tells a start time already, while the experiment is initiating.
            "startTime": self.started_at or self.created_at,
            "endTime": self.ended_at,
            "logConfiguration": self.template.get("logConfiguration"),
            "targetAccountConfigurationsCount": 0,
            "experimentReportConfiguration": self.template.get("experimentReportConfiguration"),
            "experimentReport": self._report(),
        }

    def summary(self) -> dict[str, Any]:
        """Return the experiment as ListExperiments describes it."""
        return {
            "id": self.id,
            "arn": self.arn,
            "experimentTemplateId": self.template["id"],
            "state": {"status": self.status, "reason": self.reason[:REASON_CHARS_MAX], "error": self.error},
            "creationTime": self.created_at,
            "tags": self.tags,
            "experimentOptions": {**self.template["experimentOptions"], "actionsMode": self.actions_mode},
        }

    def resolved_targets(self, target_name: str | None) -> list[dict[str, Any]]:
        """Return the targets as ListExperimentResolvedTargets describes them."""
        return [
            {"resourceType": target.type, "targetName": target.name, "targetInformation": {"arn": resource.arn}}
            for target in self.resolved
            for resource in target.resources
            if target_name in (None, target.name)
        ]

    def targets_of(self, action: ActionState) -> dict[str, tuple[Resource, ...]]:
        """Return the resources by the slots of the action."""
        by_name = {target.name: target.resources for target in self.resolved}
        return {slot: by_name.get(name, ()) for slot, name in (action.definition.get("targets") or {}).items()}

    def _report(self) -> dict[str, Any] | None:
        if not self.template.get("experimentReportConfiguration"):
            return None
        # The local AWS makes no PDF, and reports that as a failure.
        error = {"code": "NotSupported"}
        return {"state": {"status": "failed", "reason": "The local AWS makes no reports.", "error": error}}
