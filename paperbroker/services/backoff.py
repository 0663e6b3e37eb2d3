"""Exponential backoff: doubling waits with an upper bound, and jitter so that tasks do not retry in step."""

from __future__ import annotations

import random

HALF = 0.5
FULL = 1.0


class Backoff:
    """Draw each wait from the upper `jitter` share of the current bound. FULL spreads competing writers best."""

    def __init__(
        self, *, first_s: float, limit_s: float, jitter: float = HALF, source: random.Random | None = None
    ) -> None:
        self._first_s = first_s
        self._limit_s = limit_s
        self._jitter = jitter
        self._random = source or random.Random()
        self._tries = 0

    def next_s(self) -> float:
        bound = min(self._limit_s, self._first_s * 2 ** min(self._tries, 16))
        self._tries += 1
        return self._random.uniform(bound * (1 - self._jitter), bound)

    def reset(self) -> None:
        self._tries = 0
