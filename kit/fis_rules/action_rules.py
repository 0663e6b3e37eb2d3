"""Rules on actions: their ids, parameters, durations and targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kit.durations import duration_s
from kit.fis_rules.catalog import ACTIONS, STALE_IDS, duration_limits
from kit.fis_rules.parameters import parameter_problems
from kit.fis_rules.problems import UNKNOWN, Problem, nearest, suggestion
from kit.fis_rules.specs import ActionSpec
from kit.fis_rules.template import Action, Template, Text

PARAMETER_RULE = "action-parameters-known-and-required"
TARGET_RULE = "target-type-fits-action"


def action_problems(template: Template) -> Iterator[Problem]:
    """Check every action."""
    for action in template.known_actions().values():
        where = f"action {action.name}"
        spec = None if action.id is UNKNOWN else ACTIONS.get(action.id)
        if spec is None:
            yield from _check_id(where, action)
        else:
            yield from _check_parameters(where, action, spec)
            yield from _check_slots(where, action, spec, template)
        yield from _check_targets_defined(where, action, template)


def _check_id(where: str, action: Action) -> Iterator[Problem]:
    if action.id is UNKNOWN:
        return
    if action.id in STALE_IDS:
        hint = f"is out of date; its name today is {STALE_IDS[action.id]}"
    else:
        hint = f"is not an action of AWS FIS; the nearest is {nearest(action.id, ACTIONS)}"
    yield Problem(rule="action-id-known", path=where, message=f"actionId {action.id!r} {hint}")


def _check_parameters(where: str, action: Action, spec: ActionSpec) -> Iterator[Problem]:
    given = action.parameters
    if given is UNKNOWN:
        return
    yield from parameter_problems("action", where, spec.id, spec.parameters, given)
    for name, value in given.items():
        if name in spec.parameters and spec.parameters[name].kind == "duration" and value is not UNKNOWN:
            yield from _check_duration(where, spec, name, value)
    yield from _check_prefix_list(where, spec, given)


def _check_prefix_list(where: str, spec: ActionSpec, given: Mapping[str, Text]) -> Iterator[Problem]:
    scope = given.get("scope")
    if spec.id != "aws:network:disrupt-connectivity" or not isinstance(scope, str):
        return
    if (scope == "prefix-list") != ("prefixListIdentifier" in given):
        message = f"scope is {scope!r}; prefixListIdentifier goes with the scope prefix-list, and only with it"
        yield Problem(rule=PARAMETER_RULE, path=where, message=message)


def _check_duration(where: str, spec: ActionSpec, name: str, value: str) -> Iterator[Problem]:
    limits, length_s = duration_limits(spec.id, name), duration_s(value)
    # Below AWS's minimum only the linter warns: the local AWS takes seconds, so that a game day fits into a test.
    if length_s is None or not 0 < length_s <= limits.high_s:
        message = f"{name}={value!r} must be an ISO 8601 duration within {limits}"
        yield Problem(rule="duration-sane", path=where, message=message)


def _check_slots(where: str, action: Action, spec: ActionSpec, template: Template) -> Iterator[Problem]:
    if action.targets is UNKNOWN:
        return
    for slot in action.targets:
        if slot not in spec.targets:
            message = f"{spec.id} has no target {slot}; {suggestion(slot, spec.targets)}"
            yield Problem(rule=TARGET_RULE, path=where, message=message)
    for slot, expected in spec.targets.items():
        if slot not in action.targets:
            message = f"{spec.id} requires the target {slot} ({expected})"
            yield Problem(rule=TARGET_RULE, path=where, message=message)
            continue
        name = action.targets[slot]
        target = None if name is UNKNOWN else template.known_targets().get(name)
        if target is not None and target.resource_type not in (UNKNOWN, expected):
            message = f"target {name} is {target.resource_type}; {slot} of {spec.id} must be {expected}"
            yield Problem(rule=TARGET_RULE, path=where, message=message)


def _check_targets_defined(where: str, action: Action, template: Template) -> Iterator[Problem]:
    if template.targets is UNKNOWN or action.targets is UNKNOWN:
        return
    for name in action.targets.values():
        if name is not UNKNOWN and name not in template.targets:
            message = f"target {name} is not defined; defined are: {', '.join(template.targets) or 'none'}"
            yield Problem(rule="target-defined", path=where, message=message)
