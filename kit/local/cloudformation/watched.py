"""Record which properties of a resource its provisioner reads."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any


class Watched(dict[str, Any]):
    """Properties that remember which of them were read. Copying all of them counts as reading all.

    Only the first level is watched: a provisioner may store a nested value as it is, and read it later.
    """

    def __init__(self, properties: Mapping[str, Any]) -> None:
        super().__init__(properties)
        self._read: set[str] = set()

    def unread(self) -> list[str]:
        """Return the names of the properties that were given and never read."""
        return sorted(name for name in super().__iter__() if name not in self._read)

    def __getitem__(self, name: str) -> Any:
        self._read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:  # type: ignore[override]
        """Return a property."""
        self._read.add(name)
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:  # type: ignore[override]
        """Remove a property and return it."""
        self._read.add(name)
        return super().pop(name, *default)

    def setdefault(self, name: str, default: Any = None) -> Any:  # type: ignore[override]
        """Return a property, which is set first if it is missing."""
        self._read.add(name)
        return super().setdefault(name, default)

    def __iter__(self) -> Iterator[str]:
        self._read_all()
        return super().__iter__()

    def keys(self) -> Any:
        """Return all names."""
        self._read_all()
        return super().keys()

    def items(self) -> Any:
        """Return all names with their values."""
        self._read_all()
        return super().items()

    def values(self) -> Any:
        """Return all values."""
        self._read_all()
        return super().values()

    def copy(self) -> dict[str, Any]:
        """Return a plain copy."""
        self._read_all()
        return dict(super().items())

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return copy.deepcopy(self.copy(), memo)

    def _read_all(self) -> None:
        self._read.update(super().keys())
