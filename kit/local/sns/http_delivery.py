"""Deliver a message to an HTTP endpoint, and repeat what failed by AWS's default delivery policy."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from kit.errors import KitError

# AWS's default policy: three retries, 20 s apart.
RETRIES_MAX = 3
RETRY_DELAY_S = 20.0
TOO_MANY_REQUESTS = 429

# Sends the headers and the body once; returns the status, or raises Unreachable.
Post = Callable[[Mapping[str, str], bytes], Awaitable[int]]

log = logging.getLogger(__name__)


class Unreachable(KitError):
    """The endpoint did not answer: no connection, no answer in time, or no HTTP."""


async def deliver(
    post: Post, headers: Mapping[str, str], body: bytes, *, sleep: Callable[[float], Awaitable[None]]
) -> bool:
    """Send a message until the endpoint takes it. Returns False when it is given up.

    A 4xx but 429 is final, as on AWS: the endpoint does not want the message.
    """
    for attempt in range(1 + RETRIES_MAX):
        if attempt:
            await sleep(RETRY_DELAY_S)
        try:
            status = await post(headers, body)
        except Unreachable as error:
            log.info("SNS endpoint unreachable", extra={"attempt": attempt + 1, "reason": str(error)})
            continue
        if 200 <= status < 300:
            return True
        if 400 <= status < 500 and status != TOO_MANY_REQUESTS:
            return False
    return False
