"""Carry out asynchronous invocations: retries after errors and throttles, and what becomes of an event in the end.

Source: the Lambda developer guide, "How Lambda handles errors and retries with asynchronous invocation" and "Retaining
records of asynchronous invocations".
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

RETRIES = 2
EVENT_AGE_S_MAX = 21_600
# One and two minutes on AWS. A game day on a laptop cannot wait that long (see docs/fidelity.md).
ERROR_DELAYS_S = (1.0, 2.0)
# After a throttle, doubled each time.
THROTTLE_DELAY_S, THROTTLE_DELAY_S_MAX = 1.0, 300.0
SUCCESS, EXHAUSTED, TOO_OLD, NO_CONCURRENCY = (
    "Success",
    "RetriesExhausted",
    "EventAgeExceeded",
    "ZeroReservedConcurrency",
)
ERROR_MESSAGE_CHARACTERS_MAX = 1_024

Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How one function's events are treated. An empty target means that nothing is sent."""

    retries: int = RETRIES
    age_s_max: float = EVENT_AGE_S_MAX
    on_success: str = ""
    on_failure: str = ""
    dead_letter: str = ""
    has_no_concurrency: bool = False

    @classmethod
    def of(cls, invoke_config: Mapping[str, Any], config: Mapping[str, Any], reserved: int | None) -> Settings:
        """Read a function's configuration."""
        destinations = invoke_config.get("DestinationConfig") or {}

        def value(name: str, default: int) -> int:
            given = invoke_config.get(name)
            return default if given is None else int(given)

        return cls(
            retries=value("MaximumRetryAttempts", RETRIES),
            age_s_max=value("MaximumEventAgeInSeconds", EVENT_AGE_S_MAX),
            on_success=(destinations.get("OnSuccess") or {}).get("Destination") or "",
            on_failure=(destinations.get("OnFailure") or {}).get("Destination") or "",
            dead_letter=(config.get("DeadLetterConfig") or {}).get("TargetArn") or "",
            has_no_concurrency=reserved == 0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """What became of an event: its condition, the last answer, and how often the function was invoked."""

    condition: str
    answer: Answer
    invocations: int


async def carry_out(
    settings: Settings, invoke: Callable[[], Awaitable[Answer]], *, clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> End:  # fmt: skip
    """Invoke until the function succeeds or the event is given up."""
    if settings.has_no_concurrency:
        return End(condition=NO_CONCURRENCY, answer={}, invocations=0)
    began, errors, throttles = clock(), 0, 0
    while True:
        answer = await invoke()
        if not answer.get("error"):
            return End(condition=SUCCESS, answer=answer, invocations=errors + 1)
        if answer.get("throttle"):
            delay_s = min(THROTTLE_DELAY_S * 2**throttles, THROTTLE_DELAY_S_MAX)
            throttles += 1
        else:
            errors += 1
            if errors > settings.retries:
                return End(condition=EXHAUSTED, answer=answer, invocations=errors)
            delay_s = ERROR_DELAYS_S[min(errors, len(ERROR_DELAYS_S)) - 1]
        if clock() - began + delay_s > settings.age_s_max:
            return End(condition=TOO_OLD, answer=answer, invocations=errors)
        await sleep(delay_s)


def record(end: End, event: Any, *, arn: str, version: str, request_id: str, now: datetime) -> dict[str, Any]:
    """Return the record of an invocation that a destination gets."""
    found: dict[str, Any] = {
        "version": "1.0",
        "timestamp": now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "requestContext": {
            "requestId": request_id,
            "functionArn": arn,
            "condition": end.condition,
            "approximateInvokeCount": end.invocations,
        },
        "requestPayload": event,
    }
    if end.invocations:
        context = {"statusCode": 200, "executedVersion": version}
        if end.condition != SUCCESS:
            context["functionError"] = end.answer.get("function_error") or "Unhandled"
        found |= {"responseContext": context, "responsePayload": end.answer.get("body")}
    return found


def dead_letter_attributes(end: End, request_id: str) -> dict[str, dict[str, str]]:
    """Return the message attributes that a dead-letter queue or topic gets with the event."""
    body = end.answer.get("body")
    message = str(body.get("errorMessage") or body.get("message") or "") if isinstance(body, dict) else json.dumps(body)
    code = "429" if end.answer.get("throttle") or not end.invocations else "200"
    attributes = {
        "RequestID": {"DataType": "String", "StringValue": request_id},
        "ErrorCode": {"DataType": "Number", "StringValue": code},
    }
    if message:
        shown = message[:ERROR_MESSAGE_CHARACTERS_MAX]
        attributes["ErrorMessage"] = {"DataType": "String", "StringValue": shown}
    return attributes
