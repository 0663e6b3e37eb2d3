"""Start and stop the local Step Functions, and answer its requests."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from kit.local.api_clients import ApiClients
from kit.local.patching import Patches
from kit.local.stepfunctions import announcements, ministack, wire
from kit.local.stepfunctions.api_call import Call
from kit.local.stepfunctions.clocks import Clock
from kit.local.stepfunctions.engine import Engine
from kit.local.stepfunctions.errors import ApiError
from kit.local.stepfunctions.operations import OPERATIONS
from kit.local.stepfunctions.tasks.sdk_calls import THREADS_MAX, SdkCalls


class StepFunctions:
    """AWS Step Functions."""

    def __init__(self, endpoint: str, secret: str) -> None:
        clients = ApiClients(endpoint, secret, attempts_max=1, connections_max=THREADS_MAX, is_validating=False)
        self._calls = SdkCalls(clients, ministack.caller)
        self.engine = Engine(
            calls=self._calls, host=urlsplit(endpoint).hostname or "", clock=Clock(),
            on_status=announcements.status_changed, on_event=announcements.event_recorded,
        )  # fmt: skip
        self._patches = Patches()

    async def start(self) -> None:
        """Serve."""
        ministack.install(self._patches, self.handle, self.engine)

    async def stop(self) -> None:
        """Stop all executions and their jobs, and put MiniStack's functions back."""
        await self.engine.close()
        self._calls.close()
        self._patches.undo()

    async def handle(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, query_params: Mapping[str, Any]
    ) -> wire.Reply:
        """Answer one request, as MiniStack hands it over."""
        try:
            account, region = ministack.caller()
            call = Call(engine=self.engine, request=wire.load(body), account=account, region=region)
            answer: Any = OPERATIONS[wire.operation_of(headers)](call)
            return wire.answer(await answer if inspect.isawaitable(answer) else answer)
        except ApiError as error:
            return wire.refuse(error)
