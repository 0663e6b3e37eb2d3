"""Carry out invocations, whoever asks: the API, an event source, a state machine, a topic, a rule."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ministack import app
from ministack.core.concurrency import run_reentrant
from ministack.core.responses import request_scope
from ministack.services import cloudwatch, lambda_svc

from kit.errors import KitError
from kit.local.functions import asynchronous, destinations, metrics, outcomes
from kit.local.functions.asynchronous import SUCCESS, End, Settings
from kit.local.functions.definition import LATEST, Definition, split_arn
from kit.local.functions.metrics import Datum
from kit.local.functions.outcomes import Outcome
from kit.local.functions.pool import Pool
from kit.local.functions.sandbox import INIT_S_MAX
from kit.local.main_loop import on_main_loop
from kit.local.patching import require

# Events that wait for their invocation or a retry. Further ones are dropped, and counted as AWS counts those.
EVENTS_MAX = 10_000
# What starting and ending an environment may take beyond the initialisation.
MARGIN_S = 60.0
STOP_S_MAX = 1.0
FUNCTION_LIMIT = "ReservedFunctionConcurrentInvocationLimitExceeded"
ACCOUNT_LIMIT = "ConcurrentInvocationLimitExceeded"

Record = dict[str, Any]
Answer = dict[str, Any]

log = logging.getLogger(__name__)
# The request id of an asynchronous invocation, which is the same for all its attempts.
_request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")


class OnTheLoop(KitError):
    """An invocation would wait on the thread that has to carry it out."""


class Invocations:
    """All invocations of one cloud."""

    def __init__(self, pool: Pool) -> None:
        require(lambda_svc, "_functions", "_acquire_execution_slot", "_release_execution_slot", "executions_in_flight")
        require(lambda_svc, "_function_config_scope_mismatch", "_run_with_function_config_scope", "_throttle_response")
        require(lambda_svc, "_event_invoke_config", "_resolve_layer_zip", "_reserved_concurrency")
        require(cloudwatch, "record_metric")
        self._pool = pool
        self._later: set[asyncio.Task[None]] = set()

    def cancel(self) -> None:
        """Drop the events that wait. An invocation that runs ends with its environment."""
        for task in tuple(self._later):
            task.cancel()

    async def wait(self) -> None:
        """Wait for what was cancelled, for at most STOP_S_MAX."""
        if self._later:
            await asyncio.wait(tuple(self._later), timeout=STOP_S_MAX)

    def execute(self, function: Record, event: Any) -> Answer:
        """Invoke a function and wait for its answer. Call it from a worker thread."""
        config = function.get("config") or function
        if lambda_svc._function_config_scope_mismatch(config):
            return lambda_svc._run_with_function_config_scope(config, self.execute, function, event)
        account, region, name, qualifier = split_arn(config["FunctionArn"])
        version = config.get("Version") or LATEST
        whole = lambda_svc._functions.get_scoped(account, region, name)
        if whole is None:
            return _failed("ResourceNotFoundException", f"Function not found: {config['FunctionArn']}")
        request_id = _request_id.get() or str(uuid.uuid4())
        # Reserved concurrency is the function's, whatever version is invoked.
        slot, limit = lambda_svc._acquire_execution_slot(whole, config)
        if slot is None:
            self._record(account, region, metrics.of_throttle(name, qualifier, version))
            reason = FUNCTION_LIMIT if limit == "function" else ACCOUNT_LIMIT
            return lambda_svc._throttle_response(reason_code=reason, msg="Rate Exceeded.")
        concurrent = lambda_svc.executions_in_flight()[1].get(slot, 1)
        began = time.time()
        try:
            answer = lambda_svc._execute_function_dispatch(function, config, event, request_id, began)
        finally:
            lambda_svc._release_execution_slot(slot)
        # Faults of FIS answer without a duration.
        duration_ms = answer.get("duration_ms") or (time.time() - began) * 1000
        data = metrics.of_invocation(
            name, qualifier, version, is_error=bool(answer.get("error")), duration_ms=duration_ms, concurrent=concurrent
        )
        self._record(account, region, data)
        return answer

    def dispatch(self, function: Record, config: Record, event: Any, request_id: str, _started: float) -> Answer:
        """Run a function's code in one of its environments. FIS wraps this function."""
        code = function.get("code_zip")
        if not code:
            return _failed("Runtime.InvalidEntrypoint", f"RequestId: {request_id} Error: the function has no code")
        loop = app._MAIN_LOOP
        if loop is None or _is_this_thread(loop):
            raise OnTheLoop(f"function {config['FunctionArn']} was invoked on the thread of the event loop")
        definition = Definition.of(config, code)
        layers = tuple(filter(None, (lambda_svc._resolve_layer_zip(each) for each in config.get("Layers") or ())))
        running = self._pool.run(definition, code, layers, json.dumps(event), request_id, config["FunctionArn"])
        future = asyncio.run_coroutine_threadsafe(running, loop)
        outcome, tail = future.result(definition.timeout_s * 2 + INIT_S_MAX + MARGIN_S)
        return outcomes.answer_of(outcome, tail)

    def invoke_later(self, function: Record, event: Any) -> None:
        """Take an event for a function; it is invoked in the background. Call it from any thread."""
        loop = app._MAIN_LOOP
        context = contextvars.copy_context()
        if loop is None or _is_this_thread(loop):
            context.run(self._begin, function, event)
        else:
            loop.call_soon_threadsafe(self._begin, function, event, context=context)

    def _begin(self, function: Record, event: Any) -> None:
        config = function.get("config") or function
        account, region, name, _ = split_arn(config["FunctionArn"])
        self._record(account, region, metrics.of_asynchronous(name, "AsyncEventsReceived"))
        if len(self._later) >= EVENTS_MAX:
            log.warning("asynchronous event dropped", extra={"function": name, "limit": EVENTS_MAX})
            self._record(account, region, metrics.of_asynchronous(name, "AsyncEventsDropped"))
            return
        task = asyncio.create_task(self._carry_out(function, config, event), name=f"function-event-{name}")
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def _carry_out(self, function: Record, config: Record, event: Any) -> None:
        account, region, name, qualifier = split_arn(config["FunctionArn"])
        request_id = str(uuid.uuid4())
        _request_id.set(request_id)
        whole = lambda_svc._functions.get_scoped(account, region, name) or function
        asked = lambda_svc._event_invoke_config(whole, qualifier or None)
        if asked is None and not qualifier:
            asked = lambda_svc._event_invoke_config(whole, LATEST)
        settings = Settings.of(asked or {}, config, lambda_svc._reserved_concurrency(whole, config))

        async def invoke() -> Answer:
            return await run_reentrant(self.execute, function, event, thread_name="function-event")

        end = await asynchronous.carry_out(settings, invoke, clock=time.monotonic, sleep=asyncio.sleep)
        if end.condition != SUCCESS:
            self._record(account, region, metrics.of_asynchronous(name, "AsyncEventsDropped"))
        self._retain(settings, end, config, event, request_id)

    def _retain(self, settings: Settings, end: End, config: Record, event: Any, request_id: str) -> None:
        """Send the record to the destination, and an event that failed to the dead-letter queue."""
        arn, version = config["FunctionArn"], config.get("Version") or LATEST
        qualified = arn if split_arn(arn)[3] else f"{arn}:{version}"
        target = settings.on_success if end.condition == SUCCESS else settings.on_failure
        if target:
            now = datetime.now(UTC)
            content = asynchronous.record(end, event, arn=qualified, version=version, request_id=request_id, now=now)
            self._send("DestinationDeliveryFailures", target, content, arn, {})
        if settings.dead_letter and end.condition != SUCCESS:
            attributes = asynchronous.dead_letter_attributes(end, request_id)
            self._send("DeadLetterErrors", settings.dead_letter, event, arn, attributes)

    def _send(self, failure_metric: str, target: str, content: Any, arn: str, attributes: Mapping[str, Any]) -> None:
        account, region, name, _ = split_arn(arn)
        try:
            destinations.send(target, content, arn, self.invoke_later, attributes)
        except destinations.NotDelivered as error:
            log.warning("asynchronous event not retained", extra={"function": name, "reason": str(error)})
            self._record(account, region, metrics.of_asynchronous(name, failure_metric))

    def _record(self, account: str, region: str, data: list[Datum]) -> None:
        """Publish metric data. The stores of metrics belong to the event loop's thread."""

        def record() -> None:
            with request_scope(account, region):
                for each in data:
                    cloudwatch.record_metric(metrics.NAMESPACE, each.name, each.value, each.unit, each.dimensions)

        on_main_loop(record)()


def log_without_environment(write: Any, function: Record, request_id: str, error: str, duration_ms: float) -> None:
    """Write the log of an invocation that reached no environment, through `write(stream lines)`."""
    config = function.get("config") or function
    outcome = Outcome(duration_ms=duration_ms, reported=error)
    memory_mb = int(config.get("MemorySize") or 128)
    write(
        f"START RequestId: {request_id} Version: {config.get('Version') or LATEST}",
        f"END RequestId: {request_id}",
        outcomes.report_line(request_id, outcome, memory_mb),
    )


def _failed(kind: str, message: str) -> Answer:
    return {
        "body": {"errorType": kind, "errorMessage": message},
        "error": True,
        "function_error": "Unhandled",
        "log": "",
    }


def _is_this_thread(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
