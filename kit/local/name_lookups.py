"""Look the names of AWS endpoints up slowly, or not at all, in a VPC that is tagged so. AWS ignores the tag.

A client looks a name up when it opens a connection, and keeps the connection for many calls. Tasks here reach AWS by an
address, so the first call on a connection stands for the lookup: it waits, or the connection is reset before the call
is carried out. While a VPC is tagged, a connection of one of its tasks ends with the first answer after
CONNECTION_S_MAX, so that names are looked up again and again.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kit.errors import KitError, UsageError
from kit.local.endpoints import Endpoint

TAG = "gameday:name-lookups"
CONNECTION_S_MAX = 2.0
# Delays in ms, shares of lookups.
LIMITS: Mapping[str, float] = {"delay_ms": 60_000.0, "fail": 1.0}
# The entry that names AWS services, such as `services=dynamodb,sqs`. Without it all names are concerned.
SERVICES = "services"

Tags = Iterable[Mapping[str, Any]]


class NameLookupsInvalid(UsageError):
    """The tag's value does not say how slow lookups are or how many fail."""


class LookupFailed(KitError):
    """A name was not resolved. The caller treats it as a connection that cannot be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Impairment:
    """How names are looked up: each lookup takes `delay_ms`, and a share `fail` of them has no result.

    `services` are those whose names are concerned; none stands for all.
    """

    delay_ms: float = 0.0
    fail: float = 0.0
    services: frozenset[str] = frozenset()


def impairment(tags: Tags) -> Impairment | None:
    """Return what a VPC's tags ask for; None without the tag or with an empty value.

    The value looks like `delay_ms=700 fail=0.2 services=dynamodb,sqs`. Raises NameLookupsInvalid.
    """
    text = next((str(tag.get("Value", "")) for tag in tags if tag.get("Key") == TAG), "")
    found: dict[str, Any] = {}
    for entry in text.split():
        name, _, value = entry.partition("=")
        if name not in (*LIMITS, SERVICES) or name in found:
            known = ", ".join((*LIMITS, SERVICES))
            raise NameLookupsInvalid(f"tag {TAG}={text!r}: {name!r} is not one of {known}, each once")
        if name == SERVICES:
            found[name] = _services(text, value)
            continue
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 <= number <= LIMITS[name]:
            raise NameLookupsInvalid(f"tag {TAG}={text!r}: {value!r} is not a number from 0 to {LIMITS[name]:g}")
        found[name] = number
    return Impairment(**found) if found else None


def _services(text: str, value: str) -> frozenset[str]:
    names = value.split(",")
    if not all(re.fullmatch(r"[a-z0-9-]+", name) for name in names):
        raise NameLookupsInvalid(f"tag {TAG}={text!r}: {value!r} is not a list of AWS services such as dynamodb,sqs")
    return frozenset(names)


class NameLookups:
    """The lookups of one cloud. `tags_of` takes Region and id of a VPC."""

    def __init__(self, seed: int, tags_of: Callable[[str, str], Tags]) -> None:
        self._random = random.Random(f"{seed} name lookups")
        self._tags_of = tags_of
        self.made = self.failed = 0

    def impaired(self, caller: Endpoint, callee: Endpoint) -> Impairment | None:
        """Return how the caller's VPC looks up the name of an AWS service; None if as usual."""
        found = impairment(self._tags_of(callee.region, caller.vpc)) if caller.vpc else None
        return found if found and (not found.services or callee.service in found.services) else None

    async def look_up(self, wanted: Impairment, name: str) -> None:
        """Take the time of one lookup. Raises LookupFailed."""
        self.made += 1
        fails = self._random.random() < wanted.fail
        await asyncio.sleep(wanted.delay_ms / 1000)
        if fails:
            self.failed += 1
            raise LookupFailed(f"the name of {name} was not resolved")
