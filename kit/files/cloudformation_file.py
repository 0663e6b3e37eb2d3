"""Parse CloudFormation templates within bounds. Functions get one form, `!Ref X` as `{"Ref": "X"}`; dates stay text."""

from __future__ import annotations

from typing import Any

import yaml

from kit.files.bounds import VALUES_MAX
from kit.files.json_file import parse_json
from kit.files.yaml_file import SafeLoader, parse_yaml

# CloudFormation reads a template that begins like JSON as JSON only.
JSON_BEGINNINGS = ("{", "[")
# Functions whose long form has no prefix.
BARE = ("Ref", "Condition")
PREFIX = "Fn::"


class _Loader(SafeLoader):
    """Load YAML with the short forms of functions, and dates as text (`Version: 2012-10-17`)."""


def _function(loader: Any, suffix: str, node: yaml.Node) -> Any:
    name = suffix if suffix in BARE else f"{PREFIX}{suffix}"
    if isinstance(node, yaml.ScalarNode):
        return {name: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


def _as_text(_loader: yaml.SafeLoader, node: yaml.Node) -> str:
    return str(node.value)


_Loader.add_multi_constructor("!", _function)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _as_text)


def parse_cloudformation(
    text: str, name: str, *, is_json: bool = False, values_max: int = VALUES_MAX
) -> tuple[list[Any], list[tuple[str, str]]]:
    """Parse every document of a template's text; return them and their repeated members, as `parse_json` does.

    `is_json`: the text is JSON whatever it begins with. Raises UnreadableFile.
    """
    if is_json or text.lstrip().startswith(JSON_BEGINNINGS):
        document, repeated = parse_json(text, name, values_max)
        return [document], repeated
    return parse_yaml(text, name, _Loader, values_max)


def is_function(value: Any) -> bool:
    """Return whether a value is a function that only the deployment resolves."""
    return isinstance(value, dict) and (list(value) == ["Ref"] or any(str(key).startswith(PREFIX) for key in value))
