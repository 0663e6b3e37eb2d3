"""aws:ssm:start-automation-execution: run an SSM automation; the action lasts as long as the automation does.

However the experiment ends, the undo cancels the automation and waits for its onCancel steps: only the runbook knows
how to revert what the automation changed.

Unlike AWS: a runbook may use the actions that the local SSM has (docs/fidelity.md), as the caller, not as a role.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from kit.durations import duration_s
from kit.local.fis.actions.context import ActionContext
from kit.local.fis.collaborators import Collaborators
from kit.local.fis.errors import ConfigurationFailure, DependentServiceFailure
from kit.local.fis.journal import Entry
from kit.local.ssm.errors import SsmError
from kit.local.ssm.executions import COMPLETED_WITH_SUCCESS, SUCCESS

UNDO_KIND = "ssm-automation"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartAutomationExecution:
    """`values` are the document's parameters, each a list of strings as the API takes them."""

    document: str
    version: str | None = None
    values: Mapping[str, list[str]] = field(default_factory=dict)
    duration_s_max: float

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        return cls(
            document=parameters["documentArn"],
            version=parameters.get("documentVersion"),
            values=_values(parameters.get("documentParameters")),
            duration_s_max=duration_s(parameters["maxDuration"]) or 0.0,
        )

    async def start(self, context: ActionContext) -> None:
        """Start the automation and wait for its end."""
        automations = context.services.ssm.automations
        execution_id = str(uuid.uuid4())
        # The id is chosen and written down first, so that an automation is found again after a kill during its start.
        context.remember(UNDO_KIND, {"execution": execution_id})
        try:
            tags = {"aws:fis:experiment-id": context.experiment_id}
            execution = automations.start(
                self.document, self.version, self.values, execution_id=execution_id, tags=tags
            )
        except SsmError as error:
            raise ConfigurationFailure(f"automation {self.document}: {error.code}: {error}") from error
        try:
            await asyncio.wait_for(automations.wait(execution_id), self.duration_s_max)
        except TimeoutError:
            raise DependentServiceFailure(
                f"automation {execution_id} of {execution.document} did not end within {self.duration_s_max:g} s"
            ) from None
        if execution.status not in (SUCCESS, COMPLETED_WITH_SUCCESS):
            raise DependentServiceFailure(
                f"automation {execution_id} of {execution.document} ended {execution.status}: {execution.failure}"
            )


async def undo(services: Collaborators, entry: Entry) -> None:
    """Cancel the automation and wait until it has reverted its changes.

    After a restart, the automation's own journal has already begun the repair. An unknown automation never started or
    has been repaired.
    """
    execution = await services.ssm.automations.cancel(entry.data["execution"])
    if execution is not None and not execution.is_settled:
        raise DependentServiceFailure(
            f"automation {execution.id} of {execution.document} ended {execution.status} in step {execution.current}: "
            f"{execution.failure}"
        )


def _values(text: str | None) -> dict[str, list[str]]:
    """Read `{"Name": "value"}` or `{"Name": ["value", …]}`; numbers and booleans become text."""
    if text is None:
        return {}
    try:
        given = json.loads(text)
    except ValueError as error:
        raise ConfigurationFailure(f"documentParameters {text!r} is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise ConfigurationFailure(f"documentParameters {text!r} must be a JSON object")
    return {name: [_text(item) for item in (value if isinstance(value, list) else [value])]
            for name, value in given.items()}  # fmt: skip


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
