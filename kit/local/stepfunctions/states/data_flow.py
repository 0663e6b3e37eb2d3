"""Compute what flows into a state, out of it and into variables, in both query languages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kit.local.stepfunctions.errors import RESULT_PATH_MATCH_FAILURE, QueryFailed, evaluation_error, runtime_error
from kit.local.stepfunctions.language import jsonpath
from kit.local.stepfunctions.language.json_values import as_integer, dump, is_number
from kit.local.stepfunctions.language.jsonata_queries import UNDEFINED
from kit.local.stepfunctions.language.scopes import Scope
from kit.local.stepfunctions.language.state_machine import State
from kit.local.stepfunctions.states.branch import Branch, limited

_NUMBER = ("number",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a state ended: its output, the next state (None ends the sequence) and the variables that it assigned."""

    output: Any
    next: str | None
    assigned: Mapping[str, Any]


def scope_of(branch: Branch, data: Any) -> Scope:
    """Return the scope of the present state."""
    return Scope(input=data, context=branch.context(), variables=branch.variables)


def effective_input(state: State, scope: Scope) -> Scope:
    """Return the scope after InputPath, which JSONata states do not have."""
    if state.is_jsonata or "InputPath" not in state.fields:
        return scope
    path = state.fields["InputPath"]
    return scope.given(input={} if path is None else scope.select(path))


def arguments(state: State, scope: Scope) -> Any:
    """Return what the state passes on to its task or its branches: Parameters, Arguments, or the input."""
    if state.is_jsonata:
        given = state.fields.get("Arguments", UNDEFINED)
        return scope.input if given is UNDEFINED else scope.evaluate(given, "Arguments")
    return scope.fill(state.fields["Parameters"]) if "Parameters" in state.fields else scope.input


def finish(state: State, branch: Branch, raw: Scope, result: Any, *, assign_from: Any = UNDEFINED) -> Outcome:
    """Return the outcome of a state with a result; `raw` is the scope of its input.

    In JSONPath, Assign reads `assign_from`, by default the result.
    """
    if state.is_jsonata:
        return finish_jsonata(state.fields, branch, raw.given(result=result), result, state.fields.get("Next"))
    source = result if assign_from is UNDEFINED else assign_from
    assigned = assign(state.fields.get("Assign"), raw.given(input=source), is_jsonata=False)
    selected = result
    if "ResultSelector" in state.fields:
        selected = raw.given(input=result).fill(state.fields["ResultSelector"])
    output = place(state.fields.get("ResultPath", "$"), raw, selected)
    output = project(state.fields, raw.given(input=output))
    return outcome(branch, output, state.fields.get("Next"), assigned, state.name)


def finish_jsonata(
    fields: Mapping[str, Any], branch: Branch, scope: Scope, default: Any, following: str | None
) -> Outcome:
    """Return the outcome by Output and Assign of a state, a rule or a catcher."""
    output = scope.evaluate(fields["Output"], "Output") if "Output" in fields else default
    assigned = assign(fields.get("Assign"), scope, is_jsonata=True)
    return outcome(branch, output, following, assigned, branch.state.name if branch.state else "")


def outcome(branch: Branch, output: Any, following: str | None, assigned: Mapping[str, Any], name: str) -> Outcome:
    """Return an outcome whose output is small enough."""
    limited(output, name)
    for variable, value in assigned.items():
        limited(value, variable)
    return Outcome(output=output, next=following, assigned=assigned)


def assign(given: Any, scope: Scope, *, is_jsonata: bool) -> Mapping[str, Any]:
    """Return the values of variables. All of them are computed before one is changed."""
    if not given:
        return {}
    return scope.evaluate(given, "Assign") if is_jsonata else scope.fill(given)


def place(path: str | None, raw: Scope, result: Any) -> Any:
    """Return the state's input with the result at ResultPath; null drops the result. Raises QueryFailed."""
    if path is None:
        return raw.input
    if path == "$":
        return result
    try:
        return jsonpath.write(raw.input, jsonpath.parse(path), result)
    except jsonpath.PathNotFound as error:
        raise QueryFailed(
            RESULT_PATH_MATCH_FAILURE, f"Unable to apply step '{path}' to input {dump(raw.input)}: {error}"
        ) from error


def project(fields: Mapping[str, Any], scope: Scope) -> Any:
    """Return the part of an output that OutputPath selects; null makes it an empty object."""
    path = fields.get("OutputPath", "$")
    return {} if path is None else scope.select(path)


def number(state: State, scope: Scope, name: str, *, default: int | None = None) -> int | None:
    """Return a whole number that a field gives literally, by an expression, or (`name` + `Path`) by a path."""
    fields, by_path = state.fields, f"{name}Path"
    if by_path in fields:
        value = read_path(fields, scope, by_path)
        found = as_integer(value)
        if found is None or found < 0:
            raise _not_integer(by_path, value, fields[by_path])
        return found
    if name not in fields:
        return default
    if not state.is_jsonata:
        return fields[name]
    value = scope.evaluate_as(fields[name], name, _NUMBER)
    found = as_integer(value)
    if found is None or found < 0:
        raise evaluation_error(
            f"The value of the field '{name}' must be a positive integer, not {dump(value)}", location=name
        )
    return found


def percentage(state: State, scope: Scope, name: str) -> float | None:
    """Return a percentage that a field gives literally, by an expression, or (`name` + `Path`) by a path."""
    fields, by_path = state.fields, f"{name}Path"
    if by_path in fields:
        value = read_path(fields, scope, by_path)
        found = value if is_number(value) else as_integer(value)
        if found is None:
            raise _not_integer(by_path, value, fields[by_path])
        if not 0 <= found <= 100:
            raise runtime_error(f"{name} must be a percentage from 0 to 100, not {dump(value)}: {fields[by_path]}")
        return found
    if name not in fields:
        return None
    found = scope.evaluate_as(fields[name], name, _NUMBER) if state.is_jsonata else fields[name]
    if not 0 <= found <= 100:
        raise evaluation_error(f"{name} must be a percentage from 0 to 100, not {dump(found)}", location=name)
    return found


def _not_integer(name: str, value: Any, path: str) -> QueryFailed:
    shown = dump(value) if isinstance(value, str) else f'"{dump(value)}"'
    return runtime_error(f"The {name} field refers to value {shown} which is not a valid integer: {path}")


def read_path(fields: Mapping[str, Any], scope: Scope, name: str) -> Any:
    """Return the value that a `…Path` field leads to. Raises QueryFailed."""
    return scope.value(fields[name], name)
