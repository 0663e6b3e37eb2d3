"""A template as the rules see it: typed, one notation, with UNKNOWN for what only the deployment knows.

Owns the shape of a template (rules `template-shape` and `property-known-and-required`). What is out of shape is
remarked on here and UNKNOWN for every other rule, so that one mistake is told once.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from kit.faults.lint.source import UNKNOWN, Source, Unknown
from kit.fis_rules.catalog import ACTIONS, ActionSpec

Text = str | Unknown
Texts = Mapping[str, Text] | Unknown

BODY = (
    "description", "stopConditions", "targets", "actions", "roleArn", "tags", "logConfiguration", "experimentOptions",
    "experimentReportConfiguration",
)  # fmt: skip
# What only a request, and only the answer of GetExperimentTemplate, may say besides.
REQUEST_ONLY = ("clientToken",)
ANSWER_ONLY = ("id", "arn", "creationTime", "lastUpdateTime", "targetAccountConfigurationsCount")
BODY_REQUIRED = ("description", "roleArn", "actions")
RESOURCE_REQUIRED = (*BODY_REQUIRED, "targets")  # CloudFormation wants Targets, empty or not
TARGET = ("resourceType", "resourceArns", "resourceTags", "filters", "selectionMode", "parameters")
TARGET_REQUIRED = ("resourceType", "selectionMode")
ACTION = ("actionId", "description", "parameters", "targets", "startAfter")
ACTION_REQUIRED = ("actionId",)
FILTER = ("path", "values")
STOP_CONDITION = ("source", "value")
STOP_CONDITION_REQUIRED = ("source",)


class Severity(StrEnum):
    """An error is refused by AWS or unsafe; a warning deserves a look; a note is worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What one rule says about one object of a template."""

    severity: Severity
    rule: str
    sentence: str

    def about(self, name: str) -> Remark:
        """The same, of the named template."""
        return replace(self, sentence=f"{name}: {self.sentence}") if name else self

    def __str__(self) -> str:
        return f"{self.severity} {self.rule}: {' '.join(self.sentence.split())}"  # one line, whatever a name holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """One filter of a target."""

    path: Text
    values: tuple[Text, ...] | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What an action hits."""

    name: str
    resource_type: Text
    arns: tuple[Text, ...] | Unknown
    tags: Texts
    filters: tuple[Filter, ...] | Unknown
    selection_mode: Text
    parameters: Texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What is done, to which targets (slot → target's name), after which other actions."""

    name: str
    id: Text
    parameters: Texts
    targets: Texts
    start_after: tuple[Text, ...] | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class StopCondition:
    """What stops the experiment."""

    source: Text
    value: Text | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One experiment template, and what of the CloudFormation template around it its actions may act on."""

    targets: Mapping[str, Target] | Unknown
    actions: Mapping[str, Action] | Unknown
    stop_conditions: tuple[StopCondition, ...] | Unknown
    task_definitions: Mapping[str, Any]
    functions: Mapping[str, Any]

    def known_targets(self) -> Mapping[str, Target]:
        return {} if self.targets is UNKNOWN else self.targets

    def known_actions(self) -> Mapping[str, Action]:
        return {} if self.actions is UNKNOWN else self.actions


def error(rule: str, sentence: str) -> Remark:
    return Remark(severity=Severity.ERROR, rule=rule, sentence=sentence)


def warning(rule: str, sentence: str) -> Remark:
    return Remark(severity=Severity.WARNING, rule=rule, sentence=sentence)


def note(rule: str, sentence: str) -> Remark:
    return Remark(severity=Severity.NOTE, rule=rule, sentence=sentence)


def specified(template: Template) -> Iterator[tuple[Action, ActionSpec]]:
    """The actions that AWS FIS has, with what it says of them."""
    for action in template.known_actions().values():
        spec = None if action.id is UNKNOWN else ACTIONS.get(action.id)
        if spec is not None:
            yield action, spec


def choice(name: str, known: Mapping[str, object]) -> str:
    """What could be written instead of a name that is not known."""
    return f"the nearest that it has is {nearest(name, known)}" if known else "it takes none"


def nearest(name: str, names: Iterable[str]) -> str:
    """The name that the writer may have meant."""
    return difflib.get_close_matches(name, list(names), n=1, cutoff=0.0)[0]


def read_template(source: Source) -> tuple[Template, list[Remark]]:
    """The template, and the remarks on its shape."""
    reader = _Reader(source)
    return reader.template(), reader.remarks


class _Reader:
    def __init__(self, source: Source) -> None:
        self.remarks: list[Remark] = []
        self._source = source

    def template(self) -> Template:
        extra = () if self._source.is_cloudformation else ANSWER_ONLY if self._source.is_answer else REQUEST_ONLY
        required = RESOURCE_REQUIRED if self._source.is_cloudformation else BODY_REQUIRED
        body = self._members("the template", self._source.body, (*BODY, *extra), required)
        stops = self._list("stopConditions", body["stopConditions"])
        return Template(
            targets=self._named("targets", body["targets"], self._target),
            actions=self._named("actions", body["actions"], self._action),
            stop_conditions=UNKNOWN if stops is UNKNOWN else tuple(map(self._stop_condition, stops)),
            task_definitions=self._source.task_definitions,
            functions=self._source.functions,
        )

    def _target(self, name: str, value: Any) -> Target:
        where = f"target {name}"
        members = self._members(where, value, TARGET, TARGET_REQUIRED)
        filters = self._list(f"{where}: filters", members["filters"])
        return Target(
            name=name,
            resource_type=self._text(f"{where}: resourceType", members["resourceType"]),
            arns=self._texts(f"{where}: resourceArns", members["resourceArns"]),
            tags=self._text_map(f"{where}: resourceTags", members["resourceTags"]),
            filters=UNKNOWN if filters is UNKNOWN else tuple(self._filter(where, each) for each in filters),
            selection_mode=self._text(f"{where}: selectionMode", members["selectionMode"]),
            parameters=self._text_map(f"{where}: parameters", members["parameters"]),
        )

    def _filter(self, where: str, value: Any) -> Filter:
        members = self._members(f"{where}: a filter", value, FILTER, FILTER)
        path = self._text(f"{where}: filter path", members["path"])
        return Filter(path=path, values=self._texts(f"{where}: filter values", members["values"]))

    def _action(self, name: str, value: Any) -> Action:
        where = f"action {name}"
        members = self._members(where, value, ACTION, ACTION_REQUIRED)
        return Action(
            name=name,
            id=self._text(f"{where}: actionId", members["actionId"]),
            parameters=self._text_map(f"{where}: parameters", members["parameters"]),
            targets=self._text_map(f"{where}: targets", members["targets"]),
            start_after=self._texts(f"{where}: startAfter", members["startAfter"]),
        )

    def _stop_condition(self, value: Any) -> StopCondition:
        members = self._members("a stop condition", value, STOP_CONDITION, STOP_CONDITION_REQUIRED)
        given = members["value"]
        return StopCondition(
            source=self._text("stop condition source", members["source"]),
            value=None if given is None else self._text("stop condition value", given),
        )

    def _members(self, where: str, value: Any, known: tuple[str, ...], required: tuple[str, ...]) -> dict[str, Any]:
        """All known members, None where absent, UNKNOWN where required and absent (which is remarked on)."""
        if value is UNKNOWN:
            return dict.fromkeys(known, UNKNOWN)
        if not isinstance(value, Mapping):
            self._error(
                "template-shape", f"{where} is {reprlib.repr(value)}; it must be an object with {', '.join(required)}"
            )
            return dict.fromkeys(known, UNKNOWN)
        names = {self._spelt(name): name for name in known}
        for key in value:
            if key not in names:
                meant = nearest(str(key), names)
                self._error(
                    "property-known-and-required", f"{where} has no property {key}; the nearest that it has is {meant}"
                )
        for name in required:
            if value.get(self._spelt(name)) is None:
                self._error("property-known-and-required", f"{where} has no {self._spelt(name)}, which AWS requires")
        missing = dict.fromkeys(required, UNKNOWN)
        found = {member: value.get(spelt) for spelt, member in names.items()}
        return {name: missing.get(name) if given is None else given for name, given in found.items()}

    def _spelt(self, name: str) -> str:
        return name[:1].upper() + name[1:] if self._source.is_cloudformation else name

    def _named(self, where: str, value: Any, read: Any) -> Any:
        entries = self._mapping(where, value)
        return UNKNOWN if entries is UNKNOWN else {str(name): read(str(name), item) for name, item in entries.items()}

    def _text_map(self, where: str, value: Any) -> Texts:
        entries = self._mapping(where, value)
        if entries is UNKNOWN:
            return UNKNOWN
        return {str(name): self._text(f"{where} {name}", item) for name, item in entries.items()}

    def _mapping(self, where: str, value: Any) -> Mapping[Any, Any] | Unknown:
        if value is None or value is UNKNOWN:
            return {} if value is None else UNKNOWN
        if isinstance(value, Mapping):
            return value
        self._error("template-shape", f"{where} is {reprlib.repr(value)}; it must be an object of names and values")
        return UNKNOWN

    def _list(self, where: str, value: Any) -> list[Any] | Unknown:
        if value is None or value is UNKNOWN:
            return [] if value is None else UNKNOWN
        if isinstance(value, list):
            return value
        self._error("template-shape", f"{where} is {reprlib.repr(value)}; it must be a list")
        return UNKNOWN

    def _texts(self, where: str, value: Any) -> tuple[Text, ...] | Unknown:
        items = self._list(where, value)
        return UNKNOWN if items is UNKNOWN else tuple(self._text(where, item) for item in items)

    def _text(self, where: str, value: Any) -> Text:
        """CloudFormation makes text of numbers and booleans, the API refuses them."""
        if isinstance(value, str | Unknown):
            return value
        if isinstance(value, bool | int | float):
            text = str(value).lower() if isinstance(value, bool) else str(value)
            if self._source.is_cloudformation:
                return text
            self._error("template-shape", f'{where} is {value!r}; the API takes strings only: "{text}"')
            return text
        self._error("template-shape", f"{where} is {reprlib.repr(value)}; it must be a string")
        return UNKNOWN

    def _error(self, rule: str, sentence: str) -> None:
        self.remarks.append(error(rule, sentence))
