"""Decide by a resource's tag which calls get one of AWS's less usual answers.

AWS gives such answers by itself, now and then, and every client has to expect them. AWS ignores the tag.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

from kit.errors import UsageError

TAG = "gameday:unusual-answers"
# What a share in the tag's value is a share of.
KINDS: Mapping[str, str] = {
    "error": "calls that are not carried out and answer 5xx",
    "lost": "calls that are carried out and answer 5xx all the same",
    "throttle": "calls that are throttled",
    "conflict": "writes that conflict with a transaction",
    "part": "entries of a batch that are refused, each by itself",
}
SHARE_MAX = 0.5

Shares = Mapping[str, float]


class UnusualAnswersInvalid(UsageError):
    """The tag's value is not a list of kinds with their shares."""


def shares(tags: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return the share of each kind that a resource's tags set; empty without the tag or with an empty value.

    The value looks like `error=0.01 lost=0.02`. Raises UnusualAnswersInvalid.
    """
    text = next((str(tag.get("Value", "")) for tag in tags if tag.get("Key") == TAG), "")
    found: dict[str, float] = {}
    for entry in text.split():
        kind, _, value = entry.partition("=")
        if kind not in KINDS or kind in found:
            raise UnusualAnswersInvalid(f"tag {TAG}={text!r}: {kind!r} is not one of {', '.join(KINDS)}, each once")
        try:
            share = float(value)
        except ValueError:
            share = -1.0
        if not 0 <= share <= SHARE_MAX:
            raise UnusualAnswersInvalid(f"tag {TAG}={text!r}: share {value!r} is not a number from 0 to {SHARE_MAX}")
        found[kind] = share
    return found


class Draws:
    """Draw the kinds of answers of one cloud. The same seed and the same calls give the same answers."""

    def __init__(self, seed: int, service: str) -> None:
        self._random = random.Random(f"{seed} {service} unusual answers")

    def kind(self, wanted: Shares, possible: Iterable[str]) -> str:
        """Return the kind of this call's answer, or "" for a usual one."""
        drawn = self._random.random()
        for kind in possible:
            drawn -= wanted.get(kind, 0.0)
            if drawn < 0:
                return kind
        return ""

    def is_refused(self, wanted: Shares) -> bool:
        """Return whether one entry of a batch is refused."""
        return self._random.random() < wanted.get("part", 0.0)

    def index(self, count: int) -> int:
        """Return one of `count` places."""
        return self._random.randrange(count)
