"""Check the paths, templates and expressions of a state in a definition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kit.local.stepfunctions.definition import fields
from kit.local.stepfunctions.definition.problems import Problem, bounded, schema
from kit.local.stepfunctions.language import intrinsics, jsonata_queries
from kit.local.stepfunctions.language.choices import timestamp
from kit.local.stepfunctions.language.intrinsics import IntrinsicInvalid, check_path
from kit.local.stepfunctions.language.jsonpath import PathInvalid


def problems(kind: str, state: Mapping[str, Any], path: str, *, is_jsonata: bool) -> Iterator[Problem]:
    """Yield what is wrong with the queries of a state."""
    yield from _numbers(state, path, is_jsonata=is_jsonata)
    if is_jsonata:
        for name in ("Arguments", "Output", "Assign", "Items", "ItemSelector", "Error", "Cause", "Timestamp"):
            if name in state:
                yield from expressions(state[name], f"{path}/{name}")
        for index, rule in enumerate(_objects(state.get("Choices"))):
            for name in ("Condition", "Output", "Assign"):
                yield from expressions(rule.get(name), f"{path}/Choices[{index}]/{name}")
        yield from _literal_timestamp(kind, state, path)
        if isinstance(state.get("Items"), str) and not jsonata_queries.is_query(state["Items"]):
            yield schema("Items must be an array or an expression", f"{path}/Items")
    else:
        yield from _paths(state, path)
        for name in fields.TEMPLATES:
            if name in state:
                yield from template(state[name], f"{path}/{name}")
        yield from _texts(kind, state, path)
        for index, rule in enumerate(_objects(state.get("Choices"))):
            yield from _rule_paths(rule, f"{path}/Choices[{index}]")
            yield from template(rule.get("Assign"), f"{path}/Choices[{index}]/Assign")
    yield from assignments(state.get("Assign"), f"{path}/Assign")


def assignments(assign: Any, path: str) -> Iterator[Problem]:
    """Yield what is wrong with the names of variables."""
    if assign is None:
        return
    if not isinstance(assign, dict):
        yield schema("Assign must be an object", path)
        return
    for name in assign:
        plain = name.removesuffix(".$")
        if not plain.isidentifier() or len(plain) > 80:
            yield schema(f"{plain!r} is not a name of a variable", f"{path}/{name}")
        elif plain == "states":
            yield schema("'states' is a reserved name of a variable", f"{path}/{name}")


def expressions(value: Any, path: str) -> Iterator[Problem]:
    """Yield the JSONata expressions in a value that cannot be parsed."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from expressions(item, f"{path}/{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from expressions(item, f"{path}[{index}]")
    elif jsonata_queries.is_query(value):
        try:
            jsonata_queries.parse(jsonata_queries.text_of(value))
        except jsonata_queries.QueryInvalid as error:
            yield schema(f"Value is not a valid JSONata expression. {error}", path)
    elif isinstance(value, str) and value.startswith(jsonata_queries.BEGIN) != value.endswith(jsonata_queries.END):
        yield schema("A JSONata expression begins with {% and ends with %}", path)


def template(value: Any, path: str) -> Iterator[Problem]:
    """Yield the values of a payload template that are neither a path nor a call of an intrinsic function."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name.endswith(".$"):
                yield from _path_or_call(item, name, f"{path}/{name}")
            else:
                yield from template(item, f"{path}/{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from template(item, f"{path}[{index}]")


def _path_or_call(text: Any, name: str, path: str) -> Iterator[Problem]:
    expected = f"The value for the field '{name}' must be a valid JSONPath or a valid intrinsic function call"
    if not isinstance(text, str):
        yield schema(expected, path)
        return
    try:
        if intrinsics.is_call(text):
            intrinsics.parse(text)
        else:
            check_path(text)
    except (PathInvalid, IntrinsicInvalid) as error:
        yield schema(f"{expected}: {error}", path)


def _paths(state: Mapping[str, Any], path: str) -> Iterator[Problem]:
    for name in (*fields.NULLABLE_PATHS, *fields.PATHS):
        value = state.get(name)
        if name not in state or (value is None and name in fields.NULLABLE_PATHS):
            continue
        yield from path_problems(name, value, path, is_reference=name == "ResultPath")
    for name in fields.PATHS_OR_CALLS:
        if name in state:
            yield from _path_or_call(state[name], name, f"{path}/{name}")


def path_problems(name: str, value: Any, path: str, *, is_reference: bool = False) -> Iterator[Problem]:
    """Yield what is wrong with a field that holds a path."""
    try:
        parsed = check_path(value) if isinstance(value, str) else None
    except PathInvalid as error:
        yield schema(f"Value is not a valid JSONPath: {error}", f"{path}/{name}")
        return
    if parsed is None:
        yield schema(f"{name} must be a JSONPath", f"{path}/{name}")
    elif is_reference and (not parsed.is_reference or str(value).startswith("$$")):
        yield schema("Value is not a Reference Path: the path must name one place in the input", f"{path}/{name}")


def _rule_paths(rule: Mapping[str, Any], path: str) -> Iterator[Problem]:
    for name, value in rule.items():
        if name == "Variable" or (name.endswith("Path") and isinstance(value, str)):
            yield from path_problems(name, value, path)
        elif name in ("And", "Or"):
            for index, inner in enumerate(_objects(value)):
                yield from _rule_paths(inner, f"{path}/{name}[{index}]")
        elif name == "Not" and isinstance(value, dict):
            yield from _rule_paths(value, f"{path}/Not")


def _numbers(state: Mapping[str, Any], path: str, *, is_jsonata: bool) -> Iterator[Problem]:
    for name, bounds in fields.NUMBERS.items():
        if name not in state:
            continue
        value = state[name]
        if is_jsonata and jsonata_queries.is_query(value):
            yield from expressions(value, f"{path}/{name}")
        else:
            yield from bounded(name, value, bounds, path)


def _texts(kind: str, state: Mapping[str, Any], path: str) -> Iterator[Problem]:
    yield from _literal_timestamp(kind, state, path)
    for name in ("Error", "Cause"):
        if name in state and not isinstance(state[name], str):
            yield schema(f"{name} must be a string", f"{path}/{name}")


def _literal_timestamp(kind: str, state: Mapping[str, Any], path: str) -> Iterator[Problem]:
    value = state.get("Timestamp")
    is_literal = kind == "Wait" and "Timestamp" in state and not jsonata_queries.is_query(value)
    if is_literal and timestamp(value) is None:
        yield schema("Timestamp must be such as 2024-01-31T18:00:00Z", f"{path}/Timestamp")


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
