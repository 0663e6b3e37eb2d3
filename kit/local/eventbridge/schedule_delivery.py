"""Call the target of a schedule until it succeeds or is given up, and say what a dead-letter queue gets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kit.errors import KitError

RETRIES_MAX, AGE_S_MAX = 185, 86_400
# AWS waits exponentially longer, and does not say how long.
DELAY_S, DELAY_S_MAX = 1.0, 60.0
ATTEMPTS, AGE = "MaximumRetryAttempts", "MaximumEventAge"


class CallFailed(KitError):
    """A call of a target failed. `may_retry` is False if the same call can never work."""

    def __init__(self, code: str, message: str, *, may_retry: bool) -> None:
        super().__init__(message)
        self.code = code
        self.may_retry = may_retry


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how long a target is called."""

    retries: int = RETRIES_MAX
    age_s: float = AGE_S_MAX

    @classmethod
    def of(cls, target: Mapping[str, Any]) -> RetryPolicy:
        """Read the RetryPolicy of a target."""
        given = target.get("RetryPolicy") or {}
        return cls(
            retries=int(given.get("MaximumRetryAttempts", RETRIES_MAX)),
            age_s=float(given.get("MaximumEventAgeInSeconds", AGE_S_MAX)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """Why a target is not called any more. `exhausted` is empty for an error that no retry can help."""

    error: CallFailed
    retries: int
    exhausted: str


async def deliver(
    call: Callable[[int], Awaitable[None]], policy: RetryPolicy, *, clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> GivenUp | None:  # fmt: skip
    """Call the target; `call` gets the number of the attempt. Return None once it has succeeded."""
    began = clock()
    for attempt in range(1, policy.retries + 2):
        try:
            await call(attempt)
        except CallFailed as error:
            delay_s = min(DELAY_S * 2 ** (attempt - 1), DELAY_S_MAX)
            if not error.may_retry:
                return GivenUp(error=error, retries=attempt - 1, exhausted="")
            if attempt > policy.retries:
                return GivenUp(error=error, retries=policy.retries, exhausted=ATTEMPTS)
            if clock() - began + delay_s > policy.age_s:
                return GivenUp(error=error, retries=attempt - 1, exhausted=AGE)
            await sleep(delay_s)
        else:
            return None
    raise AssertionError("the last attempt returns")


def dead_letter_attributes(given_up: GivenUp, facts: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return the message attributes of a dead letter. Its body is the input of the target."""
    values = {
        **facts,
        "ERROR_CODE": given_up.error.code,
        "ERROR_MESSAGE": str(given_up.error),
        "RETRY_ATTEMPTS": str(given_up.retries),
        "IS_PAYLOAD_TRUNCATED": "false",
        **({"EXHAUSTED_RETRY_CONDITION": given_up.exhausted} if given_up.exhausted else {}),
    }
    return {name: {"DataType": "String", "StringValue": value} for name, value in values.items() if value}
