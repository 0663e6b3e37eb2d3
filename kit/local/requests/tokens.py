"""Answer a request with a known idempotency token as the first time; refuse the token with another request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from kit.errors import KitError
from kit.local.requests.answers import Answer

# Botocore makes up a token for each call, so most of them are never seen again.
TOKENS_MAX = 10_000

Key = tuple[str, ...]


class TokenReused(KitError):
    """A token came with other parameters than the first time."""


class Tokens:
    """The answers to requests with a token, the oldest forgotten first. A refused request leaves none."""

    def __init__(self) -> None:
        self._answers: dict[Key, tuple[str, asyncio.Future[Answer]]] = {}

    async def answer(self, key: Key, parameters: Mapping[str, Any], ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return the answer to the first request of this key, which `ask` makes. Raises TokenReused."""
        content = json.dumps(parameters, sort_keys=True, default=str)
        known = self._answers.get(key)
        if known is not None:
            first, answered = known
            if first != content:
                raise TokenReused(f"the idempotency token {key[-1]!r} was used with other parameters")
            return await asyncio.shield(answered)
        answered = asyncio.get_running_loop().create_future()
        self._answers[key] = (content, answered)
        if len(self._answers) > TOKENS_MAX:
            del self._answers[next(iter(self._answers))]
        try:
            answer = await ask()
        except BaseException:
            self._answers.pop(key, None)
            answered.cancel()
            raise
        if answer[0] >= 400:
            self._answers.pop(key, None)
        answered.set_result(answer)
        return answer
