"""The automations of one local cloud: start, stop, follow, and repair of what a killed predecessor left.

Owns the executions and their tasks. How one runs is `runner.py`; what it runs is `documents.py`.
"""

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
from kit.local.ssm.execution_runner import CANCEL, Run
from kit.local.ssm.executions import Execution
from kit.local.ssm.journal import AutomationJournal

ACTIVE_MAX = 100
# AWS keeps executions for 30 days; a local cloud keeps this many.
EXECUTIONS_KEPT_MAX = 1_000
CLIENT_TOKENS_KEPT_MAX = 10_000
# The server gives each part three seconds to stop; repairs come first.
STOP_S_MAX = 2.5

log = logging.getLogger(__name__)


class Automations:
    """All executions; ids are unique over accounts and regions."""

    def __init__(self, documents: Documents, caller: ApiCaller, journal: AutomationJournal) -> None:
        self._documents = documents
        self._caller = caller
        self._journal = journal
        self._executions: dict[str, Execution] = {}
        self._runs: dict[str, Run] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._tokens: dict[str, tuple[str, str]] = {}

    def repair(self) -> None:
        """Put back what the executions of a killed predecessor had changed; this only begins it."""
        for record in self._journal.load():
            try:
                execution = Execution.of_record(record)
            except (SsmError, KeyError, TypeError) as error:
                # The record of another version of ourselves: the file stays, for whoever reads the log.
                log.error("automation record unusable", extra={"execution": record.get("id"), "reason": repr(error)})
                continue
            log.warning("automation repaired", extra={"execution": execution.id, "step": execution.current})
            run = self._keep(execution)
            self._launch(run, run.repair(record["is_repairing"]))

    async def close(self) -> None:
        """Cancel what runs, wait (bounded) until it has put back what it changed."""
        for run in list(self._runs.values()):
            run.stop(CANCEL)
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
        """Start a document of the caller's account and region."""
        document = self._documents.find(document_name)
        if document is None:
            raise AutomationDefinitionNotFound(f"automation document {document_name} does not exist")
        try:
            wanted = document.version(version)
        except InvalidDocumentVersion as error:
            raise AutomationDefinitionVersionNotFound(str(error)) from error
        if len(self._runs) >= ACTIVE_MAX:
            raise AutomationLimitExceeded(f"{len(self._runs) + 1} active automations exceed the quota of {ACTIVE_MAX}")
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
        run = self._keep(execution)
        self._launch(run, run.run())
        return execution

    def start_once(self, token: str | None, request: Mapping[str, Any], **options: Any) -> str:
        """Start by a StartAutomationExecution request, once a client token; the execution's id."""
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
        """An execution of the caller's account and region, or AutomationNotFound."""
        execution = self._executions.get(execution_id)
        if execution is None or (execution.account, execution.region) != (get_account_id(), get_region()):
            raise AutomationNotFound(f"automation execution {execution_id} does not exist")
        return execution

    def all(self) -> list[Execution]:
        """Those of the caller's account and region, newest first."""
        here = (get_account_id(), get_region())
        found = [each for each in self._executions.values() if (each.account, each.region) == here]
        return list(reversed(found))

    def stop(self, execution_id: str, kind: str) -> None:
        """Cancel or complete an execution of the caller's."""
        execution = self.get(execution_id)
        if not execution.is_active:
            raise InvalidAutomationStatusUpdate(f"automation execution {execution_id} is {execution.status}: it ended")
        self._runs[execution_id].stop(kind)

    async def wait(self, execution_id: str) -> Execution | None:
        """Wait until an execution has ended; None for one that nobody knows (any more)."""
        execution = self._executions.get(execution_id)
        run = self._runs.get(execution_id)
        if run is not None:
            await run.ended.wait()
        return execution

    async def cancel(self, execution_id: str) -> Execution | None:
        """Cancel it if it still runs, and wait until it has put back what it changed. Safe to repeat."""
        run = self._runs.get(execution_id)
        if run is not None:
            run.stop(CANCEL)
        return await self.wait(execution_id)

    def _keep(self, execution: Execution) -> Run:
        ended = [each.id for each in self._executions.values() if not each.is_active]
        for execution_id in ended[: max(0, len(self._executions) + 1 - EXECUTIONS_KEPT_MAX)]:
            del self._executions[execution_id]
        self._executions[execution.id] = execution
        return Run(execution, self._caller, self._journal)

    def _launch(self, run: Run, running: Any) -> None:
        execution_id = run.execution.id
        self._runs[execution_id] = run
        task = asyncio.get_running_loop().create_task(running, name=f"ssm-{execution_id}")
        self._tasks[execution_id] = task
        task.add_done_callback(lambda _: (self._runs.pop(execution_id, None), self._tasks.pop(execution_id, None)))
