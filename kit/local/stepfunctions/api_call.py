"""Describe one call of the API, which each operation takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kit.local.stepfunctions.engine import Engine

Request = Mapping[str, Any]
Response = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call: the engine, the request, the account and the Region of the caller."""

    engine: Engine
    request: Request
    account: str
    region: str

    def arn(self, kind: str, name: str) -> str:
        """Return the ARN of a resource of the caller."""
        return f"{self.prefix}{kind}:{name}"

    @property
    def prefix(self) -> str:
        """Return how the ARNs of the caller's resources begin."""
        return f"arn:aws:states:{self.region}:{self.account}:"

    def now(self) -> float:
        """Return the time."""
        return self.engine.clock.now()


Operation = Callable[[Call], Response | Awaitable[Response]]
