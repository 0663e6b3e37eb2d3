"""Keep the items that running transactions hold. Used on the main loop's thread only."""

from __future__ import annotations

from collections.abc import Collection

from kit.local.dynamodb.tables import Key


class Locks:
    """The held items, and the client tokens of the running transactions."""

    def __init__(self) -> None:
        self._held: set[Key] = set()
        self._tokens: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._held)

    def holds(self, key: Key | None) -> bool:
        """Whether a transaction holds the item."""
        return key in self._held

    def runs(self, token: str) -> bool:
        """Whether the transaction of this token runs."""
        return token in self._tokens

    def take(self, keys: Collection[Key], token: str) -> None:
        """Hold the items for a transaction. None of them may be held."""
        assert self._held.isdisjoint(keys), "the caller checks first"
        self._held.update(keys)
        if token:
            self._tokens.add(token)

    def release(self, keys: Collection[Key], token: str) -> None:
        """Release the items when the transaction has ended."""
        self._held.difference_update(keys)
        self._tokens.discard(token)
