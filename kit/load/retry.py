"""What an answer means, and when to ask again.

Owns Jepsen's outcome rule and the back-off; must not know sockets or timers.
"""

from __future__ import annotations

from kit.load.orders import BACKOFF, Draws
from kit.model import Outcome

TIMEOUT, REFUSED, RESET, EOF, PROTOCOL = "timeout", "refused", "reset", "eof", "protocol"
BACKOFF_BASE_S = 0.05
BACKOFF_CAP_S = 1.0
RETRY_AFTER_S_MAX = 5.0  # a server that asks for more is obeyed no longer: the run has an end
TOO_MANY_REQUESTS, UNAVAILABLE = 429, 503


def outcome(status: int, error: str) -> Outcome:
    """Classify one attempt: `status` is 0 when no whole answer came, and then `error` says why.

    `fail` is a promise that nothing happened, so it needs proof: a refusal in words (4xx) or a connection that was
    never made. Whatever was sent and not answered, or answered by a server in trouble (5xx), may have happened.
    """
    if error:
        return Outcome.FAIL if error == REFUSED else Outcome.INFO
    if 200 <= status < 300:
        return Outcome.OK
    # 408 is a time-out in the server's words: it does not say that nothing happened.
    if 400 <= status < 500 and status != 408:
        return Outcome.FAIL
    return Outcome.INFO


def answers(status: int, error: str) -> bool:
    """Whether the attempt settles its key for good: done (2xx), or the content itself was refused (4xx)."""
    if error or status == TOO_MANY_REQUESTS:
        return False
    return outcome(status, error) is not Outcome.INFO


def retry_after_s(status: int, header: bytes) -> float:
    """How long a refusal asks to stay away, bounded; 0.0 if it does not ask, or names a date instead of seconds."""
    if status not in (TOO_MANY_REQUESTS, UNAVAILABLE) or not header.isdigit():
        return 0.0
    return min(RETRY_AFTER_S_MAX, float(header))


def backoff_s(seed: int, op_id: int, number: int, after_s: float = 0.0) -> float:
    """Before attempt `number` + 1: what the server asked for, then full jitter, seeded by operation and attempt. The
    jitter comes on top, or all clients that were refused together would be back together."""
    ceiling = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** (number - 1))
    return after_s + Draws(seed, op_id * 128 + number, BACKOFF).unit() * ceiling
