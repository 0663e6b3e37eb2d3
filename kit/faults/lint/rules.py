"""The rules, one function each: a template in, remarks out. Pure; this module owns their order.

A rule is silent about what is UNKNOWN, and about what another rule tells already.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from kit.faults.lint.actions import (
    check_action_id_known,
    check_action_parameters,
    check_durations,
    check_local_rehearsal,
    check_start_after,
)
from kit.faults.lint.ecs import check_ecs_prerequisites, check_network_actions_in_turn, check_signals
from kit.faults.lint.functions import check_lambda_prerequisites
from kit.faults.lint.source import UNKNOWN, Unknown
from kit.faults.lint.targets import (
    check_blast_radius,
    check_selection,
    check_target_fits_action,
    check_target_types,
    check_targets_defined,
    check_targets_used,
)
from kit.faults.lint.template import Remark, Template, error

Rule = Callable[[Template], Iterator[Remark]]

ACTIONS_MAX = 20
STOP_CONDITIONS_MAX = 5
RESOURCE_ARNS_MAX = 5
ALARM_SOURCE = "aws:cloudwatch:alarm"
NO_SOURCE = "none"

_ALARM_ARN = re.compile(r"arn:aws[\w-]*:cloudwatch:[^:]+:[^:]+:alarm:.+")


def check_stop_condition_present(template: Template) -> Iterator[Remark]:
    """Something must stop the experiment when it hurts more than wanted."""
    rule, wanted = "stop-condition-present", f"name a CloudWatch alarm (source {ALARM_SOURCE})"
    if template.stop_conditions is UNKNOWN:
        return
    if not template.stop_conditions:
        yield error(rule, f"stopConditions is empty; {wanted}, so that something stops the experiment")
    elif any(condition.source == NO_SOURCE for condition in template.stop_conditions):
        yield error(rule, f"stop condition source is 'none': nothing stops the experiment; {wanted}")


def check_stop_condition_alarm(template: Template) -> Iterator[Remark]:
    """A stop condition is a CloudWatch alarm."""
    rule = "stop-condition-alarm"
    for condition in () if template.stop_conditions is UNKNOWN else template.stop_conditions:
        source, value = condition.source, condition.value
        if source not in (ALARM_SOURCE, NO_SOURCE, UNKNOWN):
            yield error(rule, f"stop condition source is {source!r}; it must be {ALARM_SOURCE}")
        elif source == ALARM_SOURCE and not _is_alarm_arn(value):
            yield error(rule, f"stop condition value is {value!r}; it must be the ARN of a CloudWatch alarm")


def _is_alarm_arn(value: str | Unknown | None) -> bool:
    return value is UNKNOWN or (value is not None and _ALARM_ARN.fullmatch(value) is not None)


def check_quotas(template: Template) -> Iterator[Remark]:
    """AWS takes so many and no more."""
    actions = template.known_actions()
    if len(actions) > ACTIONS_MAX:
        yield error("actions-at-most-20", f"the template has {len(actions)} actions; AWS takes at most {ACTIONS_MAX}")
    if not actions and template.actions is not UNKNOWN:
        yield error("actions-at-least-1", "the template has no action; AWS wants at least one")
    if template.stop_conditions is not UNKNOWN and len(template.stop_conditions) > STOP_CONDITIONS_MAX:
        count = len(template.stop_conditions)
        yield error(
            "stop-conditions-at-most-5",
            f"the template has {count} stop conditions; AWS takes at most {STOP_CONDITIONS_MAX}",
        )
    for target in template.known_targets().values():
        if target.arns is not UNKNOWN and len(target.arns) > RESOURCE_ARNS_MAX:
            yield error(
                "resource-arns-at-most-5",
                f"target {target.name} has {len(target.arns)} resourceArns; AWS takes at most {RESOURCE_ARNS_MAX}",
            )


RULES: tuple[Rule, ...] = (
    check_stop_condition_present,
    check_stop_condition_alarm,
    check_quotas,
    check_action_id_known,
    check_action_parameters,
    check_durations,
    check_target_fits_action,
    check_targets_defined,
    check_targets_used,
    check_target_types,
    check_selection,
    check_blast_radius,
    check_start_after,
    check_network_actions_in_turn,
    check_signals,
    check_ecs_prerequisites,
    check_lambda_prerequisites,
    check_local_rehearsal,
)
