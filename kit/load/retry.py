"""What an answer means, and when to ask again.

Owns Jepsen's outcome rule and the back-off; must not know sockets or timers.
"""

from __future__ import annotations

from kit.load.orders import BACKOFF, Draws
from kit.model import Outcome

TIMEOUT, REFUSED, RESET, EOF, PROTOCOL = "timeout", "refused", "reset", "eof", "protocol"
BACKOFF_BASE_S = 0.05
BACKOFF_CAP_S = 1.0
TOO_MANY_REQUESTS = 429


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


def backoff_s(seed: int, op_id: int, number: int) -> float:
    """Full jitter before attempt `number` + 1, seeded by operation and attempt."""
    ceiling = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** (number - 1))
    return Draws(seed, op_id * 128 + number, BACKOFF).unit() * ceiling
