"""Replacing private names of MiniStack, and giving them back.

A name that is missing means that the pinned MiniStack moved: the cloud does not start.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, MutableMapping
from types import ModuleType
from typing import Any

from kit.errors import CloudError


class Hooks:
    """What was replaced, in order."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def wrap(
        self, module: ModuleType, name: str, around: Callable[..., Any], dress: Callable[[Any], Any] | None = None
    ) -> None:
        """`around(original, …)` instead of the module's function; `dress` wraps the result once more."""
        wrapped = functools.partial(around, _named(module, name))
        self.put(module.__dict__, name, dress(wrapped) if dress else wrapped)

    def replace(self, module: ModuleType, name: str, value: Any) -> None:
        """`value` instead of the module's attribute."""
        _named(module, name)
        self.put(module.__dict__, name, value)

    def put(self, where: MutableMapping[str, Any], name: str, value: Any) -> None:
        """Any mapping's entry."""
        self._undo.append(functools.partial(where.__setitem__, name, where[name]))
        where[name] = value

    def restore(self) -> None:
        """Give everything back, last first."""
        while self._undo:
            self._undo.pop()()


def _named(module: ModuleType, name: str) -> Any:
    if not hasattr(module, name):
        raise CloudError(f"{module.__name__}.{name} is gone: this MiniStack is not the pinned one")
    return getattr(module, name)
