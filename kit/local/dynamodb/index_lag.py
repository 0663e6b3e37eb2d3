"""Stale reads of a global secondary index: the table as it was a moment ago.

Owns the recent past of one table's items, and what tag asks for it. Must not know requests or MiniStack's stores.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from kit.errors import UsageError

# A tag that means nothing to AWS, where indexes lag by themselves.
TAG = "gameday:index-lag-ms"
LAG_MS_MAX = 60_000
# Changes remembered a table; beyond, the index knows the oldest of them earlier than its lag says.
CHANGES_MAX = 20_000

Items = Mapping[Any, Mapping[Any, Any]]


class IndexLagInvalid(UsageError):
    """The tag's value is no lag."""


def lag_s(tags: Iterable[Mapping[str, Any]]) -> float:
    """The lag that a table's tags ask for, 0 without the tag; raises IndexLagInvalid."""
    for tag in tags:
        if tag.get("Key") == TAG:
            value = str(tag.get("Value", ""))
            if not value.isdecimal() or int(value) > LAG_MS_MAX:
                raise IndexLagInvalid(f"tag {TAG}={value!r}: a whole number of 0 to {LAG_MS_MAX} is needed")
            return int(value) / 1000
    return 0.0


class RecentChanges:
    """What the items of one table were before their latest writes."""

    def __init__(self, lag_s: float) -> None:
        self.lag_s = lag_s
        self._changes: deque[tuple[float, Any, Any, Any]] = deque(maxlen=CHANGES_MAX)

    def remember(self, now_s: float, pk: Any, sk: Any, old: Any) -> None:
        """An item is written; `old` is None for a new one."""
        self._forget_before(now_s - self.lag_s)
        self._changes.append((now_s, pk, sk, old))

    def as_of_then(self, items: Items, now_s: float) -> Items:
        """The items as the index sees them now, which is as they were `lag_s` ago."""
        self._forget_before(now_s - self.lag_s)
        if not self._changes:
            return items
        past: dict[Any, Mapping[Any, Any]] = dict(items)
        touched: dict[Any, dict[Any, Any]] = {}
        for _, pk, sk, old in reversed(self._changes):
            if pk not in touched:
                touched[pk] = dict(items.get(pk, {}))
            if old is None:
                touched[pk].pop(sk, None)
            else:
                touched[pk][sk] = old
        for pk, bucket in touched.items():
            if bucket:
                past[pk] = bucket
            else:
                past.pop(pk, None)
        return past

    def _forget_before(self, limit_s: float) -> None:
        while self._changes and self._changes[0][0] <= limit_s:
            self._changes.popleft()
