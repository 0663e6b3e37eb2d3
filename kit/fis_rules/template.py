"""An experiment template as the rules see it: typed, with UNKNOWN for what only the deployment knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kit.fis_rules.catalog import ACTIONS
from kit.fis_rules.problems import UNKNOWN, Unknown
from kit.fis_rules.specs import ActionSpec

Text = str | Unknown
Texts = Mapping[str, Text] | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """One filter of a target."""

    path: Text
    values: tuple[Text, ...] | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The resources that an action hits."""

    name: str
    resource_type: Text
    arns: tuple[Text, ...] | Unknown
    tags: Texts
    filters: tuple[Filter, ...] | Unknown
    selection_mode: Text
    parameters: Texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What is done, to which targets (slot → name of the target), after which other actions."""

    name: str
    id: Text
    parameters: Texts
    targets: Texts
    start_after: tuple[Text, ...] | Unknown

    def known_parameters(self) -> Mapping[str, Text]:
        return {} if self.parameters is UNKNOWN else self.parameters

    def predecessors(self) -> list[str]:
        """Return the known names in `startAfter`."""
        return [] if self.start_after is UNKNOWN else [name for name in self.start_after if name is not UNKNOWN]


@dataclass(frozen=True, slots=True, kw_only=True)
class StopCondition:
    """What stops the experiment."""

    source: Text
    value: Text | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One experiment template; `log_configuration` is as the API takes it."""

    role_arn: Text
    tags: Texts
    targets: Mapping[str, Target] | Unknown
    actions: Mapping[str, Action] | Unknown
    stop_conditions: tuple[StopCondition, ...] | Unknown
    log_configuration: Mapping[str, Any] | Unknown | None

    def known_targets(self) -> Mapping[str, Target]:
        return {} if self.targets is UNKNOWN else self.targets

    def known_actions(self) -> Mapping[str, Action]:
        return {} if self.actions is UNKNOWN else self.actions

    def known_stop_conditions(self) -> tuple[StopCondition, ...]:
        return () if self.stop_conditions is UNKNOWN else self.stop_conditions

    def specified_actions(self) -> Iterator[tuple[Action, ActionSpec]]:
        """Return the actions that AWS FIS has, with their specification."""
        for action in self.known_actions().values():
            spec = None if action.id is UNKNOWN else ACTIONS.get(action.id)
            if spec is not None:
                yield action, spec


def template_of(request: Mapping[str, Any] | Unknown) -> Template:
    """Build the template from a request that `shapes` has read."""
    get = _getter(request)
    targets, actions, conditions = get("targets", {}), get("actions", {}), get("stopConditions", [])
    return Template(
        role_arn=get("roleArn", UNKNOWN),
        tags=get("tags", {}),
        targets=UNKNOWN if targets is UNKNOWN else {name: _target(name, each) for name, each in targets.items()},
        actions=UNKNOWN if actions is UNKNOWN else {name: _action(name, each) for name, each in actions.items()},
        stop_conditions=UNKNOWN if conditions is UNKNOWN else tuple(_stop_condition(each) for each in conditions),
        log_configuration=get("logConfiguration", None),
    )


def _target(name: str, value: Any) -> Target:
    get = _getter(value)
    filters = get("filters", [])
    return Target(
        name=name,
        resource_type=get("resourceType", UNKNOWN),
        arns=_texts(get("resourceArns", [])),
        tags=get("resourceTags", {}),
        filters=UNKNOWN if filters is UNKNOWN else tuple(_filter(each) for each in filters),
        selection_mode=get("selectionMode", UNKNOWN),
        parameters=get("parameters", {}),
    )


def _filter(value: Any) -> Filter:
    get = _getter(value)
    return Filter(path=get("path", UNKNOWN), values=_texts(get("values", UNKNOWN)))


def _action(name: str, value: Any) -> Action:
    get = _getter(value)
    return Action(
        name=name,
        id=get("actionId", UNKNOWN),
        parameters=get("parameters", {}),
        targets=get("targets", {}),
        start_after=_texts(get("startAfter", [])),
    )


def _stop_condition(value: Any) -> StopCondition:
    get = _getter(value)
    return StopCondition(source=get("source", UNKNOWN), value=get("value", None))


def _texts(value: Any) -> tuple[Text, ...] | Unknown:
    return UNKNOWN if value is UNKNOWN else tuple(value)


def _getter(value: Any) -> Any:
    """Return a reader of members; every member of an unknown value is unknown."""
    return (lambda _name, _default: UNKNOWN) if value is UNKNOWN else value.get
