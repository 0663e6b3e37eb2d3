"""Resolve targets: choose the resources that an experiment hits, once, before any action starts."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from kit.fis_rules.selection_mode import SelectionMode, parse_mode
from kit.local.ecs import Ecs
from kit.local.fis.errors import InvalidTarget
from kit.local.fis.resources import PROVIDERS, Resource

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedTarget:
    """One target of a template with the resources that were chosen from `matching` many."""

    name: str
    type: str
    resources: tuple[Resource, ...]
    matching: int


def is_resolvable(target: Mapping[str, Any]) -> bool:
    """Tell whether the local AWS has resources of this type; actions on other types cannot work here."""
    return target["resourceType"] in PROVIDERS


def resolve(ecs: Ecs, name: str, target: Mapping[str, Any], dice: random.Random) -> ResolvedTarget:
    """Resolve one target. Raises InvalidTarget when an ARN that it names does not exist."""
    candidates = PROVIDERS[target["resourceType"]](ecs, target.get("parameters") or {})
    wanted_arns = target.get("resourceArns") or []
    if wanted_arns:
        candidates = _by_arn(name, candidates, wanted_arns)
    tags = target.get("resourceTags") or {}
    filters = target.get("filters") or []
    matching = [
        each
        for each in candidates
        if all(each.tags.get(key) == value for key, value in tags.items()) and passes(each.described, filters)
    ]
    matching.sort(key=lambda each: (each.order, each.arn))
    mode = parse_mode(target["selectionMode"])
    assert mode is not None, "a stored template has been checked"
    chosen = choose(matching, mode, dice)
    return ResolvedTarget(name=name, type=target["resourceType"], resources=tuple(chosen), matching=len(matching))


def choose(matching: Sequence[T], mode: SelectionMode, dice: random.Random) -> list[T]:
    """Choose at random as many as the mode says, in the order of `matching`."""
    size = mode.size_of(len(matching))
    if size == len(matching):
        return list(matching)
    chosen = sorted(dice.sample(range(len(matching)), size))
    return [matching[index] for index in chosen]


def passes(described: Mapping[str, Any], filters: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether all filters match; one value at any branch of a filter's path is enough."""
    return all(
        any(_text(found) in each["values"] for found in _walk(described, each["path"].split("."))) for each in filters
    )


def _walk(value: Any, path: Sequence[str]) -> list[Any]:
    if isinstance(value, list | tuple):
        return [found for item in value for found in _walk(item, path)]
    if not path:
        return [value]
    if not isinstance(value, Mapping):
        return []
    # Filter paths are PascalCase, whatever case the service's own answers have.
    for key in (path[0], path[0][:1].lower() + path[0][1:]):
        if key in value:
            return _walk(value[key], path[1:])
    return []


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _by_arn(name: str, candidates: list[Resource], wanted: list[str]) -> list[Resource]:
    by_arn = {each.arn: each for each in candidates}
    missing = [arn for arn in wanted if arn not in by_arn]
    if missing:
        raise InvalidTarget(f"target {name}: {missing[0]} does not exist")
    return [by_arn[arn] for arn in wanted]
