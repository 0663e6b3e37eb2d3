"""Evaluate the paths, templates and expressions of a state against what it can read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kit.local.stepfunctions.errors import INTRINSIC_FAILURE, QueryFailed, evaluation_error, runtime_error
from kit.local.stepfunctions.language import intrinsics, jsonata_queries, jsonpath
from kit.local.stepfunctions.language.intrinsic_functions import FunctionFailed
from kit.local.stepfunctions.language.json_values import dump, json_type
from kit.local.stepfunctions.language.jsonata_queries import UNDEFINED
from kit.local.stepfunctions.language.jsonpath import PathInvalid, PathNotFound

SHOWN_CHARS_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What the queries of one state read. `result` and `error` are UNDEFINED until there are some."""

    input: Any
    context: Mapping[str, Any]
    variables: Mapping[str, Any] = field(default_factory=dict)
    result: Any = UNDEFINED
    error: Any = UNDEFINED

    def given(self, **changes: Any) -> Scope:
        """Return a scope with changes."""
        return replace(self, **changes)

    # ---- JSONPath

    def read(self, path: str) -> Any:
        """Return the value at a path of the input, the context or a variable. Raises PathNotFound, PathInvalid."""
        root, rest = intrinsics.split_path(path)
        if root == "$$":
            return jsonpath.parse(rest).read(self.context)
        if root:
            if root not in self.variables:
                raise PathNotFound(f"The variable '${root}' is not assigned")
            return jsonpath.parse(rest).read(self.variables[root])
        return jsonpath.parse(rest).read(self.input)

    def select(self, path: str) -> Any:
        """Return the value of InputPath, OutputPath or ItemsPath. Raises QueryFailed."""
        try:
            return self.read(path)
        except (PathNotFound, PathInvalid) as error:
            raise runtime_error(f"Invalid path '{path}' : {error}") from error

    def value(self, text: str, name: str) -> Any:
        """Return the value of a path or of an intrinsic function, for the field `name`. Raises QueryFailed."""
        if not intrinsics.is_call(text):
            return self._read_for(text, name, "JSONPath")
        try:
            return intrinsics.evaluate(
                intrinsics.parse(text), lambda path: self._read_for(path, name, "JsonPath argument")
            )
        except FunctionFailed as failed:
            raise QueryFailed(INTRINSIC_FAILURE, str(failed)) from failed
        except intrinsics.IntrinsicInvalid as invalid:
            raise runtime_error(str(invalid)) from invalid

    def _read_for(self, path: str, name: str, what: str) -> Any:
        try:
            return self.read(path)
        except (PathNotFound, PathInvalid) as error:
            if path.startswith("$$"):
                source, text = "context object", self.context
            else:
                source, text = "input", self.input
            shown = dump(text)[:SHOWN_CHARS_MAX]
            raise runtime_error(
                f"The {what} '{path}' specified for the field '{name}' could not be found in the {source} '{shown}'"
            ) from error

    def fill(self, template: Any) -> Any:
        """Return a payload template with its values, whose names end in `.$`. Raises QueryFailed."""
        if isinstance(template, list):
            return [self.fill(item) for item in template]
        if not isinstance(template, dict):
            return template
        return {
            name.removesuffix(".$"): self.value(item, name) if name.endswith(".$") else self.fill(item)
            for name, item in template.items()
        }

    # ---- JSONata

    def evaluate(self, template: Any, location: str) -> Any:
        """Return a template with the values of its expressions. Raises QueryFailed."""
        if isinstance(template, dict):
            return {name: self.evaluate(item, f"{location}/{name}") for name, item in template.items()}
        if isinstance(template, list):
            return [self.evaluate(item, f"{location}[{index}]") for index, item in enumerate(template)]
        if not jsonata_queries.is_query(template):
            return template
        text = jsonata_queries.text_of(template)
        subject = f"The JSONata expression '{text}' specified for the field '{location}'"
        try:
            found = jsonata_queries.evaluate(text, self._bindings())
        except (jsonata_queries.QueryThrew, jsonata_queries.QueryInvalid) as error:
            raise evaluation_error(f"{subject} threw an error during evaluation. {error}", location=location) from error
        if found is UNDEFINED:
            raise evaluation_error(f"{subject} returned nothing (undefined).", location=location)
        return found

    def evaluate_as(self, template: Any, location: str, expected: tuple[str, ...]) -> Any:
        """Return the value of a template, which has one of the types. Raises QueryFailed."""
        found = self.evaluate(template, location)
        if json_type(found) in expected:
            return found
        subject = f"The value of the field '{location}' has"
        if jsonata_queries.is_query(template):
            text = jsonata_queries.text_of(template)
            subject = f"The JSONata expression '{text}' specified for the field '{location}' returned"
        raise evaluation_error(
            f"{subject} an unexpected result type. Expected '{expected[0]}', but was '{json_type(found)}' for value: "
            f"{dump(found)}",
            location=location,
        )

    def _bindings(self) -> dict[str, Any]:
        states = {"input": self.input, "context": dict(self.context)}
        if self.result is not UNDEFINED:
            states["result"] = self.result
        if self.error is not UNDEFINED:
            states["errorOutput"] = self.error
        return {**self.variables, "states": states}
