"""Keep the execution environments of all functions: one for each concurrent invocation, warm for a while."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from kit.local.functions import code_folder, outcomes
from kit.local.functions.code_folder import CodeInvalid
from kit.local.functions.definition import Definition
from kit.local.functions.identity import Identities, endpoint_of
from kit.local.functions.outcomes import Outcome
from kit.local.functions.sandbox import INIT_S_MAX, InitFailed, Sandbox

# AWS does not say how long; some minutes are usual.
IDLE_S_MAX = 300.0
REAP_EVERY_S = 5.0
# Environments of this cloud in all, and so its concurrency: each is a process of some 10 MB or more.
SANDBOXES_MAX = 200

log = logging.getLogger(__name__)


class Pool:
    """The environments of one cloud. Use it from the event loop only."""

    def __init__(self, folder: Path, endpoint_url: str, identities: Identities) -> None:
        self._folder = folder
        self._endpoint_url = endpoint_url
        self._identities = identities
        self._idle: dict[Definition, list[Sandbox]] = {}
        self._all: set[Sandbox] = set()
        self._retired: set[Sandbox] = set()
        self._placed: dict[tuple[str, str, str], int] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._reaping: asyncio.Task[None] | None = None
        self._is_closing = False

    def start(self) -> None:
        """Begin to end environments that are idle for too long."""
        self._reaping = asyncio.create_task(self._reap(), name="functions-reap")

    async def stop(self) -> None:
        """End all environments, and start no more."""
        self._is_closing = True
        if self._reaping is not None:
            self._reaping.cancel()
        for sandbox in tuple(self._all):
            self._end(sandbox)
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def run(
        self, definition: Definition, code: bytes, layers: tuple[bytes, ...], event: str, request_id: str,
        arn: str,
    ) -> tuple[Outcome, str]:  # fmt: skip
        """Run one invocation, and return its outcome and the end of its log."""
        sandbox = self._take(definition)
        if sandbox is not None:
            sandbox.thaw()
            outcome = await sandbox.invoke(event, request_id, arn, definition.timeout_s)
            return self._give_back(sandbox, request_id, outcome)
        try:
            sandbox, left_s = await self._start(definition, code, layers, request_id)
        except (OSError, CodeInvalid) as error:
            log.warning("function cannot start", extra={"function": definition.name, "reason": str(error)})
            failure = {
                "errorType": "Runtime.InvalidEntrypoint",
                "errorMessage": f"RequestId: {request_id} Error: {error}",
            }
            return Outcome(error=failure, survives=False), ""
        except InitFailed as failed:
            return failed.outcome, failed.log
        outcome = await sandbox.invoke(event, request_id, arn, left_s)
        outcome = outcomes.with_init(outcome, sandbox.init_ms)
        return self._give_back(sandbox, request_id, outcome)

    def retire(self, wanted: Callable[[Definition], bool]) -> None:
        """End the environments of functions that were changed or deleted; running ones after their invocation."""
        for definition in [each for each in self._idle if wanted(each)]:
            for sandbox in self._idle.pop(definition):
                self._end(sandbox)
        self._retired |= {sandbox for sandbox in self._all if wanted(sandbox.definition)}

    def _take(self, definition: Definition) -> Sandbox | None:
        while idle := self._idle.get(definition):
            sandbox = idle.pop()
            if not idle:
                del self._idle[definition]
            if sandbox.is_alive:
                return sandbox
            self._end(sandbox)
        return None

    async def _start(
        self, definition: Definition, code: bytes, layers: tuple[bytes, ...], request_id: str
    ) -> tuple[Sandbox, float]:
        """Start and initialise an environment; return it and the time that is left for the invocation."""
        if len(self._all) >= SANDBOXES_MAX:
            self._end_oldest_idle()
        sandbox = await self._new(definition, code, layers)
        try:
            await sandbox.initialise(request_id, INIT_S_MAX)
        except InitFailed as failed:
            if not outcomes.is_timeout(failed.outcome.error):
                raise self._failed(sandbox, request_id, failed) from failed
            self._end(sandbox)
        else:
            return sandbox, definition.timeout_s
        # AWS initialises again, in the time of the invocation.
        began = time.monotonic()
        sandbox = await self._new(definition, code, layers)
        try:
            await sandbox.initialise(request_id, definition.timeout_s)
        except InitFailed as failed:
            raise self._failed(sandbox, request_id, failed) from failed
        return sandbox, max(0.0, definition.timeout_s - (time.monotonic() - began))

    def _failed(self, sandbox: Sandbox, request_id: str, failed: InitFailed) -> InitFailed:
        """Write the log of an invocation that the initialisation failed, and end its environment."""
        sandbox.begin(request_id)
        failed.log = sandbox.finish(request_id, failed.outcome)
        self._end(sandbox)
        return failed

    async def _new(self, definition: Definition, code: bytes, layers: tuple[bytes, ...]) -> Sandbox:
        if self._is_closing:
            raise OSError("the local AWS stops")
        key = (definition.account, definition.region, definition.name)
        number = self._placed.get(key, 0)
        self._placed[key] = number + 1
        root = self._folder / f"{definition.name}-{uuid.uuid4().hex}"
        folder = await asyncio.to_thread(code_folder.unpack, root, code, layers)
        identity = self._identities.issue(definition, endpoint_of(definition, number))
        try:
            sandbox = await Sandbox.start(definition, folder, identity, self._endpoint_url)
        except BaseException:
            self._identities.revoke(identity)
            await asyncio.to_thread(folder.remove)
            raise
        self._all.add(sandbox)
        if self._is_closing:
            self._end(sandbox)
            raise OSError("the local AWS stops")
        return sandbox

    def _give_back(self, sandbox: Sandbox, request_id: str, outcome: Outcome) -> tuple[Outcome, str]:
        tail = sandbox.finish(request_id, outcome)
        if outcome.survives and sandbox not in self._retired and sandbox in self._all:
            sandbox.freeze()
            self._idle.setdefault(sandbox.definition, []).append(sandbox)
        else:
            self._end(sandbox)
        return outcome, tail

    def _end(self, sandbox: Sandbox) -> None:
        if sandbox not in self._all:
            return
        self._all.discard(sandbox)
        self._retired.discard(sandbox)
        self._identities.revoke(sandbox.identity)
        closing = asyncio.create_task(sandbox.close(), name="function-close")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _end_oldest_idle(self) -> None:
        idle = [sandbox for sandboxes in self._idle.values() for sandbox in sandboxes]
        if idle:
            self._end_idle(min(idle, key=lambda sandbox: sandbox.last_used))

    def _end_idle(self, sandbox: Sandbox) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._idle[sandbox.definition].remove(sandbox)
            if not self._idle[sandbox.definition]:
                del self._idle[sandbox.definition]
        self._end(sandbox)

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(REAP_EVERY_S)
            before = time.monotonic() - IDLE_S_MAX
            for sandbox in [each for sandboxes in self._idle.values() for each in sandboxes]:
                if sandbox.last_used < before or not sandbox.is_alive:
                    self._end_idle(sandbox)
