"""Items that a running transaction holds.

Pure; owned by the event loop's thread.
"""

from __future__ import annotations

from collections.abc import Collection

from kit.local.dynamodb.tables import Key


class Locks:
    """Who holds which item, and which tokens' transactions run."""

    def __init__(self) -> None:
        self._held: set[Key] = set()
        self._tokens: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._held)

    def holds(self, key: Key | None) -> bool:
        """Whether a transaction holds the item."""
        return key in self._held

    def runs(self, token: str) -> bool:
        """Whether the transaction of this token is not over."""
        return token in self._tokens

    def take(self, keys: Collection[Key], token: str) -> None:
        """Hold the items for a transaction; nobody may hold any of them."""
        assert self._held.isdisjoint(keys), "the caller checks first"
        self._held.update(keys)
        if token:
            self._tokens.add(token)

    def release(self, keys: Collection[Key], token: str) -> None:
        """The transaction is over."""
        self._held.difference_update(keys)
        self._tokens.discard(token)
