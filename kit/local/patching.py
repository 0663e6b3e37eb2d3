"""Patch private names of MiniStack, and put the originals back.

MiniStack is pinned. A missing name means that another version is installed: CloudError then keeps the local AWS from
starting.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, MutableMapping
from types import ModuleType
from typing import Any, Literal

from kit.errors import CloudError


def require(module: ModuleType, *names: str) -> None:
    """Raise CloudError unless the module has all these names."""
    for name in names:
        if not hasattr(module, name):
            raise CloudError(f"{module.__name__}.{name} does not exist: this MiniStack is not the pinned version")


class Patches:
    """The patches of one service, undone in reverse order."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], object]] = []

    def undo(self) -> None:
        """Put every original back, the last patch first."""
        while self._undo:
            self._undo.pop()()

    def replace(self, module: ModuleType, name: str, value: Any) -> None:
        """Replace an attribute of a module."""
        require(module, name)
        self._undo.append(functools.partial(setattr, module, name, getattr(module, name)))
        setattr(module, name, value)

    def decorate(self, module: ModuleType, name: str, decorator: Callable[[Any], Any]) -> None:
        """Replace an attribute by `decorator(original)`."""
        require(module, name)
        self.replace(module, name, decorator(getattr(module, name)))

    def wrap(self, module: ModuleType, name: str, around: Callable[..., Any]) -> None:
        """Replace a function by one that calls `around(original, *arguments)`."""
        self.decorate(module, name, lambda original: functools.partial(around, original))

    def wrap_method(self, owner: type, name: str, around: Callable[..., Any]) -> None:
        """Replace a method of a class by one that calls `around(original, self, *arguments)`."""
        original = getattr(owner, name)

        def method(self: Any, *arguments: Any) -> Any:
            return around(original, self, *arguments)

        self._undo.append(functools.partial(setattr, owner, name, original))
        setattr(owner, name, method)

    def replace_entry(self, module: ModuleType, table: str, key: str, value: Any) -> None:
        """Replace an entry that MiniStack has in one of its tables."""
        self._entry(module, table, key)
        self.add_entry(module, table, key, value)

    def wrap_entry(self, module: ModuleType, table: str, key: str, around: Callable[..., Any]) -> None:
        """Replace a handler in one of MiniStack's tables by `around(original, *arguments)`."""
        self.add_entry(module, table, key, functools.partial(around, self._entry(module, table, key)))

    def add_entry(self, module: ModuleType, table: str, key: str, value: Any) -> None:
        """Add an entry to one of MiniStack's tables; an entry of this key is replaced."""
        require(module, table)
        self._put(getattr(module, table), key, value)

    def remove_entry(self, module: ModuleType, table: str, key: str) -> None:
        """Remove an entry from one of MiniStack's tables."""
        entry = self._entry(module, table, key)
        entries = getattr(module, table)
        self._undo.append(lambda: entries.__setitem__(key, entry))
        del entries[key]

    def add_resource_type(
        self, resource_type: str, handlers: Mapping[str, Any], *, tags: Literal["list", "map"] | None = None
    ) -> None:
        """Let CloudFormation make resources of a type; `tags` is the shape of its Tags property.

        Without `tags` the stack's tags do not reach the resource.
        """
        from ministack.services.cloudformation import provisioners

        self.add_entry(provisioners, "_RESOURCE_HANDLERS", resource_type, handlers)
        if tags:
            self.pass_stack_tags(resource_type, tags)

    def pass_stack_tags(self, resource_type: str, shape: Literal["list", "map"]) -> None:
        """Let CloudFormation add the stack's tags to resources of a type."""
        from ministack.services.cloudformation import provisioners

        # The table is changed in place, because other modules of MiniStack hold it by name.
        self.add_entry(provisioners, "_STACK_TAG_PROPERTY", resource_type, ("Tags", shape))

    def wrap_resource_handler(self, resource_type: str, verb: str, around: Callable[..., Any]) -> None:
        """Replace a CloudFormation handler (create, update or delete) by `around(original, *arguments)`."""
        from ministack.services.cloudformation import provisioners

        handlers = self._entry(provisioners, "_RESOURCE_HANDLERS", resource_type)
        if verb not in handlers:
            where = f"{provisioners.__name__}._RESOURCE_HANDLERS[{resource_type!r}][{verb!r}]"
            raise CloudError(f"{where} does not exist: this MiniStack is not the pinned version")
        self._put(handlers, verb, functools.partial(around, handlers[verb]))

    def _entry(self, module: ModuleType, table: str, key: str) -> Any:
        require(module, table)
        entries = getattr(module, table)
        if key not in entries:
            raise CloudError(
                f"{module.__name__}.{table}[{key!r}] does not exist: this MiniStack is not the pinned version"
            )
        return entries[key]

    def _put(self, entries: MutableMapping[str, Any], key: str, value: Any) -> None:
        if key in entries:
            self._undo.append(functools.partial(entries.__setitem__, key, entries[key]))
        else:
            self._undo.append(lambda: entries.pop(key, None))
        entries[key] = value
