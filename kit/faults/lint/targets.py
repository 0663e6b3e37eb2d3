"""Rules on targets: what they select, how much of it, and whether it fits the actions. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

from kit.faults.lint.source import UNKNOWN
from kit.faults.lint.template import Remark, Target, Template, choice, error, nearest, specified, warning
from kit.fis_rules.catalog import TARGET_TYPES

# Tags that a whole environment carries: alone they limit a fault to everything.
ENVIRONMENT_TAGS = {"env", "environment", "envname", "stage"}
ZONE_PARAMETER = "vailabilityZone"  # availabilityZoneIdentifier, writerAvailabilityZoneIdentifiers, …

_MODE = re.compile(r"ALL|COUNT\(0*[1-9]\d*\)|PERCENT\(0*([1-9]\d?|100)\)")
_FILTER_PATH = re.compile(r"[A-Z][A-Za-z0-9]*(\.[A-Z][A-Za-z0-9]*)*")


def check_target_fits_action(template: Template) -> Iterator[Remark]:
    """Every slot of the action has a target of the slot's type."""
    rule = "target-type-fits-action"
    for action, spec in specified(template):
        if action.targets is UNKNOWN:
            continue
        for slot in action.targets:
            if slot not in spec.targets:
                sentence = f"action {action.name}: {spec.id} has no target {slot}; {choice(slot, spec.targets)}"
                yield error(rule, sentence)
        for slot, wanted in spec.targets.items():
            if slot not in action.targets:
                yield error(rule, f"action {action.name}: {spec.id} requires the target {slot} ({wanted})")
                continue
            name = action.targets[slot]
            target = None if name is UNKNOWN else template.known_targets().get(name)
            if target is not None and target.resource_type not in (UNKNOWN, wanted):
                given = f"target {name} is {target.resource_type}"
                yield error(rule, f"action {action.name}: {given}; {slot} of {spec.id} must be {wanted}")


def check_targets_defined(template: Template) -> Iterator[Remark]:
    """An action refers to targets of its template."""
    if template.targets is UNKNOWN:
        return
    for action in template.known_actions().values():
        for name in () if action.targets is UNKNOWN else action.targets.values():
            if name is not UNKNOWN and name not in template.targets:
                known = ", ".join(template.targets) or "none"
                yield error(
                    "target-defined", f"action {action.name}: target {name} is not defined; defined are: {known}"
                )


def check_targets_used(template: Template) -> Iterator[Remark]:
    """A target that no action names is a mistake in one or the other."""
    actions = template.known_actions().values()
    if template.actions is UNKNOWN or any(action.targets is UNKNOWN for action in actions):
        return
    used = set(chain.from_iterable(action.targets.values() for action in actions if action.targets is not UNKNOWN))
    if UNKNOWN in used:
        return
    for name in template.known_targets():
        if name not in used:
            yield warning("target-used", f"target {name} is used by no action; name it in an action or remove it")


def check_target_types(template: Template) -> Iterator[Remark]:
    """A resource type that AWS FIS has, with its own parameters."""
    rule = "target-parameters-known-and-required"
    for target in template.known_targets().values():
        kind, where = target.resource_type, f"target {target.name}"
        if kind is UNKNOWN:
            continue
        if kind not in TARGET_TYPES:
            hint = f"the nearest is {nearest(kind, TARGET_TYPES)}"
            yield error("target-type-known", f"{where}: resourceType {kind!r} is no type of AWS FIS; {hint}")
            continue
        known, given = TARGET_TYPES[kind][1], target.parameters
        if given is UNKNOWN:
            continue
        for name in given:
            if name not in known:
                yield error(rule, f"{where}: {kind} has no parameter {name}; {choice(name, known)}")
        for name, required in known.items():
            if required and name not in given:
                yield error(rule, f"{where}: {kind} requires the parameter {name}")


def check_selection(template: Template) -> Iterator[Remark]:
    """Selection modes and filter paths as AWS reads them, ARNs that are ARNs and stand alone."""
    for target in template.known_targets().values():
        where, mode = f"target {target.name}", target.selection_mode
        if mode is not UNKNOWN and not _MODE.fullmatch(mode):
            wanted = "ALL, COUNT(n) with n at least 1, or PERCENT(n) with n within 1 and 100"
            yield error("selection-mode-known", f"{where}: selectionMode is {mode!r}; it must be {wanted}")
        for each in () if target.filters is UNKNOWN else target.filters:
            if each.path is not UNKNOWN and not _FILTER_PATH.fullmatch(each.path):
                wanted = "PascalCase names with dots between, such as State.Name"
                yield error("filter-path-known", f"{where}: filter path is {each.path!r}; it must be {wanted}")
        yield from _check_arns(where, target)


def _check_arns(where: str, target: Target) -> Iterator[Remark]:
    if not target.arns or target.arns is UNKNOWN:
        return
    for arn in target.arns:
        if arn is not UNKNOWN and not arn.startswith("arn:"):
            yield error("resource-arns-are-arns", f"{where}: resourceArns holds {arn!r}; it must be an ARN")
    for name, given in (("resourceTags", target.tags), ("filters", target.filters)):
        if given and given is not UNKNOWN:
            wanted = "AWS takes the ARNs or the other, never both"
            yield error("resource-arns-stand-alone", f"{where} has resourceArns together with {name}; {wanted}")


def check_blast_radius(template: Template) -> Iterator[Remark]:
    """Tags, filters or ARNs keep a fault away from what it is not meant for."""
    for target in template.known_targets().values():
        if target.arns:  # explicit, or known only at the deployment
            continue
        yield from _check_reach(target)


def _check_reach(target: Target) -> Iterator[Remark]:
    rule, where = "blast-radius-limited", f"target {target.name}"
    if target.tags is UNKNOWN or target.filters is UNKNOWN or target.parameters is UNKNOWN:
        return
    if not (target.tags or target.parameters):
        yield error(rule, f"{where} selects by nothing; it must have resourceTags, resourceArns or parameters")
        return
    if target.tags and {str(key).lower() for key in target.tags} <= ENVIRONMENT_TAGS:
        narrowed = target.filters or target.parameters
        yield (warning if narrowed else error)(
            rule,
            f"{where}: resourceTags is only {', '.join(target.tags)}, which a whole environment carries; add a tag of "
            "what is meant, such as its application, component or run",
        )
    by_zone = any(ZONE_PARAMETER in name for name in target.parameters)
    if target.selection_mode == "ALL" and not target.filters and not by_zone:
        yield warning(
            rule,
            f"{where}: selectionMode ALL without filters hits everything that matches; COUNT(n), PERCENT(n) or a "
            "filter, such as one on the Availability Zone, would limit it",
        )
