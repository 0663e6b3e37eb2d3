"""Start, stop and find automation executions, and repair those of a killed server."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from ministack.core.responses import get_account_id, get_region

from kit.local.ssm import parameters
from kit.local.ssm.api_calls import ApiCaller
from kit.local.ssm.documents import Documents
from kit.local.ssm.errors import (
    AutomationDefinitionNotFound,
    AutomationDefinitionVersionNotFound,
    AutomationLimitExceeded,
    AutomationNotFound,
    IdempotentParameterMismatch,
    InvalidAutomationStatusUpdate,
    InvalidDocumentVersion,
    SsmError,
)
from kit.local.ssm.execution_runner import CANCEL, ExecutionRunner
from kit.local.ssm.executions import Execution
from kit.local.ssm.journal import AutomationJournal

ACTIVE_MAX = 100
# AWS keeps executions for 30 days; the local AWS keeps this many.
EXECUTIONS_KEPT_MAX = 1_000
CLIENT_TOKENS_KEPT_MAX = 10_000
# The server gives each service three seconds to stop.
STOP_S_MAX = 2.5

log = logging.getLogger(__name__)


class Automations:
    """The executions of all accounts and Regions; ids are unique over them."""

    def __init__(self, documents: Documents, caller: ApiCaller, journal: AutomationJournal) -> None:
        self._documents = documents
        self._caller = caller
        self._journal = journal
        self._executions: dict[str, Execution] = {}
        self._runners: dict[str, ExecutionRunner] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._tokens: dict[str, tuple[str, str]] = {}

    def repair(self) -> None:
        """Begin to put back what the executions of a killed server had changed."""
        for record in self._journal.load():
            try:
                execution = Execution.from_record(record)
            except (SsmError, KeyError, TypeError) as error:
                # Another version of the kit wrote the record. Keep the file, so that a person can inspect it.
                log.error("automation record unusable", extra={"execution": record.get("id"), "reason": repr(error)})
                continue
            log.warning("automation repair started", extra={"execution": execution.id, "step": execution.current})
            runner = self._add(execution)
            self._launch(runner, runner.repair(record["is_repairing"]))

    async def close(self) -> None:
        """Cancel the running executions and wait, at most STOP_S_MAX, until they have put back what they changed."""
        for runner in list(self._runners.values()):
            runner.stop(CANCEL)
        if self._tasks:
            _, late = await asyncio.wait(list(self._tasks.values()), timeout=STOP_S_MAX)
            for task in late:
                task.cancel()

    def start(
        self,
        document_name: str,
        version: str | None,
        given: Mapping[str, Sequence[str]],
        *,
        execution_id: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Execution:
        """Start a document of the caller's account and Region."""
        document = self._documents.find(document_name)
        if document is None:
            raise AutomationDefinitionNotFound(f"automation document {document_name} does not exist")
        try:
            wanted = document.version(version)
        except InvalidDocumentVersion as error:
            raise AutomationDefinitionVersionNotFound(str(error)) from error
        if len(self._runners) >= ACTIVE_MAX:
            raise AutomationLimitExceeded(f"{ACTIVE_MAX} automations are active, the quota")
        execution = Execution(
            id=execution_id or str(uuid.uuid4()),
            document=document.name,
            version=str(wanted.number),
            runbook=wanted.runbook,
            parameters=parameters.bind(wanted.runbook.parameters, given),
            account=get_account_id(),
            region=get_region(),
            tags=dict(tags or {}),
        )
        runner = self._add(execution)
        self._launch(runner, runner.run())
        return execution

    def start_once(self, token: str | None, request: Mapping[str, Any], **options: Any) -> str:
        """Serve StartAutomationExecution, once for a client token. Return the execution's id."""
        digest = json.dumps(request, sort_keys=True)
        known = self._tokens.get(token or "")
        if known is not None:
            if known[1] != digest:
                raise IdempotentParameterMismatch(f"ClientToken {token} was used with other parameters")
            return known[0]
        name, version = request["DocumentName"], request.get("DocumentVersion")
        started = self.start(name, version, request.get("Parameters") or {}, **options)
        if token:
            if len(self._tokens) >= CLIENT_TOKENS_KEPT_MAX:
                self._tokens.pop(next(iter(self._tokens)))
            self._tokens[token] = (started.id, digest)
        return started.id

    def get(self, execution_id: str) -> Execution:
        """Return an execution of the caller's account and Region. Raises AutomationNotFound."""
        execution = self._executions.get(execution_id)
        if execution is None or (execution.account, execution.region) != (get_account_id(), get_region()):
            raise AutomationNotFound(f"automation execution {execution_id} does not exist")
        return execution

    def all(self) -> list[Execution]:
        """Return the executions of the caller's account and Region, newest first."""
        here = (get_account_id(), get_region())
        found = [each for each in self._executions.values() if (each.account, each.region) == here]
        return list(reversed(found))

    def stop(self, execution_id: str, kind: str) -> None:
        """Cancel an execution of the caller, or complete it after its present step."""
        execution = self.get(execution_id)
        if not execution.is_active:
            raise InvalidAutomationStatusUpdate(f"automation execution {execution_id} has ended as {execution.status}")
        self._runners[execution_id].stop(kind)

    async def wait(self, execution_id: str) -> Execution | None:
        """Wait until an execution has ended, and return it; None if it is unknown."""
        execution = self._executions.get(execution_id)
        runner = self._runners.get(execution_id)
        if runner is not None:
            await runner.ended.wait()
        return execution

    async def cancel(self, execution_id: str) -> Execution | None:
        """Cancel an execution if it runs, and wait until it has put back what it changed. Safe to repeat."""
        runner = self._runners.get(execution_id)
        if runner is not None:
            runner.stop(CANCEL)
        return await self.wait(execution_id)

    def _add(self, execution: Execution) -> ExecutionRunner:
        ended = [each.id for each in self._executions.values() if not each.is_active]
        for execution_id in ended[: max(0, len(self._executions) + 1 - EXECUTIONS_KEPT_MAX)]:
            del self._executions[execution_id]
        self._executions[execution.id] = execution
        return ExecutionRunner(execution, self._caller, self._journal)

    def _launch(self, runner: ExecutionRunner, running: Any) -> None:
        execution_id = runner.execution.id
        self._runners[execution_id] = runner
        task = asyncio.get_running_loop().create_task(running, name=f"ssm-{execution_id}")
        self._tasks[execution_id] = task
        task.add_done_callback(lambda _: (self._runners.pop(execution_id, None), self._tasks.pop(execution_id, None)))
