"""Read requests of the query protocol, and write its XML answers, by the shapes of botocore's model of elbv2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from ministack.services import alb

from kit.local.alb.wire import RequestRefused
from kit.local.requests import form, models

# Shapes are annotated as `Any`, because type checkers cannot infer the types of botocore's shape classes.
Request = dict[str, Any]


def parse(action: str, params: Mapping[str, Any]) -> Request:
    """Return the members of a request."""
    fields = {name: str(value[0] if isinstance(value, list) else value) for name, value in params.items() if value}
    return with_required(action, form.read(_model(action).input_shape, fields, is_ec2=False))


def with_required(action: str, request: Request) -> Request:
    """Return the request with its required lists, which may be empty. Raises RequestRefused for a missing member."""
    shape = _model(action).input_shape
    for name in shape.required_members:
        if request.get(name) is None:
            if shape.members[name].type_name != "list":
                raise RequestRefused("ValidationError", f"'{name}' must be specified")
            request[name] = []
    return request


def answer(action: str, reply: Mapping[str, Any]) -> tuple[int, dict[str, str], bytes]:
    """Write an answer. Members that are not in the model's output are left out, and so are members that are None."""
    shape = _model(action).output_shape
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


def _model(action: str) -> Any:
    return models.model("elbv2").operation_model(action)
