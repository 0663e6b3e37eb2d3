"""Compose, start and stop the local Systems Manager, and route its calls.

MiniStack serves Parameter Store, and refuses the operations that are not served here either.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from kit.local.patching import Patches
from kit.local.ssm import ministack, operations, wire
from kit.local.ssm.api_calls import ApiCaller
from kit.local.ssm.automations import Automations
from kit.local.ssm.documents import Documents
from kit.local.ssm.errors import SsmError
from kit.local.ssm.journal import AutomationJournal
from kit.local.ssm.opsitems import OpsItems


class Ssm:
    """AWS Systems Manager."""

    def __init__(self, state_dir: Path, endpoint: str, secret: str) -> None:
        documents = Documents()
        self._caller = ApiCaller(endpoint, secret)
        self.automations = Automations(documents, self._caller, AutomationJournal(state_dir))
        self._state = operations.State(documents=documents, automations=self.automations, opsitems=OpsItems())
        self._patches = Patches()

    async def start(self) -> None:
        """Serve, and put back what the automations of a killed server had changed."""
        ministack.install(self._patches, self._handle, self._state.documents)
        self.automations.repair()

    async def stop(self) -> None:
        """Cancel the running automations, and put MiniStack's handlers back."""
        await self.automations.close()
        self._caller.close()
        self._patches.undo()

    async def _handle(
        self,
        serve_by_ministack: Callable[..., Awaitable[Any]],
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        query_params: Mapping[str, Any],
    ) -> Any:
        """Serve one request as MiniStack passes it on."""
        name = wire.operation_of(headers)
        try:
            operation = self._operation(name, body)
            if operation is None:
                return await serve_by_ministack(method, path, headers, body, query_params)
            return wire.answer(operation(self._state, wire.load(body)))
        except SsmError as error:
            return wire.refuse(error)

    def _operation(self, name: str, body: bytes) -> Any:
        """Return our operation of this name, or None if MiniStack serves it."""
        if name in operations.TAG_OPERATIONS:
            is_ours = wire.load(body).get("ResourceType") in operations.TAGGED_TYPES
            return operations.TAG_OPERATIONS[name] if is_ours else None
        return operations.OPERATIONS.get(name)
