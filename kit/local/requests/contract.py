"""Load which operations and members of each service are honoured."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

FILE = "honoured.yaml"
ROOMS = Path(__file__).parent.parent
PASSED_THROUGH = Path(__file__).parent / "passed_through"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """What is honoured of a member: all of it (`is_whole`), or only the `members` of its structure that are named.

    If `values` is given, only these values are honoured: usually AWS's default, which changes nothing. With `pattern`,
    only texts that match it wholly are. Of a map with `keys`, only these entries are honoured. An unchecked member may
    have values that the model refuses.
    """

    is_whole: bool = True
    members: Mapping[str, Member] = field(default_factory=dict)
    values: tuple[Any, ...] | None = None
    keys: frozenset[str] | None = None
    pattern: str | None = None
    is_unchecked: bool = False

    def of(self, name: str) -> Member | None:
        """Return what is honoured of a member of this structure, or None."""
        return self.members.get(name) or (EVERYTHING if self.is_whole else None)


EVERYTHING = Member()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What is honoured of an operation. `token` names its idempotency token if the gate keeps the answers."""

    name: str
    request: Member
    token: str | None = None
    token_error: str | None = None
    is_paged_here: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A CloudFormation type that `operation` makes, and which of its properties are honoured.

    Properties are checked as members of the operation's request, but for those in `also`: their value is a member of
    another operation ("PutTargets.Targets") whose rules hold for them, or "" if no operation has them in this form. Of
    a type in a form of its own, only the properties in `also` are honoured.
    """

    type: str
    operation: str
    also: Mapping[str, str] = field(default_factory=dict)
    is_own_form: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What is honoured of a service. `routes` are MiniStack's names of it."""

    service: str
    routes: tuple[str, ...]
    operations: Mapping[str, Operation]
    resources: tuple[Resource, ...] = ()
    errors: Mapping[str, str] = field(default_factory=dict)
    path: Path

    def error(self, kind: str) -> str:
        """Return the service's error code for a kind of refusal."""
        return self.errors.get(kind) or self.errors.get("invalid") or "ValidationException"


@functools.cache
def contracts() -> tuple[Contract, ...]:
    """Return the contracts of all services."""
    paths = sorted([*ROOMS.glob(f"*/{FILE}"), *ROOMS.glob("*/honoured_*.yaml"), *PASSED_THROUGH.glob("*.yaml")])
    return tuple(load(path) for path in paths)


def by_route() -> dict[str, tuple[Contract, ...]]:
    """Return the contracts by MiniStack's name of the service. Services that sign alike share a name."""
    found: dict[str, tuple[Contract, ...]] = {}
    for contract in contracts():
        for route in contract.routes:
            found[route] = (*found.get(route, ()), contract)
    return found


def load(path: Path) -> Contract:
    """Read one file. Raises ValueError for a key that has no meaning."""
    content = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    _only(content, {"service", "routes", "errors", "operations", "resources"}, path)
    _only(content.get("errors") or {}, {"invalid", "missing", "malformed", "unknown"}, path)
    service = content["service"]
    return Contract(
        service=service,
        routes=tuple(content.get("routes") or [service]),
        operations={name: _operation(name, given, path) for name, given in content["operations"].items()},
        resources=tuple(_resource(name, given, path) for name, given in (content.get("resources") or {}).items()),
        errors=content.get("errors") or {},
        path=path,
    )


def _resource(name: str, given: Mapping[str, Any], path: Path) -> Resource:
    _only(given, {"operation", "also", "properties"}, f"{path}: {name}")
    is_own_form = "properties" in given
    named = given["properties"] if is_own_form else given.get("also") or ()
    also: dict[str, str] = {}
    for each in named:
        also |= each if isinstance(each, Mapping) else {each: ""}
    return Resource(type=name, operation=given["operation"], also=also, is_own_form=is_own_form)


def _operation(name: str, given: Any, path: Path) -> Operation:
    given = given if isinstance(given, Mapping) else {"members": given or []}
    known = {"members", "values", "keys", "patterns", "unchecked", "token", "token_error", "pages"}
    _only(given, known, f"{path}: {name}")
    request = _tree(given.get("members") or [])
    for where, values in (given.get("values") or {}).items():
        request = _with(request, where.split("."), values=tuple(values))
    for where, keys in (given.get("keys") or {}).items():
        request = _with(request, where.split("."), keys=frozenset(keys))
    for where, pattern in (given.get("patterns") or {}).items():
        request = _with(request, where.split("."), pattern=pattern)
    for where in given.get("unchecked") or ():
        request = _with(request, where.split("."), is_unchecked=True)
    return Operation(
        name=name,
        request=request,
        token=given.get("token"),
        token_error=given.get("token_error"),
        is_paged_here=given.get("pages") == "here",
    )


def _tree(items: Iterable[Any]) -> Member:
    named: dict[str, Member] = {}
    for item in items:
        if isinstance(item, Mapping):
            named |= {name: _tree(inner) for name, inner in item.items()}
        else:
            named[item] = EVERYTHING
    return Member(is_whole=False, members=named)


def _with(member: Member, path: list[str], **change: Any) -> Member:
    """Return the member with a change at `path`."""
    if not path:
        return replace(member, **change)
    inner = member.of(path[0]) or Member(is_whole=len(path) == 1)
    return replace(member, members={**member.members, path[0]: _with(inner, path[1:], **change)})


def _only(given: Mapping[str, Any], known: set[str], where: object) -> None:
    if unknown := set(given) - known:
        raise ValueError(f"{where}: unknown key {sorted(unknown)[0]!r}; known are {', '.join(sorted(known))}")
