"""Targets: from a template's target to the resources that are hit, once, before any action.

Knows resources and selection; not experiments.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kit.local.fis.errors import InvalidTarget
from kit.local.fis.resources import PROVIDERS, Resource
from kit.local.fis.selection_mode import choose, parse_mode, passes

if TYPE_CHECKING:
    from kit.local.cloud import Cloud


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedTarget:
    """One target of a template with the resources that it chose, out of `matching` many."""

    name: str
    type: str
    resources: tuple[Resource, ...]
    matching: int


def is_resolvable(target: Mapping[str, Any]) -> bool:
    """Whether the local AWS has resources of this type; actions on others cannot work here anyway."""
    return target["resourceType"] in PROVIDERS


def resolve(cloud: Cloud, name: str, target: Mapping[str, Any], dice: random.Random) -> ResolvedTarget:
    """Resolve one target; raises InvalidTarget when an ARN that it names is not there."""
    candidates = PROVIDERS[target["resourceType"]](cloud, target.get("parameters") or {})
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
    chosen = choose(matching, parse_mode(target["selectionMode"]), dice)
    return ResolvedTarget(name=name, type=target["resourceType"], resources=tuple(chosen), matching=len(matching))


def _by_arn(name: str, candidates: list[Resource], wanted: list[str]) -> list[Resource]:
    by_arn = {each.arn: each for each in candidates}
    missing = [arn for arn in wanted if arn not in by_arn]
    if missing:
        raise InvalidTarget(f"target {name}: {missing[0]} does not exist")
    return [by_arn[arn] for arn in wanted]
