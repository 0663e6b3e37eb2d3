"""Name how an invocation ended, in the words of AWS."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

TIMED_OUT, EXITED, OUT_OF_MEMORY = "Sandbox.Timedout", "Runtime.ExitError", "Runtime.OutOfMemory"
TOO_LARGE = "Function.ResponseSizeTooLarge"
# Lambda takes 6 MB, and a little more of an answer.
RESPONSE_BYTES_MAX = 6 * 1024 * 1024 + 100
# Go's words for signals, in which Lambda reports them.
SIGNALS: Mapping[int, str] = {
    signal.SIGKILL: "killed", signal.SIGTERM: "terminated", signal.SIGSEGV: "segmentation fault",
    signal.SIGABRT: "aborted", signal.SIGBUS: "bus error", signal.SIGILL: "illegal instruction",
    signal.SIGFPE: "floating point exception", signal.SIGINT: "interrupt", signal.SIGHUP: "hangup",
}  # fmt: skip

Error = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an invocation ended: with a result in JSON, or an error. The environment can serve again if it `survives`.

    `reported` says so in the REPORT line, if the runtime did not tell the error itself.
    """

    result: str = "null"
    error: Error | None = None
    survives: bool = True
    reported: str = ""
    duration_ms: float = 0.0
    init_ms: float = 0.0
    memory_mb: int = 0


def with_init(outcome: Outcome, init_ms: float) -> Outcome:
    """Return the outcome of an invocation that had to wait for the initialisation of its environment."""
    return replace(outcome, init_ms=init_ms)


def timed_out(request_id: str, timeout_s: float) -> Error:
    """Return the error of a function that did not end in time."""
    return _platform(TIMED_OUT, f"RequestId: {request_id} Error: Task timed out after {timeout_s:.2f} seconds")


def exited(request_id: str, exit_code: int) -> Error:
    """Return the error of a function whose process ended. The code is 128 + n if signal n ended it."""
    return _platform(EXITED, f"RequestId: {request_id} Error: Runtime exited {_how(exit_code)}")


def out_of_memory(request_id: str) -> Error:
    """Return the error of a function that needed more memory than it has."""
    return _platform(OUT_OF_MEMORY, f"RequestId: {request_id} Error: Runtime exited with error: signal: killed")


def response_too_large(size: int) -> Error:
    """Return the error of an answer that is over the limit."""
    words = f"Response payload size ({size} bytes) exceeded maximum allowed payload size ({RESPONSE_BYTES_MAX} bytes)."
    return _platform(TOO_LARGE, words)


def _platform(kind: str, message: str) -> Error:
    return {"errorType": kind, "errorMessage": message}


def _how(exit_code: int) -> str:
    if exit_code == 0:
        return "without providing a reason"
    if exit_code > 128:
        number = exit_code - 128
        return f"with error: signal: {SIGNALS.get(number, f'signal {number}')}"
    return f"with error: exit status {exit_code}"


def answer_of(outcome: Outcome, log: str) -> dict[str, Any]:
    """Return the answer in the form of MiniStack, whose services invoke functions, too."""
    size = len(outcome.result.encode())
    error = outcome.error or (response_too_large(size) if size > RESPONSE_BYTES_MAX else None)
    answer: dict[str, Any] = {"log": log, "duration_ms": outcome.duration_ms}
    if error is not None:
        return {**answer, "body": error, "error": True, "function_error": "Unhandled"}
    return {**answer, "body": json.loads(outcome.result)}


def report_line(request_id: str, outcome: Outcome, memory_mb: int) -> str:
    """Return the REPORT line of an invocation."""
    billed_ms = math.ceil(outcome.duration_ms + outcome.init_ms)
    parts = [
        f"REPORT RequestId: {request_id}",
        f"Duration: {outcome.duration_ms:.2f} ms",
        f"Billed Duration: {billed_ms} ms",
        f"Memory Size: {memory_mb} MB",
        f"Max Memory Used: {min(outcome.memory_mb, memory_mb)} MB",
    ]
    if outcome.init_ms:
        parts.append(f"Init Duration: {outcome.init_ms:.2f} ms")
    if outcome.reported == TIMED_OUT:
        parts.append("Status: timeout")
    elif outcome.reported:
        parts += ["Status: error", f"Error Type: {outcome.reported}"]
    return "\t".join(parts) + "\t"


def is_timeout(error: Mapping[str, Any] | None) -> bool:
    """Return whether an error says that the function did not end in time."""
    return error is not None and error.get("errorType") == TIMED_OUT
