"""Check what faults inside ECS tasks need of a task definition; AWS notices its absence only when the experiment runs.

Also check which actions cannot run in parallel. Source: the FIS user guide, "Use the AWS FIS aws:ecs:task actions".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from kit.faults.lint.remark import Remark, error, note
from kit.faults.lint.source import Source, texts
from kit.fis_rules.problems import UNKNOWN
from kit.fis_rules.template import Action, Target, Template

RULE = "ecs-fault-prerequisites"
SIDECAR = "the SSM agent as a sidecar container"
PID_MODE = "pidMode task"
INJECTION = "enableFaultInjection true"
PREFIX = "aws:ecs:task-"
NETWORK_PREFIX = "aws:ecs:task-network-"
KILL = "aws:ecs:task-kill-process"
SIGNALS = ("SIGTERM", "SIGKILL")
IN_TURN = "ecs-network-actions-in-turn"
# The user guide's sidecar is recognised by its image, its program, or the role that its script registers with.
SIDECAR_SIGNS = ("amazon-ssm-agent", "MANAGED_INSTANCE_ROLE_NAME")


def check_ecs_prerequisites(template: Template, source: Source) -> Iterator[Remark]:
    """Report an error for each task definition in the file that lacks something, or a note if the file has none."""
    for action in template.known_actions().values():
        needs = _needs(action)
        if not needs:
            continue
        where = f"action {action.name}: {action.id}"
        definitions = candidates(action, template, source.task_definitions)
        for name, definition in definitions.items():
            lacking = [need for need in needs if _lacks(definition, need)]
            if lacking:
                sentence = f"{where} needs {' and '.join(lacking)}, which task definition {name} lacks"
                yield error(RULE, sentence)
        if not definitions:
            sentence = f"{where} needs {' and '.join(needs)} in the tasks' definition, which is not in this file"
            yield note(RULE, sentence)


def check_network_actions_in_turn(template: Template) -> Iterator[Remark]:
    """Report network actions that run in parallel on one target: AWS runs one at a time on a task.

    Two different targets may also resolve to one task, but a template cannot show that.
    """
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
    """Note signals that the user guide does not name: AWS may not send them."""
    for action in template.known_actions().values():
        signal = action.known_parameters().get("signal")
        if action.id == KILL and isinstance(signal, str) and signal not in SIGNALS:
            sentence = f"action {action.name}: signal is {signal}; the user guide names {' and '.join(SIGNALS)} only"
            yield note("ecs-kill-signal", sentence)


def _target_names(action: Action) -> set[str]:
    names = [] if action.targets is UNKNOWN else action.targets.values()
    return {name for name in names if name is not UNKNOWN}


def _before(action: Action, actions: Mapping[str, Action]) -> set[str]:
    """Return the actions that complete before this one starts."""
    found: set[str] = set()
    todo = [action]
    while todo:
        for name in todo.pop().predecessors():
            if name in actions and name not in found:
                found.add(name)
                todo.append(actions[name])
    return found


def _needs(action: Action) -> list[str]:
    if action.id is UNKNOWN or not action.id.startswith(PREFIX):
        return []
    is_network = action.id.startswith(NETWORK_PREFIX)
    needs = [SIDECAR]
    if is_network or action.id == KILL:
        needs.append(PID_MODE)
    # An explicit false asks for the other way: tools that are installed in the task's own network namespace.
    endpoints = action.known_parameters().get("useEcsFaultInjectionEndpoints")
    if is_network and not (isinstance(endpoints, str) and endpoints.lower() == "false"):
        needs.append(INJECTION)
    return needs


def candidates(action: Action, template: Template, resources: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the resources that the action may hit: those whose tags do not contradict its targets."""
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
    """Return whether the definition certainly lacks it; False when only the deployment knows."""
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
