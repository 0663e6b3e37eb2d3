"""Classify answers by Jepsen's outcome rule, and compute the delay before a retry."""

from __future__ import annotations

from kit.load.orders import BACKOFF, Draws
from kit.model import Outcome

TIMEOUT, REFUSED, RESET, EOF, PROTOCOL = "timeout", "refused", "reset", "eof", "protocol"
BACKOFF_BASE_S = 0.05
BACKOFF_CAP_S = 1.0
RETRY_AFTER_S_MAX = 5.0  # a client waits no longer than this, because the run has an end
TOLD_S_MAX = 1_000_000.0  # a longer Retry-After is kept as this in the history
TOO_MANY_REQUESTS, UNAVAILABLE = 429, 503


def outcome(status: int, error: str) -> Outcome:
    """Classify one attempt. `status` is 0 if no complete answer arrived; `error` is then the reason.

    `fail` promises that nothing happened, so it needs proof: an explicit refusal (4xx) or a connection that was never
    made. A request that was sent and got no answer, or a 5xx, may have had an effect.
    """
    if error:
        return Outcome.FAIL if error == REFUSED else Outcome.INFO
    if 200 <= status < 300:
        return Outcome.OK
    # 408 is the server's own time-out. The request may still have had an effect.
    if 400 <= status < 500 and status != 408:
        return Outcome.FAIL
    return Outcome.INFO


def settles(status: int, error: str) -> bool:
    """Return whether the answer settles its key finally: a 2xx, or a refusal of the content (4xx)."""
    if error or status == TOO_MANY_REQUESTS:
        return False
    return outcome(status, error) is not Outcome.INFO


def retry_after_s(status: int, header: bytes) -> float:
    """Return the Retry-After of a 429 or 503 in s, at most TOLD_S_MAX; 0.0 without one, or if it is a date."""
    if status not in (TOO_MANY_REQUESTS, UNAVAILABLE) or not header.isdigit():
        return 0.0
    return min(TOLD_S_MAX, float(header))


def backoff_s(seed: int, op_id: int, number: int, after_s: float = 0.0) -> float:
    """Return the delay before attempt `number` + 1: `after_s` plus a full jitter, seeded by operation and attempt.

    `after_s`: the Retry-After; no more than RETRY_AFTER_S_MAX of it is waited.
    The jitter is added to Retry-After, because clients that were refused together would otherwise return together.
    """
    ceiling = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** (number - 1))
    return min(RETRY_AFTER_S_MAX, after_s) + Draws(seed, op_id * 128 + number, BACKOFF).unit() * ceiling
