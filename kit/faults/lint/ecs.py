"""What the faults inside ECS tasks need of a task definition; AWS finds its absence only when the experiment runs.

Also what that page says cannot run in parallel. Source: the FIS user guide, "Use the AWS FIS aws:ecs:task actions".
Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from kit.faults.lint.source import UNKNOWN, texts
from kit.faults.lint.template import Action, Remark, Target, Template, error, note

RULE = "ecs-fault-prerequisites"
SIDECAR = "the SSM agent as a sidecar container"
PID_MODE = "pidMode task"
INJECTION = "enableFaultInjection true"
PREFIX = "aws:ecs:task-"
NETWORK_PREFIX = "aws:ecs:task-network-"
KILL = "aws:ecs:task-kill-process"
SIGNALS = ("SIGTERM", "SIGKILL")
IN_TURN = "ecs-network-actions-in-turn"
# How the sidecar of the user guide shows: by its image, its program, or the role that its script registers with.
SIDECAR_SIGNS = ("amazon-ssm-agent", "MANAGED_INSTANCE_ROLE_NAME")


def check_ecs_prerequisites(template: Template) -> Iterator[Remark]:
    """An error where the task definitions beside the template lack something, a note where none are beside it."""
    for action in template.known_actions().values():
        needs = _needs(action)
        if not needs:
            continue
        where = f"action {action.name}: {action.id}"
        definitions = _candidates(action, template)
        for name, definition in definitions.items():
            lacking = [need for need in needs if _lacks(definition, need)]
            if lacking:
                sentence = f"{where} needs {' and '.join(lacking)}; task definition {name} has not"
                yield error(RULE, sentence)
        if not definitions:
            sentence = f"{where} needs {' and '.join(needs)} in the tasks' definition, which is not in this file"
            yield note(RULE, sentence)


def check_network_actions_in_turn(template: Template) -> Iterator[Remark]:
    """AWS runs no two network actions on a task at a time; two targets may mean one task, but nobody can tell."""
    actions = template.known_actions()
    network = [each for each in actions.values() if each.id is not UNKNOWN and each.id.startswith(NETWORK_PREFIX)]
    for first, second in combinations(network, 2):
        shared = _target_names(first) & _target_names(second)
        if shared and second.name not in _before(first, actions) and first.name not in _before(second, actions):
            yield error(
                IN_TURN,
                f"actions {first.name} and {second.name}: {first.id} and {second.id} cannot run in parallel on the "
                f"target {min(shared)}; let one startAfter the other",
            )


def check_signals(template: Template) -> Iterator[Remark]:
    """Other signals than the user guide names may not be sent."""
    for action in template.known_actions().values():
        given = {} if action.parameters is UNKNOWN else action.parameters
        signal = given.get("signal")
        if action.id == KILL and isinstance(signal, str) and signal not in SIGNALS:
            sentence = f"action {action.name}: signal is {signal}; the user guide names {' and '.join(SIGNALS)} only"
            yield note("ecs-kill-signal", sentence)


def _target_names(action: Action) -> set[str]:
    names = [] if action.targets is UNKNOWN else action.targets.values()
    return {name for name in names if name is not UNKNOWN}


def _before(action: Action, actions: Mapping[str, Action]) -> set[str]:
    """All actions that complete before this one starts."""
    found: set[str] = set()
    todo = [action]
    while todo:
        each = todo.pop()
        for name in () if each.start_after is UNKNOWN else each.start_after:
            if name is not UNKNOWN and name in actions and name not in found:
                found.add(name)
                todo.append(actions[name])
    return found


def _needs(action: Action) -> list[str]:
    if action.id is UNKNOWN or not action.id.startswith(PREFIX):
        return []
    is_network = action.id.startswith(NETWORK_PREFIX)
    given = {} if action.parameters is UNKNOWN else action.parameters
    needs = [SIDECAR]
    if is_network or action.id == KILL:
        needs.append(PID_MODE)
    # The other way, tools installed in the task's own network namespace, is what an explicit false asks for.
    if is_network and given.get("useEcsFaultInjectionEndpoints") != "false":
        needs.append(INJECTION)
    return needs


def _candidates(action: Action, template: Template) -> Mapping[str, Any]:
    """The task definitions that the action's targets may be made from."""
    return candidates(action, template, template.task_definitions)


def candidates(action: Action, template: Template, resources: Mapping[str, Any]) -> Mapping[str, Any]:
    """Those of the resources that the action may hit: their tags do not contradict its targets."""
    names = [] if action.targets is UNKNOWN else list(action.targets.values())
    known = template.known_targets()
    targets = [known[name] for name in names if name is not UNKNOWN and name in known]
    return {
        name: resource
        for name, resource in resources.items()
        if not targets or any(not _contradicts(resource, target) for target in targets)
    }


def _contradicts(definition: Any, target: Target) -> bool:
    if target.tags is UNKNOWN or not isinstance(definition, Mapping):
        return False
    tags = definition.get("Tags")
    pairs = [tag for tag in tags if isinstance(tag, Mapping)] if isinstance(tags, list) else []
    own = {str(tag.get("Key")): tag.get("Value") for tag in pairs}
    return any(
        isinstance(own.get(key), str) and isinstance(value, str) and own[key] != value
        for key, value in target.tags.items()
    )


def _lacks(definition: Any, need: str) -> bool:
    """False as well when only the deployment knows."""
    if not isinstance(definition, Mapping):
        return definition is not UNKNOWN
    if need == PID_MODE:
        return definition.get("PidMode") not in ("task", UNKNOWN)
    if need == INJECTION:
        return definition.get("EnableFaultInjection") not in (True, "true", UNKNOWN)
    containers = definition.get("ContainerDefinitions")
    if containers is UNKNOWN or (isinstance(containers, list) and UNKNOWN in containers):
        return False
    return not any(sign in text for text in texts(containers) for sign in SIDECAR_SIGNS)
