"""Check a request against botocore's own model of AWS FIS: types, required members, lengths, patterns, choices.

The same reader is used for API requests, for CloudFormation properties and for template files of either kind.
CloudFormation writes the members in PascalCase and turns numbers and booleans into text. UNKNOWN values are accepted.
"""

from __future__ import annotations

import functools
import re
import reprlib
from collections.abc import Mapping
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel

from kit.fis_rules.problems import NAME_CHARS_MAX, PROBLEMS_MAX, UNKNOWN, Problem, suggestion

# Shapes are annotated as `Any`, because type checkers cannot infer the types of botocore's shape classes.
API_VERSION = "2020-12-01"
SHAPE_RULE = "template-shape"
LIMITS_RULE = "template-limits"
PROPERTY_RULE = "property-known-and-required"

_NOUNS = {"structure": "an object", "map": "an object", "list": "a list", "string": "a string", "boolean": "a boolean"}


@functools.cache
def model() -> Any:
    """Load botocore's model of FIS."""
    return ServiceModel(Loader().load_service_model("fis", "service-2", api_version=API_VERSION), "fis")


class ShapeReader:
    """Read values by their shapes into the API's notation, and collect the problems.

    A malformed value is read as UNKNOWN, so that no later rule reports it a second time. Null means absent.
    """

    def __init__(self, *, is_cloudformation: bool = False) -> None:
        self.problems: list[Problem] = []
        self._is_cloudformation = is_cloudformation

    def read(self, shape: Any, value: Any, path: str) -> Any:
        if value is UNKNOWN or len(self.problems) >= PROBLEMS_MAX:
            return UNKNOWN
        if shape.type_name == "structure":
            return self.read_members(shape.members, shape.required_members, value, path)
        if shape.type_name == "map":
            return self._read_map(shape, value, path)
        if shape.type_name == "list":
            return self._read_list(shape, value, path)
        return self._read_scalar(shape, value, path)

    def read_members(
        self, members: Mapping[str, Any], required: tuple[str, ...] | list[str], value: Any, path: str
    ) -> Any:
        """Read the members of a structure. A required member that is absent is reported and read as UNKNOWN."""
        if not isinstance(value, Mapping):
            return self._wrong_type("structure", value, path)
        names = {self._name_in_input(name): name for name in members}
        for key in value:
            if key not in names:
                self._add_unknown(path, str(key), names)
        found: dict[str, Any] = {}
        for input_name, name in names.items():
            if value.get(input_name) is not None:
                found[name] = self.read(members[name], value[input_name], _join(path, input_name))
            elif name in required:
                self._add(PROPERTY_RULE, path, f"{input_name} is required")
                found[name] = UNKNOWN
        return found

    def _read_map(self, shape: Any, value: Any, path: str) -> Any:
        if not isinstance(value, Mapping):
            return self._wrong_type("map", value, path)
        self._check_limits(shape, len(value), value, path)
        for key in value:
            self.read(shape.key, str(key), f"the name {str(key)!r} in {path}")
        return {str(key): self.read(shape.value, item, _join(path, str(key))) for key, item in value.items()}

    def _read_list(self, shape: Any, value: Any, path: str) -> Any:
        if not isinstance(value, list):
            return self._wrong_type("list", value, path)
        self._check_limits(shape, len(value), value, path)
        return [self.read(shape.member, item, f"{path}[{index}]") for index, item in enumerate(value)]

    def _read_scalar(self, shape: Any, value: Any, path: str) -> Any:
        if shape.type_name in ("integer", "long"):
            return self._read_number(shape, value, path)
        if shape.type_name == "string" and isinstance(value, bool | int | float):
            text = str(value).lower() if isinstance(value, bool) else str(value)
            if not self._is_cloudformation:
                self._add(SHAPE_RULE, path, f'{value!r} must be a string; the API takes strings only: "{text}"')
            value = text
        if not isinstance(value, bool if shape.type_name == "boolean" else str):
            return self._wrong_type(shape.type_name, value, path)
        if isinstance(value, str) and not self._check_text(shape, value, path):
            return UNKNOWN
        return value

    def _read_number(self, shape: Any, value: Any, path: str) -> Any:
        if self._is_cloudformation and isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            return self._wrong_type(shape.type_name, value, path)
        return value if self._check_limits(shape, value, value, path) else UNKNOWN

    def _check_text(self, shape: Any, value: str, path: str) -> bool:
        limits = shape.metadata
        if not self._check_limits(shape, len(value), value, path):
            return False
        if "enum" in limits and value not in limits["enum"]:
            return self._violated(path, value, f"satisfy enum value set: [{', '.join(limits['enum'])}]")
        # AWS searches for the pattern and does not match the whole text. Its own published templates have spaces
        # where the model says [\S]+.
        if "pattern" in limits and not _pattern(limits["pattern"]).search(value):
            return self._violated(path, value, f"satisfy regular expression pattern: {limits['pattern']}")
        return True

    def _check_limits(self, shape: Any, size: int, value: Any, path: str) -> bool:
        noun = "value" if isinstance(value, int) else "length"
        if size < shape.metadata.get("min", size):
            return self._violated(path, value, f"have {noun} greater than or equal to {shape.metadata['min']}")
        if size > shape.metadata.get("max", size):
            return self._violated(path, value, f"have {noun} less than or equal to {shape.metadata['max']}")
        return True

    def _violated(self, path: str, value: Any, constraint: str) -> bool:
        self._add(LIMITS_RULE, path, f"{reprlib.repr(value)} failed to satisfy constraint: Member must {constraint}")
        return False

    def _wrong_type(self, type_name: str, value: Any, path: str) -> Any:
        self._add(SHAPE_RULE, path, f"{reprlib.repr(value)} must be {_NOUNS.get(type_name, 'a whole number')}")
        return UNKNOWN

    def _add(self, rule: str, path: str, message: str) -> None:
        self.problems.append(Problem(rule=rule, path=path, message=message))

    def _add_unknown(self, path: str, name: str, known: Mapping[str, str]) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self._add(PROPERTY_RULE, path, f"property {name[:NAME_CHARS_MAX]} is unknown; {suggestion(name, known)}")

    def _name_in_input(self, name: str) -> str:
        return name[:1].upper() + name[1:] if self._is_cloudformation else name


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


@functools.cache
def _pattern(text: str) -> re.Pattern[str]:
    # Python has no \p{…}: letters and digits are \w, separators are \s.
    return re.compile(text.replace(r"\p{L}", r"\w").replace(r"\p{N}", "").replace(r"\p{Z}", r"\s"))
