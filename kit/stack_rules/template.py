"""Read a CloudFormation template for rules: its resources by type, and the values that its properties can have.

Short forms such as `!Ref Name` become `{"!Ref": "Name"}`, so that a rule can tell a literal from a reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from kit.errors import UsageError

REF, GET_ATT, SUB, IF, SELECT, FIND_IN_MAP = "!Ref", "!GetAtt", "!Sub", "!If", "!Select", "!FindInMap"
# The step of a path that stands for every item of a list.
EACH: Final = "*"
# Lists of pairs that AWS uses as mappings, with the names of key and value.
PAIRS = (("Key", "Value"), ("Name", "Value"))


class Missing:
    """The type of MISSING, the value of a property that a template does not set."""

    def __repr__(self) -> str:
        return "not set"


MISSING: Final = Missing()


class _Loader(yaml.SafeLoader):
    """Load YAML with the short forms of intrinsic functions."""


def _intrinsic(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return {f"!{suffix}": loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {f"!{suffix}": loader.construct_sequence(node, deep=True)}
    return {f"!{suffix}": loader.construct_mapping(node, deep=True)}  # type: ignore[arg-type]


def _as_text(_loader: yaml.SafeLoader, node: yaml.Node) -> str:
    return str(node.value)


_Loader.add_multi_constructor("!", _intrinsic)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _as_text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A parsed template. `resources` maps a logical id to its type and properties."""

    parameters: Mapping[str, Mapping[str, Any]]
    mappings: Mapping[str, Any]
    resources: Mapping[str, Mapping[str, Any]]

    def of_type(self, kind: str) -> dict[str, Mapping[str, Any]]:
        """Return the properties of all resources of a type by logical id."""
        return {name: item.get("Properties") or {} for name, item in self.resources.items() if item.get("Type") == kind}

    def properties(self, name: str) -> Mapping[str, Any]:
        """Return the properties of a resource; none if there is no such resource."""
        return self.resources.get(name, {}).get("Properties") or {}

    def possible(self, value: Any) -> list[Any]:
        """Return the literals that a value can become: a parameter's default, a mapping's entry, both sides of !If.

        A value that the template alone does not decide, such as an attribute of a resource, stays as it is.
        """
        if not isinstance(value, Mapping) or len(value) != 1:
            return [value]
        (function, argument), *_ = value.items()
        if function == REF and argument in self.parameters:
            return [self.parameters[argument].get("Default", MISSING)]
        if function == IF and isinstance(argument, Sequence) and len(argument) == 3:
            return [literal for side in argument[1:] for literal in self.possible(side)]
        if function == FIND_IN_MAP and isinstance(argument, Sequence):
            found: Any = self.mappings
            for key in argument:
                found = found.get(key, MISSING) if isinstance(found, Mapping) and isinstance(key, str) else MISSING
            return [found]
        return [value]

    def at(self, properties: Any, path: Sequence[str]) -> Iterator[Any]:
        """Yield the values at a path, unresolved; MISSING where a part of it is not set."""
        if not path:
            yield properties
            return
        step, *rest = path
        for literal in self.possible(properties):
            if step == EACH:
                for item in literal if isinstance(literal, list) else [MISSING]:
                    yield from self.at(item, rest)
            else:
                yield from self.at(_member(literal, step), rest)


def read_template(text: str) -> Template:
    """Parse a template. Raises UsageError if the text is no CloudFormation template."""
    try:
        document = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"the stack template is not YAML: {' '.join(str(error).split())[:200]}") from error
    resources = document.get("Resources") if isinstance(document, Mapping) else None
    if not isinstance(resources, Mapping) or not all(isinstance(item, Mapping) for item in resources.values()):
        raise UsageError("the stack template has no Resources, or one of them is not a mapping")
    sections = {name: document.get(name) or {} for name in ("Parameters", "Mappings")}
    for name, section in sections.items():
        if not isinstance(section, Mapping) or not all(isinstance(item, Mapping) for item in section.values()):
            raise UsageError(f"{name} of the stack template: expected a mapping of mappings")
    return Template(parameters=sections["Parameters"], mappings=sections["Mappings"], resources=resources)


def _member(value: Any, step: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(step, MISSING)
    if isinstance(value, list):
        for key, member in PAIRS:
            for item in value:
                if isinstance(item, Mapping) and item.get(key) == step:
                    return item.get(member, MISSING)
    return MISSING
