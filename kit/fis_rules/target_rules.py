"""Rules on targets: what they select, and by which means."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kit.fis_rules.parameters import parameter_problems
from kit.fis_rules.problems import UNKNOWN, Problem, nearest
from kit.fis_rules.selection_mode import MODES, parse_mode
from kit.fis_rules.target_types import STALE_TYPES, TARGET_TYPES
from kit.fis_rules.template import Target, Template

_FILTER_PATH = re.compile(r"[A-Z][A-Za-z0-9]*(\.[A-Z][A-Za-z0-9]*)*")


def target_problems(template: Template) -> Iterator[Problem]:
    """Check every target."""
    for target in template.known_targets().values():
        where = f"target {target.name}"
        yield from _check_type(where, target)
        yield from _check_selection(where, target)
        yield from _check_arns(where, target)
        yield from _check_selector(where, target)


def _check_type(where: str, target: Target) -> Iterator[Problem]:
    kind = target.resource_type
    if kind is UNKNOWN:
        return
    known = TARGET_TYPES.get(kind)
    if known is None:
        hint = f"does not exist in AWS FIS; the nearest is {nearest(kind, TARGET_TYPES)}"
        if kind in STALE_TYPES:
            hint = f"is out of date; its name today is {STALE_TYPES[kind]}"
        message = f"resourceType {kind!r} {hint}"
        yield Problem(rule="target-type-known", path=where, message=message)
        return
    if target.tags and target.tags is not UNKNOWN and not known.supports_tags:
        message = f"{kind} cannot be selected by resourceTags; use parameters"
        yield Problem(rule="target-tags-supported", path=where, message=message)
    if target.parameters is not UNKNOWN:
        yield from parameter_problems("target", where, kind, known.parameters, target.parameters)


def _check_selection(where: str, target: Target) -> Iterator[Problem]:
    mode = target.selection_mode
    if mode is not UNKNOWN and parse_mode(mode) is None:
        yield Problem(rule="selection-mode-known", path=where, message=f"selectionMode {mode!r} must be {MODES}")
    for each in () if target.filters is UNKNOWN else target.filters:
        if each.path is not UNKNOWN and not _FILTER_PATH.fullmatch(each.path):
            message = f"filter path {each.path!r} must be PascalCase names with dots between, such as State.Name"
            yield Problem(rule="filter-path-known", path=where, message=message)
        if not each.values:
            yield Problem(rule="filter-has-values", path=where, message=f"filter {each.path} must have values")


def _check_arns(where: str, target: Target) -> Iterator[Problem]:
    if not target.arns or target.arns is UNKNOWN:
        return
    known = [arn for arn in target.arns if arn is not UNKNOWN]
    for arn in known:
        if not arn.startswith("arn:"):
            yield Problem(rule="resource-arns-are-arns", path=where, message=f"{arn!r} in resourceArns must be an ARN")
    if len(set(known)) != len(known):
        yield Problem(rule="resource-arns-are-unique", path=where, message="resourceArns must be unique")
    for name, given in (("resourceTags", target.tags), ("filters", target.filters)):
        if given and given is not UNKNOWN:
            message = f"resourceArns and {name} exclude each other"
            yield Problem(rule="resource-arns-stand-alone", path=where, message=message)


def _check_selector(where: str, target: Target) -> Iterator[Problem]:
    # An UNKNOWN value counts as given.
    if not (target.arns or target.tags or target.parameters):
        message = "selects by nothing; it needs resourceArns, resourceTags or parameters"
        yield Problem(rule="blast-radius-limited", path=where, message=message)
