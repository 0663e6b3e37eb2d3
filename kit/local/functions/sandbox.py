"""Run one execution environment of a function: its process, its identity, its log stream.

An environment serves one invocation at a time, and its processes are frozen in between. It is warm until it fails, is
idle for too long, or its function changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kit.errors import KitError
from kit.local.environment import inherited
from kit.local.functions import memory_use, outcomes
from kit.local.functions.code_folder import CodeFolder
from kit.local.functions.definition import Definition
from kit.local.functions.identity import Identity
from kit.local.functions.outcomes import Outcome
from kit.local.functions.output import Output
from kit.local.log_streams import LogGroupMissing, LogStream
from kit.local.processes import Process

BOOTSTRAP = Path(__file__).with_name("bootstrap.py")
# AWS gives the initialisation this long; then it starts anew, in the time of the invocation.
INIT_S_MAX = 10.0
# How often the memory of a running invocation is looked at.
MEMORY_LOOK_S = 0.1
# A function whose process has closed its pipes ends soon.
EXIT_S_MAX = 2.0
# Marks the processes of one environment, of which nothing may be left when it ends. AWS has no such variable.
MARK_VARIABLE = "GAMEDAY_FUNCTION"
# One line of the protocol: an answer of 6 MB, as JSON in JSON.
LINE_BYTES_MAX = 32 * 1024 * 1024


class InitFailed(KitError):
    """The environment could not be initialised. `outcome` and `log` are those of the invocation that needed it."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(str(outcome.error))
        self.outcome = outcome
        self.log = ""


class _TooMuchMemory(Exception):
    """The function has more memory than it may have."""


class Sandbox:
    """One execution environment. Use it from the event loop only."""

    def __init__(
        self,
        definition: Definition,
        folder: CodeFolder,
        identity: Identity,
        process: Process,
        output: Output,
        mark: str,
    ) -> None:
        self.definition = definition
        self.identity = identity
        self.last_used = time.monotonic()
        self.init_ms = 0.0
        self._folder = folder
        self._process = process
        self._output = output
        self._mark = mark
        self._peak_bytes = 0

    @classmethod
    async def start(cls, definition: Definition, folder: CodeFolder, identity: Identity, endpoint_url: str) -> Sandbox:
        """Start the process. It is not initialised yet. Raises OSError."""
        stream, mark = _log_stream(definition), uuid.uuid4().hex
        # The group may be deleted at any time; its lines are lost then, as on AWS.
        with contextlib.suppress(LogGroupMissing):
            stream.create()
        env = _environment(definition, folder, identity, endpoint_url, stream, mark)
        program = [sys.executable, "-P", str(BOOTSTRAP)]
        process = await Process.spawn(
            program,
            env=env,
            cwd=folder.code,
            marker=f"{MARK_VARIABLE}={mark}",
            talks=True,
            line_bytes_max=LINE_BYTES_MAX,
        )
        marker = f"\0{secrets.token_hex(16)}\0"
        output = Output(process.errors, marker.encode(), stream.put)
        sandbox = cls(definition, folder, identity, process, output, mark)
        await sandbox._send({"marker": marker})
        return sandbox

    async def initialise(self, request_id: str, time_s: float) -> None:
        """Import the function's code. Raises InitFailed."""
        began = time.perf_counter()
        try:
            async with asyncio.timeout(time_s):
                message = await self._receive()
        except TimeoutError:
            error = outcomes.timed_out(request_id, self.definition.timeout_s)
            raise InitFailed(self._ended(error, outcomes.TIMED_OUT, time_s * 1000)) from None
        took_ms = (time.perf_counter() - began) * 1000
        if message is None:
            error = outcomes.exited(request_id, await self._exit_code())
            raise InitFailed(self._ended(error, error["errorType"], took_ms))
        await self._output.complete()
        if message.get("error"):
            raise InitFailed(self._ended(message["error"], message["error"]["errorType"], took_ms))
        self.init_ms = took_ms

    async def invoke(self, event: str, request_id: str, arn: str, time_s: float) -> Outcome:
        """Run one invocation for at most `time_s`. The environment has ended if the outcome does not survive."""
        self._output.begin(f"START RequestId: {request_id} Version: {self.definition.version}")
        began = time.perf_counter()
        invocation = {"event": event, "request_id": request_id, "arn": arn, "deadline_s": time.time() + time_s}
        try:
            async with asyncio.timeout(time_s):
                message = await self._talk(invocation)
        except TimeoutError:
            message, error = None, outcomes.timed_out(request_id, self.definition.timeout_s)
            self._say(f"{_now()} {request_id} Task timed out after {self.definition.timeout_s:.2f} seconds")
        except _TooMuchMemory:
            message, error = None, outcomes.out_of_memory(request_id)
        else:
            error = {} if message is not None else outcomes.exited(request_id, await self._exit_code())
        took_ms = (time.perf_counter() - began) * 1000
        await self._measure()
        if message is not None and self._peak_bytes > self.definition.memory_mb * memory_use.MIB:
            message, error = None, outcomes.out_of_memory(request_id)
        if message is None:
            self._kill()
            outcome = self._ended(error, error["errorType"], took_ms)
            if not outcomes.is_timeout(error):
                self._say(error["errorMessage"], error["errorType"])
        else:
            await self._output.complete()
            outcome = Outcome(
                result=message.get("result", "null"), error=message.get("error"), duration_ms=took_ms,
                memory_mb=self._memory_mb(),
            )  # fmt: skip
        self.last_used = time.monotonic()
        return outcome

    def finish(self, request_id: str, outcome: Outcome) -> str:
        """Write the last lines of an invocation, and return the end of its log."""
        self._say(f"END RequestId: {request_id}")
        self._say(outcomes.report_line(request_id, outcome, self.definition.memory_mb))
        return self._output.tail()

    def begin(self, request_id: str) -> None:
        """Write the first line of an invocation that the initialisation ends."""
        self._output.begin(f"START RequestId: {request_id} Version: {self.definition.version}")

    @property
    def is_alive(self) -> bool:
        """Whether the process can serve another invocation."""
        return self._process.exit_code is None

    def freeze(self) -> None:
        """Stop all processes until they are thawed."""
        self._process.send_group(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the processes go on."""
        self._process.send_group(signal.SIGCONT)

    async def close(self) -> None:
        """End the process and everything that it started, and remove its files."""
        self._kill()
        await self._process.kill_leftovers()
        await self._output.close()
        await asyncio.to_thread(self._folder.remove)

    def _say(self, *lines: str) -> None:
        self._output.write(*lines)

    async def _talk(self, invocation: Mapping[str, Any]) -> dict[str, Any] | None:
        """Send an invocation and return the answer; None if the process has ended. Raises _TooMuchMemory."""
        talking = asyncio.ensure_future(self._exchange(invocation))
        try:
            while not talking.done():
                await asyncio.wait((talking,), timeout=MEMORY_LOOK_S)
                if not talking.done():
                    await self._measure()
                    if self._peak_bytes > self.definition.memory_mb * memory_use.MIB:
                        raise _TooMuchMemory
            return talking.result()
        finally:
            talking.cancel()

    async def _exchange(self, invocation: Mapping[str, Any]) -> dict[str, Any] | None:
        await self._send(invocation)
        return await self._receive()

    async def _send(self, message: Mapping[str, Any]) -> None:
        # A process that has ended is noticed by its answer, which is missing.
        with contextlib.suppress(ConnectionError):
            self._process.input.write(json.dumps(message).encode() + b"\n")
            await self._process.input.drain()

    async def _receive(self) -> dict[str, Any] | None:
        try:
            line = await self._process.output.readline()
        except (ValueError, ConnectionError):
            # Longer than the protocol allows: the function wrote to a descriptor that is not its own.
            return None
        return json.loads(line) if line.endswith(b"\n") else None

    async def _exit_code(self) -> int:
        """Return the exit code of a process that has closed its output."""
        try:
            async with asyncio.timeout(EXIT_S_MAX):
                return await self._process.wait()
        except TimeoutError:
            self._kill()
            return 128 + signal.SIGKILL

    async def _measure(self) -> None:
        pid = self._process.pid
        used = await asyncio.to_thread(lambda: max(memory_use.resident_bytes(pid), memory_use.peak_bytes(pid)))
        self._peak_bytes = max(self._peak_bytes, used)

    def _memory_mb(self) -> int:
        return -(-self._peak_bytes // memory_use.MIB)

    def _ended(self, error: dict[str, Any], reported: str, took_ms: float) -> Outcome:
        return Outcome(
            error=error, survives=False, reported=reported, duration_ms=took_ms, memory_mb=self._memory_mb()
        )  # fmt: skip

    def _kill(self) -> None:
        self._process.kill()


def _log_stream(definition: Definition) -> LogStream:
    today = datetime.now(UTC)
    return LogStream(
        account=definition.account,
        region=definition.region,
        group=f"/aws/lambda/{definition.name}",
        stream=f"{today:%Y/%m/%d}/[{definition.version}]{uuid.uuid4().hex}",
        create_group=True,
    )


def _environment(
    definition: Definition, folder: CodeFolder, identity: Identity, endpoint_url: str, stream: LogStream, mark: str
) -> dict[str, str]:
    """Return the environment variables: the function's own cannot replace those that Lambda reserves."""
    return {
        **inherited(os.environ),
        **folder.programs(os.environ),
        "AWS_ENDPOINT_URL": endpoint_url,
        **dict(definition.variables),
        **identity.variables(),
        "AWS_REGION": definition.region,
        "AWS_DEFAULT_REGION": definition.region,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{definition.runtime}",
        "AWS_LAMBDA_FUNCTION_NAME": definition.name,
        "AWS_LAMBDA_FUNCTION_VERSION": definition.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(definition.memory_mb),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": stream.group,
        "AWS_LAMBDA_LOG_STREAM_NAME": stream.stream,
        "LAMBDA_TASK_ROOT": str(folder.code),
        "_HANDLER": definition.handler,
        "_FUNCTION_ADDRESS": identity.address,
        "_FUNCTION_PATH": os.pathsep.join(str(each) for each in folder.search_path),
        "HOME": str(folder.temporary),
        "TMPDIR": str(folder.temporary),
        "TZ": ":UTC",
        "PYTHONDONTWRITEBYTECODE": "1",
        MARK_VARIABLE: mark,
    }


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
