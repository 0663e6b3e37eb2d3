"""Read requests of the query protocol, and write its XML answers, by the shapes of botocore's model of elbv2."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

import botocore.session
from ministack.services import alb

from kit.local.alb.wire import RequestRefused

# Shapes are annotated as `Any`, because type checkers cannot infer the types of botocore's shape classes.
Request = dict[str, Any]


@functools.cache
def operation(action: str) -> Any:
    """Return the model of an elbv2 operation."""
    return _service().operation_model(action)


@functools.cache
def _service() -> Any:
    return botocore.session.get_session().get_service_model("elbv2")


def parse(action: str, params: Mapping[str, Any]) -> Request:
    """Return the members of a request. Parameters without a member are ignored, as on AWS."""
    shape = operation(action).input_shape
    flat = {name: str(value[0] if isinstance(value, list) else value) for name, value in params.items() if value}
    return _with_required(shape, _read(shape, flat, "") or {})


def _with_required(shape: Any, request: Request) -> Request:
    """Return the request with its required lists, which may be empty. Raises RequestRefused for a missing member."""
    for name in shape.required_members:
        if request.get(name) is None:
            if shape.members[name].type_name != "list":
                raise RequestRefused("ValidationError", f"'{name}' must be specified")
            request[name] = []
    return request


def _read(shape: Any, flat: Mapping[str, str], prefix: str) -> Any:
    """Return the value below the prefix, or None if there is none."""
    if shape.type_name == "structure":
        members = {
            name: _read(member, flat, f"{prefix}.{name}" if prefix else name) for name, member in shape.members.items()
        }
        return {name: value for name, value in members.items() if value is not None} or None
    if shape.type_name == "list":
        return _read_list(shape, flat, prefix)
    value = flat.get(prefix)
    return None if value is None else _scalar(shape, value, prefix)


def _read_list(shape: Any, flat: Mapping[str, str], prefix: str) -> list[Any] | None:
    start = f"{prefix}.member."
    numbers = {key[len(start) :].partition(".")[0] for key in flat if key.startswith(start)}
    member = shape.member
    found = [_read(member, flat, f"{start}{n}") for n in sorted((n for n in numbers if n.isdecimal()), key=int)]
    return found or ([] if prefix in flat else None)


def _scalar(shape: Any, text: str, name: str) -> Any:
    if shape.type_name in ("integer", "long"):
        try:
            return int(text)
        except ValueError:
            raise RequestRefused("ValidationError", f"'{name}' must be an integer, but is '{text}'") from None
    if shape.type_name == "boolean":
        if text.lower() not in ("true", "false"):
            raise RequestRefused("ValidationError", f"'{name}' must be true or false, but is '{text}'")
        return text.lower() == "true"
    return text


def members(action: str) -> frozenset[str]:
    """Return the names of the members of an operation's request."""
    shape = operation(action).input_shape
    return frozenset(shape.members) if shape is not None else frozenset()


def from_template(action: str, properties: Mapping[str, Any]) -> Request:
    """Return the request that the properties of a template make, in which numbers and booleans may be strings.

    Raises RequestRefused for a property that the operation does not have.
    """
    shape = operation(action).input_shape
    return _with_required(shape, _convert(shape, properties, action))


def _convert(shape: Any, value: Any, path: str) -> Any:
    if shape.type_name == "structure":
        if not isinstance(value, Mapping):
            raise RequestRefused("ValidationError", f"{path} must be an object")
        shapes = shape.members
        if unknown := set(value) - set(shapes):
            raise RequestRefused.not_served(f"property {path}.{sorted(unknown)[0]}", "carry it out")
        return {name: _convert(shapes[name], each, f"{path}.{name}") for name, each in value.items()}
    if shape.type_name == "list":
        member = shape.member
        # A parameter of type CommaDelimitedList may arrive as one string.
        items = value.split(",") if isinstance(value, str) else value
        return [_convert(member, each.strip() if isinstance(each, str) else each, path) for each in items]
    return _scalar(shape, str(value), path)


def answer(action: str, reply: Mapping[str, Any]) -> tuple[int, dict[str, str], bytes]:
    """Write an answer. Members that are not in the model's output are left out, and so are members that are None."""
    shape = operation(action).output_shape
    written: tuple[int, dict[str, str], bytes] = alb._xml(200, action, "" if shape is None else _write(shape, reply))
    return written


def _write(shape: Any, value: Any) -> str:
    if shape.type_name == "structure":
        members = shape.members
        return "".join(
            f"<{name}>{_write(member, value[name])}</{name}>"
            for name, member in members.items()
            if value.get(name) is not None
        )
    if shape.type_name == "list":
        member = shape.member
        return "".join(f"<member>{_write(member, item)}</member>" for item in value)
    if shape.type_name == "boolean":
        return str(bool(value)).lower()
    return escape(str(value))
