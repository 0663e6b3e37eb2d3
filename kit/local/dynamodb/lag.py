"""Let indexes and eventually consistent reads lag: keep a table's recent writes, and compute the items without them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from kit.errors import UsageError

# The tags that set the lags of indexes and of reads without ConsistentRead. AWS ignores these tags: there, both lag
# anyway.
INDEX_TAG = "gameday:index-lag-ms"
READ_TAG = "gameday:read-lag-ms"
LAG_MS_MAX = 60_000
# The number of writes kept for a table. If there are more, reads show the oldest ones before the lag is over.
CHANGES_MAX = 20_000

Items = Mapping[Any, Mapping[Any, Any]]


class LagInvalid(UsageError):
    """A tag's value is not a whole number of milliseconds within the limit."""


def lag_s(tags: Iterable[Mapping[str, Any]], name: str) -> float:
    """Return the lag in seconds that the tag of a table sets; 0 without the tag. Raises LagInvalid."""
    for tag in tags:
        if tag.get("Key") == name:
            value = str(tag.get("Value", ""))
            if not value.isdecimal() or int(value) > LAG_MS_MAX:
                raise LagInvalid(f"tag {name}={value!r}: must be a whole number from 0 to {LAG_MS_MAX}")
            return int(value) / 1000
    return 0.0


class RecentChanges:
    """The writes to one table during the last `lag_s` seconds, each with the item that it replaced."""

    def __init__(self, lag_s: float) -> None:
        self.lag_s = lag_s
        self._changes: deque[tuple[float, Any, Any, Any]] = deque(maxlen=CHANGES_MAX)

    def remember(self, now_s: float, pk: Any, sk: Any, old: Any) -> None:
        """Record a write; `old` is the item before the write, None for a new item."""
        self._forget_before(now_s - self.lag_s)
        self._changes.append((now_s, pk, sk, old))

    def lagging_items(self, items: Items, now_s: float) -> Items:
        """Return the items as they were `lag_s` ago. These are the items that a lagging read shows now."""
        self._forget_before(now_s - self.lag_s)
        if not self._changes:
            return items
        past: dict[Any, Mapping[Any, Any]] = dict(items)
        partitions: dict[Any, dict[Any, Any]] = {}
        for _, pk, sk, old in reversed(self._changes):
            if pk not in partitions:
                partitions[pk] = dict(items.get(pk, {}))
            if old is None:
                partitions[pk].pop(sk, None)
            else:
                partitions[pk][sk] = old
        for pk, partition in partitions.items():
            if partition:
                past[pk] = partition
            else:
                past.pop(pk, None)
        return past

    def _forget_before(self, limit_s: float) -> None:
        while self._changes and self._changes[0][0] <= limit_s:
            self._changes.popleft()
