"""Start and stop AWS Fault Injection Service, and answer its requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from kit.local.fis import ministack, operations, wire
from kit.local.fis.actions import UNDO
from kit.local.fis.cloudformation import resource_handlers
from kit.local.fis.collaborators import Collaborators
from kit.local.fis.control_plane import ControlPlane
from kit.local.fis.engine import undo
from kit.local.fis.errors import FisError
from kit.local.fis.journal import Journal
from kit.local.patching import Patches

# The server gives each service three seconds to stop; the undo of faults has to fit into that.
STOP_S_MAX = 2.5


class Fis:
    """AWS Fault Injection Service."""

    def __init__(self, services: Collaborators) -> None:
        self._services = services
        self._journal = Journal(services.state_dir)
        self.control_plane = ControlPlane(services, self._journal)
        self._patches = Patches()
        self._unsubscribe: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Undo what a killed process left in force, then serve."""
        for entry in self._journal.load():
            if entry.kind in UNDO:
                await undo(self._services, self._journal, entry)
        self.control_plane.load()
        self._loop = asyncio.get_running_loop()
        self._unsubscribe = self._services.alarms.subscribe(self._on_alarm)
        ministack.install(self._patches, self.handle, resource_handlers(self.control_plane))

    async def stop(self) -> None:
        """Stop every experiment, and wait at most STOP_S_MAX until its faults are undone."""
        await self.control_plane.shut_down(STOP_S_MAX)
        self._patches.undo()
        self._unsubscribe()
        self._unsubscribe = lambda: None

    async def handle(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, query_params: Mapping[str, Any]
    ) -> wire.Reply:
        """Answer one request, as MiniStack hands it over."""
        try:
            operation, request = wire.read(method, path, body, query_params)
            reply = wire.answer(operations.OPERATIONS[operation](self.control_plane, request))
            if method != "GET":
                self.control_plane.save()
            return reply
        except FisError as error:
            return wire.refuse(error)

    def _on_alarm(self, arn: str, old_state: str, new_state: str) -> None:
        if new_state == "ALARM":
            # CloudFormation changes alarms from worker threads; experiments run on the loop.
            self._loop.call_soon_threadsafe(self.control_plane.end_guarded_by, arn)
