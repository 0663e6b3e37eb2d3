"""The rules beyond what AWS refuses, one function each: safety, blast radius, rehearsal on the local AWS.

A rule ignores values that are UNKNOWN, and what `kit.fis_rules` reports already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

from kit.durations import duration_s
from kit.faults.lint.ecs import check_network_actions_in_turn, check_signals
from kit.faults.lint.remark import Remark, error, note, warning
from kit.fis_rules.catalog import REHEARSABLE, duration_limits
from kit.fis_rules.problems import UNKNOWN
from kit.fis_rules.rules import ALARM_SOURCE, NO_SOURCE
from kit.fis_rules.template import Target, Template

Rule = Callable[[Template], Iterator[Remark]]

# Tags that a whole environment carries: alone they limit a fault to everything.
ENVIRONMENT_TAGS = {"env", "environment", "envname", "stage"}
ZONE_PARAMETER = "vailabilityZone"  # availabilityZoneIdentifier, writerAvailabilityZoneIdentifiers, …


def check_stop_condition_present(template: Template) -> Iterator[Remark]:
    """Report a template without an alarm that stops an experiment which does more harm than wanted."""
    if any(condition.source == NO_SOURCE for condition in template.known_stop_conditions()):
        sentence = "stop condition source is 'none': nothing stops the experiment; name a CloudWatch alarm"
        yield error("stop-condition-present", f"{sentence} (source {ALARM_SOURCE})")


def check_durations(template: Template) -> Iterator[Remark]:
    """Report durations that are too short for AWS; the local AWS takes shorter ones."""
    for action, spec in template.specified_actions():
        for name, value in action.known_parameters().items():
            if name not in spec.parameters or spec.parameters[name].kind != "duration" or not isinstance(value, str):
                continue
            limits, length_s = duration_limits(spec.id, name), duration_s(value)
            if length_s is not None and 0 < length_s < limits.low_s:
                where = f"action {action.name}: {name} is {value!r}"
                yield warning("duration-sane", f"{where}; AWS takes {limits}, only the local AWS less")


def check_targets_used(template: Template) -> Iterator[Remark]:
    """Report targets that no action names: either the target or an action is wrong."""
    actions = template.known_actions().values()
    if template.actions is UNKNOWN or any(action.targets is UNKNOWN for action in actions):
        return
    used = set(chain.from_iterable(action.targets.values() for action in actions if action.targets is not UNKNOWN))
    if UNKNOWN in used:
        return
    for name in template.known_targets():
        if name not in used:
            yield warning("target-used", f"target {name} is used by no action; name it in an action or remove it")


def check_blast_radius(template: Template) -> Iterator[Remark]:
    """Report targets without tags, filters or ARNs that keep the fault away from other resources."""
    for target in template.known_targets().values():
        if not target.arns:  # explicit ones, or ones that only the deployment knows, limit the target
            yield from _check_reach(target)


def _check_reach(target: Target) -> Iterator[Remark]:
    rule, where = "blast-radius-limited", f"target {target.name}"
    if target.tags is UNKNOWN or target.filters is UNKNOWN or target.parameters is UNKNOWN:
        return
    if not (target.tags or target.parameters):
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


def check_local_rehearsal(template: Template) -> Iterator[Remark]:
    """Say which actions `gameday cloud` can perform without an account."""
    rule, able = "local-rehearsal", []
    for action, spec in template.specified_actions():
        if spec.id in REHEARSABLE:
            able.append(action.name)
            continue
        sentence = f"action {action.name}: {spec.id} acts on AWS only; the local AWS fails it with a clear error"
        yield note(rule, sentence)
    if able:
        yield note(rule, f"can be rehearsed on the local AWS: {', '.join(able)}")


RULES: tuple[Rule, ...] = (
    check_stop_condition_present,
    check_durations,
    check_targets_used,
    check_blast_radius,
    check_network_actions_in_turn,
    check_signals,
    check_local_rehearsal,
)
