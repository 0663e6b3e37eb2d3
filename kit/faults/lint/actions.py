"""Rules on actions: their ids, parameters, durations and order. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kit.faults.lint import values
from kit.faults.lint.source import UNKNOWN, Unknown
from kit.faults.lint.template import Remark, Template, choice, error, nearest, note, specified, warning
from kit.fis_rules.catalog import ACTIONS, REHEARSABLE, STALE_IDS, ActionSpec

# Durations that AWS limits otherwise than to PT1M…PT12H.
DURATION_LIMITS_S: Mapping[tuple[str, str], tuple[float, float, str]] = {
    ("aws:ec2:send-spot-instance-interruptions", "durationBeforeInterruption"): (120, 900, "PT2M to PT15M"),
}
COMMON_LIMITS_S = (values.DURATION_S_MIN, values.DURATION_S_MAX, "PT1M to PT12H")


def check_action_id_known(template: Template) -> Iterator[Remark]:
    """An id that AWS FIS has today."""
    for action in template.known_actions().values():
        if action.id is UNKNOWN or action.id in ACTIONS:
            continue
        if action.id in STALE_IDS:
            hint = f"is out of date; it is called {STALE_IDS[action.id]} today"
        else:
            hint = f"is no action of AWS FIS; the nearest is {nearest(action.id, ACTIONS)}"
        yield error("action-id-known", f"action {action.name}: actionId {action.id!r} {hint}")


def check_action_parameters(template: Template) -> Iterator[Remark]:
    """All required parameters, no unknown one, each of its kind."""
    rule = "action-parameters-known-and-required"
    for action, spec in specified(template):
        if action.parameters is UNKNOWN:
            continue
        where = f"action {action.name}"
        for name in action.parameters:
            if name not in spec.parameters:
                yield error(rule, f"{where}: {spec.id} has no parameter {name}; {choice(name, spec.parameters)}")
        for name, parameter in spec.parameters.items():
            if parameter.required and name not in action.parameters:
                yield error(rule, f"{where}: {spec.id} requires the parameter {name}")
        yield from _check_values(where, action.parameters, spec)
        yield from _check_prefix_list(where, action.parameters, spec)


def _check_values(where: str, given: Mapping[str, str | Unknown], spec: ActionSpec) -> Iterator[Remark]:
    for name, value in given.items():
        kind = spec.parameters[name].kind if name in spec.parameters else "duration"
        if value is UNKNOWN or kind == "duration":
            continue  # durations have a rule of their own
        wanted = values.accepted(kind, value)
        if wanted:
            yield error("action-parameter-value", f"{where}: parameter {name} is {value!r}; it must be {wanted}")


def _check_prefix_list(where: str, given: Mapping[str, str | Unknown], spec: ActionSpec) -> Iterator[Remark]:
    scope = given.get("scope")
    if spec.id != "aws:network:disrupt-connectivity" or scope in (None, UNKNOWN):
        return
    if (scope == "prefix-list") != ("prefixListIdentifier" in given):
        yield error(
            "action-parameters-known-and-required",
            f"{where}: scope is {scope!r}; prefixListIdentifier goes with the scope prefix-list, and only with it",
        )


def check_durations(template: Template) -> Iterator[Remark]:
    """Long enough for AWS, and not beyond its limit."""
    for action, spec in specified(template):
        given = {} if action.parameters is UNKNOWN else action.parameters
        for name, parameter in spec.parameters.items():
            value = given.get(name)
            if parameter.kind == "duration" and isinstance(value, str):
                limits = DURATION_LIMITS_S.get((spec.id, name), COMMON_LIMITS_S)
                yield from _check_duration(f"action {action.name}: {name} is {value!r}", value, limits)


def _check_duration(what: str, value: str, limits: tuple[float, float, str]) -> Iterator[Remark]:
    rule, (low_s, high_s, words) = "duration-sane", limits
    length_s = values.duration_s(value)
    if length_s is None:
        yield error(rule, f"{what}; it must be an ISO 8601 duration within {words}")
    elif length_s > high_s or length_s <= 0:
        yield error(rule, f"{what}; AWS takes {words}")
    elif length_s < low_s:
        yield warning(rule, f"{what}; AWS takes {words}, only the local AWS less")


def check_start_after(template: Template) -> Iterator[Remark]:
    """Actions wait for actions that exist, and not for each other."""
    actions = template.known_actions()
    waits: dict[str, set[str]] = {}
    for action in actions.values():
        befores = () if action.start_after is UNKNOWN else action.start_after
        named = [before for before in befores if before is not UNKNOWN]
        waits[action.name] = {before for before in named if before in actions}
        for before in named:
            if before not in actions:
                hint = f"the nearest action is {nearest(before, actions)}"
                yield error("start-after-known", f"action {action.name}: startAfter {before} is not defined; {hint}")
    circle = _circle(waits)
    if circle:
        names = " → ".join([*circle, circle[0]])
        yield error("start-after-acyclic", f"actions wait for each other in a circle: {names}; one must start first")


def _circle(waits: Mapping[str, set[str]]) -> list[str]:
    """The actions of one circle, each waiting for the next; empty when there is none."""
    left = {name: set(befores) for name, befores in waits.items()}
    while ready := [name for name, befores in left.items() if not befores & set(left)]:
        for name in ready:
            del left[name]
    if not left:
        return []
    path = [next(iter(left))]  # everything that is left waits for something that is left
    while (following := min(left[path[-1]] & set(left))) not in path:
        path.append(following)
    return path[path.index(following) :]


def check_local_rehearsal(template: Template) -> Iterator[Remark]:
    """What `gameday cloud` can act out without an account."""
    rule, able = "local-rehearsal", []
    for action, spec in specified(template):
        if spec.id in REHEARSABLE:
            able.append(action.name)
            continue
        sentence = f"action {action.name}: {spec.id} acts on AWS only; the local AWS fails it with a clear error"
        yield note(rule, sentence)
    if able:
        sentence = f"can be rehearsed on the local AWS: {', '.join(able)}"
        yield note(rule, sentence)
