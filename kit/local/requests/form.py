"""Read form-encoded requests (the Query and EC2 protocols) by the model: `Tags.member.1.Key=a` becomes a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

# Parameters of a signature in the query string, and of clients.
_NOT_PARAMETERS = ("X-Amz-", "AWSAccessKeyId", "Signature", "SignatureMethod", "SignatureVersion", "Timestamp")
FIELDS_MAX = 10_000

Tree = dict[str, Any]


def values(body: bytes, query: Mapping[str, list[str]]) -> dict[str, str]:
    """Return the fields of body and query string."""
    found = {name: each[0] for name, each in query.items() if each and not name.startswith(_NOT_PARAMETERS)}
    text = body.decode("utf-8", errors="replace")
    return found | dict(parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS_MAX))


def read(shape: Any, fields: Mapping[str, str], *, is_ec2: bool) -> dict[str, Any]:
    """Return the parameters, by the model's names."""
    tree: Tree = {}
    for name, value in fields.items():
        *outer, last = name.split(".")
        node = tree
        for part in outer:
            inner = node.get(part)
            if not isinstance(inner, dict):
                inner = node[part] = {}
            node = inner
        node.setdefault(last, value)
    return _structure(shape, tree, is_ec2)


def _structure(shape: Any, tree: Any, is_ec2: bool) -> Any:
    if not isinstance(tree, dict):
        return tree if tree else {}
    rest = dict(tree)
    found: dict[str, Any] = {}
    for name, member in shape.members.items():
        key = _name(member, name, is_ec2)
        if key in rest:
            found[name] = _value(member, rest.pop(key), is_ec2)
    return found | rest


def _name(member: Any, name: str, is_ec2: bool) -> str:
    serialization = member.serialization
    if is_ec2:
        given = serialization.get("name", name)
        return serialization.get("queryName") or given[:1].upper() + given[1:]
    if member.type_name == "list" and serialization.get("flattened"):
        return member.member.serialization.get("name") or serialization.get("name", name)
    return serialization.get("name", name)


def _value(shape: Any, tree: Any, is_ec2: bool) -> Any:
    kind = shape.type_name
    if kind == "structure":
        return _structure(shape, tree, is_ec2)
    if kind == "list":
        return _list(shape, tree, is_ec2)
    if kind == "map":
        return _map(shape, tree)
    return scalar(shape, tree) if isinstance(tree, str) else tree


def _list(shape: Any, tree: Any, is_ec2: bool) -> Any:
    if tree == "":
        return []
    if not isinstance(tree, dict):
        return tree
    if not (is_ec2 or shape.serialization.get("flattened")):
        items = tree.get(shape.member.serialization.get("name", "member"))
        if items is None or len(tree) > 1:
            return tree
        tree = items
    if not isinstance(tree, dict) or not all(key.isdigit() for key in tree):
        return tree
    return [_value(shape.member, tree[key], is_ec2) for key in sorted(tree, key=int)]


def _map(shape: Any, tree: Any) -> Any:
    if tree == "":
        return {}
    if isinstance(tree, dict) and not shape.serialization.get("flattened"):
        tree = tree.get("entry", tree)
    if not isinstance(tree, dict):
        return tree
    key, value = shape.key.serialization.get("name", "key"), shape.value.serialization.get("name", "value")
    try:
        return {each[key]: _value(shape.value, each[value], False) for each in tree.values()}
    except (KeyError, TypeError):
        return tree


def scalar(shape: Any, text: str) -> Any:
    """Return a number or a boolean of text; text that is none stays, so that the check refuses it."""
    kind = shape.type_name
    if kind == "boolean":
        return {"true": True, "false": False}.get(text.lower(), text)
    if kind in ("integer", "long", "float", "double"):
        try:
            return int(text) if kind in ("integer", "long") else float(text)
        except ValueError:
            return text
    return text
