"""Check a definition by the rules that CreateStateMachine applies, and by what the local AWS serves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kit.local.stepfunctions.definition import fields, maps, queries, tasks
from kit.local.stepfunctions.definition.problems import Problem, bounded, schema, unsupported
from kit.local.stepfunctions.language.choices import COMPOSITES, OPERATORS, problem_of_value
from kit.local.stepfunctions.language.json_values import parse_json, size_bytes
from kit.local.stepfunctions.language.state_machine import JSONATA, JSONPATH, RETRIED_TYPES, inner_definitions

DEFINITION_BYTES_MAX = 1024 * 1024
STATE_NAME_CHARS_MAX = 80
NESTING_MAX = 40
EXPRESS = "EXPRESS"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Where:
    """Where a check is: the place in the definition, the machine's type and query language."""

    path: str
    type: str
    language: str
    depth: int = 0

    def below(self, path: str, language: str) -> _Where:
        return _Where(path=path, type=self.type, language=language, depth=self.depth + 1)


def problems(text: str, kind: str = "STANDARD") -> list[Problem]:
    """Return what is wrong with a definition."""
    if size_bytes(text) > DEFINITION_BYTES_MAX:
        return [schema(f"The definition has {size_bytes(text)} bytes; {DEFINITION_BYTES_MAX} are allowed", "")]
    try:
        definition = parse_json(text)
    except (ValueError, RecursionError) as error:
        return [Problem("INVALID_JSON_DESCRIPTION", f"The definition is not JSON: {error}", "")]
    if not isinstance(definition, dict):
        return [Problem("INVALID_JSON_DESCRIPTION", "The definition must be a JSON object", "")]
    where = _Where(path="", type=kind, language=JSONPATH)
    found = list(_machine(definition, where, fields.MACHINE))
    return found or [*_repeated_names(definition)]


def _machine(definition: Mapping[str, Any], where: _Where, allowed: frozenset[str]) -> Iterator[Problem]:
    missing = [name for name in ("States", "StartAt") if name not in definition]
    if missing:
        yield schema(f"These fields are required: [{', '.join(missing)}]", where.path)
        return
    yield from unsupported(definition, allowed, where.path)
    if where.depth == 0 and "TimeoutSeconds" in definition:
        yield from bounded("TimeoutSeconds", definition["TimeoutSeconds"], fields.NUMBERS["TimeoutSeconds"], where.path)
    language = definition.get("QueryLanguage", where.language)
    if language not in (JSONPATH, JSONATA):
        yield schema(f"QueryLanguage must be {JSONPATH} or {JSONATA}, not {language!r}", where.path)
        return
    states = definition["States"]
    if not isinstance(states, dict) or not states:
        yield schema("States must be an object with at least one state", f"{where.path}/States")
        return
    inside = _Where(path=where.path, type=where.type, language=language, depth=where.depth)
    checked = [list(_state(name, state, states, inside)) for name, state in states.items()]
    for found in checked:
        yield from found
    if not any(checked):
        yield from _transitions(definition["StartAt"], states, where.path)


def _state(name: str, state: Any, states: Mapping[str, Any], where: _Where) -> Iterator[Problem]:
    path = f"{where.path}/States/{name}"
    if len(name) > STATE_NAME_CHARS_MAX:
        yield schema(f"The name of a state has at most {STATE_NAME_CHARS_MAX} characters", path)
    if not isinstance(state, dict):
        yield schema("A state must be an object", path)
        return
    kind, language = state.get("Type"), state.get("QueryLanguage", where.language)
    if "Type" not in state:
        yield schema("The field 'Type' is required but was missing", path)
        return
    if kind not in fields.TYPES:
        yield schema(
            f"Value is not a valid type of state: {kind!r}. Valid are {', '.join(fields.TYPES)}", f"{path}/Type"
        )
        return
    if language not in (JSONPATH, JSONATA):
        yield schema(f"QueryLanguage must be {JSONPATH} or {JSONATA}, not {language!r}", f"{path}/QueryLanguage")
        return
    if where.language == JSONATA and language == JSONPATH:
        yield schema("'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine", path)
    yield from _fields(kind, state, path, is_jsonata=language == JSONATA)
    yield from queries.problems(kind, state, path, is_jsonata=language == JSONATA)
    if kind == "Choice":
        yield from _choices(state, path, is_jsonata=language == JSONATA)
    if kind == "Task":
        yield from tasks.problems(state, path, is_jsonata=language == JSONATA, is_express=where.type == EXPRESS)
    if kind == "Map":
        yield from maps.problems(state, path, is_jsonata=language == JSONATA, is_express=where.type == EXPRESS)
    if kind in RETRIED_TYPES:
        yield from tasks.retries_and_catches(state, path, is_jsonata=language == JSONATA)
    if where.depth >= NESTING_MAX:
        yield schema(f"States are nested deeper than {NESTING_MAX} levels", path)
        return
    yield from _inner(kind, state, where.below(path, where.language))


def _fields(kind: str, state: Mapping[str, Any], path: str, *, is_jsonata: bool) -> Iterator[Problem]:
    allowed = fields.allowed(kind, is_jsonata=is_jsonata)
    for name in state:
        if name in allowed:
            continue
        if fields.is_of_other_language(kind, name, is_jsonata=is_jsonata):
            other = JSONATA if is_jsonata else JSONPATH
            yield schema(f"The QueryLanguage '{other}' does not support the field '{name}'", f"{path}/{name}")
        else:
            yield schema(f"Field '{name}' is not supported", f"{path}/{name}")
    for names in fields.EXCLUSIVE:
        if sum(name in state for name in names) > 1:
            yield schema(f"Only one of these fields is allowed: [{', '.join(names)}]", path)
    for name in fields.REQUIRED.get(kind, ()):
        if name not in state:
            yield schema(f"These fields are required: [{name}]", path)
    if kind in fields.CONTINUED and not {"Next", "End"} & set(state):
        yield schema("These fields are required: [Next, End]; one of them", path)
    if kind == "Wait" and not {"Seconds", "SecondsPath", "Timestamp", "TimestampPath"} & set(state):
        yield schema("One of these fields is required: [Seconds, SecondsPath, Timestamp, TimestampPath]", path)
    if "End" in state and state["End"] is not True:
        yield schema("End must be true", f"{path}/End")
    for name in fields.STRINGS:
        if name in state and not isinstance(state[name], str):
            yield schema(f"{name} must be a string", f"{path}/{name}")


def _choices(state: Mapping[str, Any], path: str, *, is_jsonata: bool) -> Iterator[Problem]:
    rules = state.get("Choices")
    if not isinstance(rules, list) or not rules:
        yield schema("Choices must be an array with at least one rule", f"{path}/Choices")
        return
    for index, rule in enumerate(rules):
        at = f"{path}/Choices[{index}]"
        if not isinstance(rule, dict):
            yield schema("A rule must be an object", at)
        elif not isinstance(rule.get("Next"), str):
            yield schema("These fields are required: [Next]", at)
        elif is_jsonata:
            yield from unsupported(rule, frozenset({"Condition", "Next", "Assign", "Output", "Comment"}), at)
            if not isinstance(rule.get("Condition"), bool | str):
                yield schema("These fields are required: [Condition]", at)
        else:
            own = {name: item for name, item in rule.items() if name not in ("Next", "Assign")}
            yield from _rule(own, at)


def _rule(rule: Any, path: str) -> Iterator[Problem]:
    if not isinstance(rule, dict):
        yield schema("A rule must be an object", path)
        return
    yield from unsupported(rule, OPERATORS | {*COMPOSITES, "Variable", "Comment"}, path)
    operators = [name for name in rule if name in OPERATORS or name in COMPOSITES]
    if len(operators) != 1:
        yield schema(f"A rule has exactly one operator, not {len(operators)}", path)
        return
    name, value = operators[0], rule[operators[0]]
    if name in ("And", "Or"):
        if not isinstance(value, list) or not value:
            yield schema(f"{name} must be an array with at least one rule", f"{path}/{name}")
            return
        for index, inner in enumerate(value):
            yield from _rule(inner, f"{path}/{name}[{index}]")
    elif name == "Not":
        yield from _rule(value, f"{path}/Not")
    else:
        if not isinstance(rule.get("Variable"), str):
            yield schema("These fields are required: [Variable]", path)
        if wrong := problem_of_value(name, value):
            yield schema(wrong, f"{path}/{name}")


def _inner(kind: str, state: Mapping[str, Any], where: _Where) -> Iterator[Problem]:
    if kind == "Parallel" and "Branches" in state:
        branches = state["Branches"]
        if not isinstance(branches, list) or not branches:
            yield schema("Branches must be an array with at least one branch", f"{where.path}/Branches")
            return
        for index, branch in enumerate(branches):
            yield from _inside(branch, f"Branches[{index}]", where, fields.BRANCH)
    for name in ("ItemProcessor", "Iterator"):
        if kind == "Map" and name in state:
            yield from _inside(state[name], name, where, fields.PROCESSOR)


def _inside(machine: Any, name: str, where: _Where, allowed: frozenset[str]) -> Iterator[Problem]:
    path = f"{where.path}/{name}"
    if not isinstance(machine, dict):
        yield schema(f"{name} must be an object", path)
        return
    yield from _machine(
        machine, _Where(path=path, type=where.type, language=where.language, depth=where.depth), allowed
    )


def _transitions(start: Any, states: Mapping[str, Any], path: str) -> Iterator[Problem]:
    if not isinstance(start, str) or start not in states:
        yield Problem("MISSING_TRANSITION_TARGET", f"Missing 'StartAt' target: {start}", f"{path}/StartAt")
        return
    for name, state in states.items():
        for field, target in _targets(state):
            if target not in states:
                yield Problem(
                    "MISSING_TRANSITION_TARGET", f"Missing '{field.rpartition('/')[2]}' target: {target}",
                    f"{path}/States/{name}/{field}",
                )  # fmt: skip
    reached, waiting = set(), [start]
    while waiting:
        name = waiting.pop()
        if name in states and name not in reached:
            reached.add(name)
            waiting.extend(target for _, target in _targets(states[name]))
    for name in states:
        if name not in reached:
            yield Problem("MISSING_TRANSITION_TARGET", f'State "{name}" is not reachable.', f"{path}/States/{name}")


def _targets(state: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("Next", "Default"):
        if name in state:
            yield name, state[name]
    for name in ("Choices", "Catch"):
        for index, each in enumerate(state.get(name) or ()):
            if "Next" in each:
                yield f"{name}[{index}]/Next", each["Next"]


def _repeated_names(definition: Mapping[str, Any]) -> Iterator[Problem]:
    counts = Counter(_names(definition))
    for name, count in counts.items():
        if count > 1:
            yield Problem("DUPLICATE_STATE_NAME", f'State name "{name}" is used {count} times', "/States")


def _names(definition: Mapping[str, Any]) -> Iterator[str]:
    for name, state in definition["States"].items():
        yield name
        for inner in inner_definitions(state):
            yield from _names(inner)
