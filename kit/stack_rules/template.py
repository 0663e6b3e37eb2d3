"""Read a CloudFormation template for rules: its resources by type, and the values that its properties can have.

Functions are objects such as `{"Ref": "Name"}`, so that a rule can tell a literal from a reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kit.errors import UnreadableFile, UsageError
from kit.files.cloudformation_file import parse_cloudformation

REF, GET_ATT, SUB, IF, FIND_IN_MAP = "Ref", "Fn::GetAtt", "Fn::Sub", "Fn::If", "Fn::FindInMap"
# For messages.
NAME = "the stack template"
# The step of a path that stands for every item of a list.
EACH: Final = "*"
# Lists of pairs that AWS uses as mappings, with the names of key and value.
PAIRS = (("Key", "Value"), ("Name", "Value"))


class Missing:
    """The type of MISSING, the value of a property that a template does not set."""

    def __repr__(self) -> str:
        return "not set"


MISSING: Final = Missing()


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
        documents, _ = parse_cloudformation(text, NAME)
    except UnreadableFile as error:
        raise UsageError(str(error)[:300]) from error
    if len(documents) != 1:
        raise UsageError(f"{NAME} holds {len(documents)} documents, expected one")
    document = documents[0]
    resources = document.get("Resources") if isinstance(document, Mapping) else None
    if not isinstance(resources, Mapping) or not all(isinstance(item, Mapping) for item in resources.values()):
        raise UsageError(f"{NAME} has no Resources, or one of them is not a mapping")
    sections = {name: document.get(name) or {} for name in ("Parameters", "Mappings")}
    for name, section in sections.items():
        if not isinstance(section, Mapping) or not all(isinstance(item, Mapping) for item in section.values()):
            raise UsageError(f"{name} of {NAME}: expected a mapping of mappings")
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
