"""Read selection modes: how many of the matching resources an experiment hits."""

from __future__ import annotations

import re
from dataclasses import dataclass

MODES = "ALL, COUNT(n) with n at least 1, or PERCENT(n) with n between 1 and 100"

_MODE = re.compile(r"ALL|(COUNT|PERCENT)\((\d{1,12})\)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionMode:
    """ALL, COUNT(n) or PERCENT(n)."""

    kind: str
    amount: int = 0

    def size_of(self, matching: int) -> int:
        """Return how many of `matching` resources are hit; PERCENT rounds down, as AWS does."""
        if self.kind == "ALL":
            return matching
        if self.kind == "COUNT":
            return min(self.amount, matching)
        return matching * self.amount // 100


def parse_mode(text: str) -> SelectionMode | None:
    """Return the mode, or None when AWS refuses the text."""
    match = _MODE.fullmatch(text)
    if match is None:
        return None
    if match[1] is None:
        return SelectionMode(kind="ALL")
    amount = int(match[2])
    if amount < 1 or (match[1] == "PERCENT" and amount > 100):
        return None
    return SelectionMode(kind=match[1], amount=amount)
