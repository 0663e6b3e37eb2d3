"""The Systems Manager of one local cloud: its parts, its life, and which calls are ours.

Owns the seam to MiniStack's handler. Parameters stay with MiniStack; what nobody serves is refused there by name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ministack import app

from kit.local.patching import Patches
from kit.local.ssm import cloudformation, operations, wire
from kit.local.ssm.api_calls import ApiCaller
from kit.local.ssm.automations import Automations
from kit.local.ssm.documents import Documents
from kit.local.ssm.errors import SsmError, Unsupported
from kit.local.ssm.journal import AutomationJournal
from kit.local.ssm.opsitems import OpsItems

if TYPE_CHECKING:
    from kit.local.cloud import Cloud

SERVICE = "ssm"


class Ssm:
    """AWS Systems Manager."""

    automations: Automations

    def __init__(self) -> None:
        self.documents = Documents()
        self.opsitems = OpsItems()
        self._caller: ApiCaller | None = None
        self._theirs: Any = None
        self._patches = Patches()

    async def start(self, cloud: Cloud) -> None:
        """Serve, and put back what automations of a killed predecessor had changed."""
        self._caller = ApiCaller(cloud.endpoint)
        self.automations = Automations(self.documents, self._caller, AutomationJournal(cloud.state_dir))
        self._theirs = app.SERVICE_HANDLERS[SERVICE]
        self._patches.replace_entry(app, "SERVICE_HANDLERS", SERVICE, self.handle)
        cloudformation.install(self._patches, self.documents)
        self.automations.repair()

    async def stop(self) -> None:
        """Cancel what runs, and give MiniStack its handler back."""
        if self._caller is None:
            return
        await self.automations.close()
        self._caller.close()
        self._patches.undo()

    async def handle(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, query_params: Mapping[str, Any]
    ) -> Any:
        """One request, as MiniStack hands it over."""
        name = wire.operation_of(headers)
        try:
            if name in operations.PRETENDED:
                raise Unsupported(f"the local AWS does not serve ssm {name}: no instance of it runs an agent")
            operation = self._operation(name, body)
            if operation is None:
                return await self._theirs(method, path, headers, body, query_params)
            request = wire.load(body)
            await asyncio.to_thread(wire.model)
            wire.check(name, request)
            return wire.answer(operation(self, request))
        except SsmError as error:
            return wire.refuse(error)

    def _operation(self, name: str, body: bytes) -> Any:
        """Our operation of this name, or None if the call is not ours."""
        if name in operations.TAG_OPERATIONS:
            is_ours = wire.load(body).get("ResourceType") in operations.TAGGED_TYPES
            return operations.TAG_OPERATIONS[name] if is_ours else None
        return operations.OPERATIONS.get(name)
