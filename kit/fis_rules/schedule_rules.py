"""Rules on the order of actions: names in `startAfter`, circles, total duration, parallel actions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kit.durations import duration_s
from kit.fis_rules.catalog import DURATION_S_MAX
from kit.fis_rules.problems import UNKNOWN, Problem, nearest
from kit.fis_rules.template import Action, Template

PARALLEL_ACTIONS_MAX = 10
ACTIONS_SCHEDULED_MAX = 100


def schedule_problems(template: Template) -> Iterator[Problem]:
    """Check that actions wait for existing actions, in no circle, and within the quotas of an experiment.

    A template of very many actions is refused for their number, which has a rule of its own.
    """
    actions = template.known_actions()
    if len(actions) > ACTIONS_SCHEDULED_MAX:
        return
    undefined = False
    for action in actions.values():
        for before in action.predecessors():
            if before not in actions:
                undefined = True
                message = f"startAfter {before} is not defined; the nearest action is {nearest(before, actions)}"
                yield Problem(rule="start-after-known", path=f"action {action.name}", message=message)
    waits = {name: {each for each in action.predecessors() if each in actions} for name, action in actions.items()}
    circle = _circle(waits)
    if circle:
        names = " → ".join([*circle, circle[0]])
        message = f"actions wait for each other in a circle: {names}; one must start first"
        yield Problem(rule="start-after-acyclic", path="", message=message)
    elif actions and not undefined:
        yield from _check_quotas(actions, waits)


def _circle(waits: Mapping[str, set[str]]) -> list[str]:
    """Return the actions of one circle, each waiting for the next; empty when there is none."""
    left = {name: set(befores) for name, befores in waits.items()}
    while ready := [name for name, befores in left.items() if not befores & set(left)]:
        for name in ready:
            del left[name]
    if not left:
        return []
    # Everything that is left waits for something that is left.
    path = [next(iter(left))]
    while (following := min(left[path[-1]] & set(left))) not in path:
        path.append(following)
    return path[path.index(following) :]


def _check_quotas(actions: Mapping[str, Action], waits: Mapping[str, set[str]]) -> Iterator[Problem]:
    """Check the total duration and the parallel actions; an unknown duration counts as none."""
    spans: dict[str, tuple[float, float]] = {}
    while len(spans) < len(actions):
        for name, befores in waits.items():
            if name not in spans and befores <= set(spans):
                start = max((spans[each][1] for each in befores), default=0.0)
                spans[name] = start, start + _held_s(actions[name])
    total_s = max(end for _, end in spans.values())
    if total_s > DURATION_S_MAX:
        message = f"{total_s:.0f} seconds of an experiment exceed the quota of {DURATION_S_MAX:.0f}"
        yield Problem(rule="experiment-at-most-12-hours", path="", message=message, is_quota=True)
    busiest = max(sum(start <= at < max(end, start + 1) for start, end in spans.values()) for at, _ in spans.values())
    if busiest > PARALLEL_ACTIONS_MAX and not any(_is_unsure(action) for action in actions.values()):
        message = f"{busiest} parallel actions exceed the quota of {PARALLEL_ACTIONS_MAX}"
        yield Problem(rule="parallel-actions-at-most-10", path="", message=message, is_quota=True)


def _held_s(action: Action) -> float:
    value = action.known_parameters().get("duration")
    return (duration_s(value) or 0.0) if isinstance(value, str) else 0.0


def _is_unsure(action: Action) -> bool:
    """Return whether the deployment decides when the action runs."""
    unknown_start = action.start_after is UNKNOWN or UNKNOWN in action.start_after
    return unknown_start or action.parameters is UNKNOWN or action.known_parameters().get("duration") is UNKNOWN
