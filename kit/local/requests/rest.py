"""Find the operation of a REST request and read its parameters from path, query string, headers and body."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote
from xml.etree import ElementTree

from kit.local.requests.form import scalar
from kit.local.requests.problems import MALFORMED, UNSERVED, Refused

# Query parameters that every service accepts: signatures, and S3's name of the operation.
_OF_NO_MEMBER = ("X-Amz-", "x-id", "AWSAccessKeyId", "Signature", "Expires")
XML_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Method, path and fixed query parameters of one operation; its required headers and query parameters."""

    operation: Any
    method: str
    path: re.Pattern[str]
    fixed: Mapping[str, str]
    headers: frozenset[str]
    query: frozenset[str]
    literal_characters: int


def read(
    model: Any, method: str, path: str, headers: Mapping[str, str], body: bytes, query: Mapping[str, list[str]]
) -> tuple[str, dict[str, Any]]:
    """Return the operation's name and its parameters. Raises Refused."""
    route, labels = _find(model, method, path, headers, query)
    shape = route.operation.input_shape
    if shape is None:
        return route.operation.name, {}
    found = _from_query(shape, route, query)
    for name, member in shape.members.items():
        location, wire_name = member.serialization.get("location"), member.serialization.get("name", name)
        if location == "uri":
            found[name] = scalar(member, unquote(labels.get(_label(wire_name)) or ""))
        elif location == "header" and wire_name.lower() in headers:
            found[name] = _header(member, headers[wire_name.lower()])
        elif location == "headers":
            prefix = wire_name.lower()
            given = {key[len(prefix) :]: value for key, value in headers.items() if key.startswith(prefix)}
            if given:
                found[name] = given
    return route.operation.name, found | _from_body(model, shape, body)


@functools.cache
def _routes(model: Any) -> tuple[Route, ...]:
    return tuple(_route(model.operation_model(name)) for name in model.operation_names)


def _route(operation: Any) -> Route:
    template, _, fixed = operation.http["requestUri"].partition("?")
    pattern = re.sub(
        r"\{(\w+)(\+?)\}",
        lambda match: f"(?P<{_label(match[1])}>{'.+' if match[2] else _one(match[1])})",
        template.rstrip("/"),
    )
    shape = operation.input_shape
    required = [shape.members[name] for name in shape.required_members] if shape else []
    named = {
        location: frozenset(
            each.serialization["name"] for each in required if each.serialization.get("location") == location
        )
        for location in ("header", "querystring")
    }
    return Route(
        operation=operation,
        method=operation.http["method"],
        path=re.compile(f"{pattern}/?"),
        fixed=dict(parse_qsl(fixed, keep_blank_values=True)),
        headers=frozenset(each.lower() for each in named["header"]),
        query=named["querystring"],
        literal_characters=len(re.sub(r"\{[^}]*\}", "", template)),
    )


def _label(name: str) -> str:
    return name.replace("-", "_")


def _one(name: str) -> str:
    # ARNs in a path contain slashes, and services accept them as they are.
    return ".+" if name.lower().endswith("arn") else "[^/]+"


def _find(
    model: Any, method: str, path: str, headers: Mapping[str, str], query: Mapping[str, list[str]]
) -> tuple[Route, dict[str, str]]:
    found = _best(model, method, path, headers, query)
    if found is None:
        raise Refused(UNSERVED, f"AWS {model.service_name} has no operation at {method} {path}")
    return found


def has_operation(
    model: Any, method: str, path: str, headers: Mapping[str, str], query: Mapping[str, list[str]]
) -> bool:
    """Return whether an operation of the service is at this path."""
    return _best(model, method, path, headers, query) is not None


def _best(
    model: Any, method: str, path: str, headers: Mapping[str, str], query: Mapping[str, list[str]]
) -> tuple[Route, dict[str, str]] | None:
    best: tuple[Route, dict[str, str]] | None = None
    best_score = (-1, -1, False)
    for route in _routes(model):
        if route.method != method or not _has(route.fixed, query):
            continue
        match = route.path.fullmatch(path)
        if match is None or not (route.headers <= headers.keys() and route.query <= query.keys()):
            continue
        # Of several operations at one path, the one that needs most of what is given is meant.
        is_current = not route.operation.deprecated
        score = (len(route.fixed) + len(route.headers) + len(route.query), route.literal_characters, is_current)
        if score > best_score:
            best, best_score = (route, match.groupdict()), score
    return best


def _has(fixed: Mapping[str, str], query: Mapping[str, list[str]]) -> bool:
    return all(name in query and (not value or query[name][0] == value) for name, value in fixed.items())


def _from_query(shape: Any, route: Route, query: Mapping[str, list[str]]) -> dict[str, Any]:
    rest = {key: each for key, each in query.items() if key not in route.fixed and not key.startswith(_OF_NO_MEMBER)}
    found: dict[str, Any] = {}
    for name, member in shape.members.items():
        if member.serialization.get("location") != "querystring":
            continue
        key = member.serialization.get("name", name)
        if member.type_name == "map":
            found[name] = {each: values[0] for each, values in rest.items()}
            rest = {}
        elif key in rest:
            values = rest.pop(key)
            is_list = member.type_name == "list"
            found[name] = [scalar(member.member, each) for each in values] if is_list else scalar(member, values[0])
    # Clients add a body to operations without members in it, and no query parameters.
    return found | {key: values[0] for key, values in rest.items()}


def _header(member: Any, text: str) -> Any:
    if member.type_name == "list":
        return [each.strip() for each in text.split(",")]
    return scalar(member, text)


def _from_body(model: Any, shape: Any, body: bytes) -> dict[str, Any]:
    payload = shape.serialization.get("payload")
    if payload is not None and shape.members[payload].type_name not in ("structure", "list"):
        is_text = shape.members[payload].type_name == "string"
        return {payload: body.decode("utf-8", errors="replace") if is_text else body} if body else {}
    if not body.strip():
        return {}
    if model.metadata["protocol"] == "rest-json":
        content = _json(body)
        return {payload: content} if payload else _renamed(shape, content)
    if payload is None and not any("location" not in each.serialization for each in shape.members.values()):
        return {}
    content = _xml(shape.members[payload] if payload else shape, body)
    return {payload: content} if payload else content


def _renamed(shape: Any, content: dict[str, Any]) -> dict[str, Any]:
    """Return the body by the model's names. Names of inner members are the same in all models that are served."""
    in_body = {name: each for name, each in shape.members.items() if "location" not in each.serialization}
    names = {each.serialization.get("name", name): name for name, each in in_body.items()}
    # A member of the path that is repeated in the body must not replace it.
    return {names.get(key, key): value for key, value in content.items() if names.get(key, key) not in shape.members
            or names.get(key, key) in in_body}  # fmt: skip


def _json(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(MALFORMED, f"the body is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise Refused(MALFORMED, "the body must be a JSON object")
    return content


def _xml(shape: Any, body: bytes) -> Any:
    if len(body) > XML_BYTES_MAX or b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise Refused(MALFORMED, f"the body must be XML without declarations, of at most {XML_BYTES_MAX} bytes")
    try:
        root = ElementTree.fromstring(body)  # no declarations, bounded, our own loopback
    except ElementTree.ParseError as error:
        raise Refused(MALFORMED, f"the body is not XML: {error}") from error
    return _element(shape, root)


def _element(shape: Any, element: ElementTree.Element) -> Any:
    if shape.type_name == "structure":
        return _elements(shape, element)
    if shape.type_name == "list":
        return [_element(shape.member, each) for each in element]
    if shape.type_name == "map":
        return {str(index): (each.text or "") for index, each in enumerate(element)}
    return scalar(shape, (element.text or "").strip() if shape.type_name != "string" else element.text or "")


def _elements(shape: Any, element: ElementTree.Element) -> dict[str, Any]:
    names: dict[str, tuple[str, Any]] = {}
    for name, member in shape.members.items():
        is_flat = member.type_name == "list" and member.serialization.get("flattened")
        inner = member.member.serialization.get("name") if is_flat else None
        names[member.serialization.get("name") or inner or name] = (name, member)
    found: dict[str, Any] = {}
    for child in element:
        tag = child.tag.rpartition("}")[2]
        if tag not in names:
            found[tag] = child.text or ""
            continue
        name, member = names[tag]
        if member.type_name == "list" and member.serialization.get("flattened"):
            found.setdefault(name, []).append(_element(member.member, child))
        else:
            found[name] = _element(member, child)
    for name, member in shape.members.items():
        if member.serialization.get("xmlAttribute"):
            key = member.serialization["name"].rpartition(":")[2]
            for attribute, value in element.attrib.items():
                if attribute.rpartition("}")[2] == key:
                    found[name] = value
    return found
