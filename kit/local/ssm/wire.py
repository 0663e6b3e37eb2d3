"""Parse, validate and serialise Systems Manager's JSON requests and responses, following botocore's model."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from kit.local.ssm.errors import InvalidNextToken, InvalidRequest, SsmError

API_VERSION = "2014-11-06"
BODY_BYTES_MAX = 1024 * 1024
PAGE_MAX = 50
TOKEN = re.compile(r"page-(\d{1,9})")

Reply = tuple[int, dict[str, str], bytes]
Request = dict[str, Any]


@functools.cache
def model() -> Any:
    """Load botocore's model of Systems Manager. This is slow, so do not call it on the event loop first."""
    return ServiceModel(Loader().load_service_model("ssm", "service-2", api_version=API_VERSION), "ssm")


def operation_of(headers: Mapping[str, str]) -> str:
    """Return `GetDocument` of `AmazonSSM.GetDocument`."""
    return headers.get("x-amz-target", "").rpartition(".")[2]


def load(body: bytes | str) -> Request:
    """Parse a request body. Raises InvalidRequest."""
    if len(body) > BODY_BYTES_MAX:
        raise InvalidRequest(f"body of {len(body)} bytes exceeds {BODY_BYTES_MAX}")
    try:
        request = json.loads(body) if body else {}
    except ValueError as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from error
    if not isinstance(request, dict):
        raise InvalidRequest("the body must be a JSON object")
    return {key: value for key, value in request.items() if value is not None}


def check(operation: str, request: Request) -> None:
    """Raise InvalidRequest unless the request satisfies the model: members, types, patterns, enumerations."""
    shape = model().operation_model(operation).input_shape
    unknown = sorted(set(request) - set(shape.members))
    if unknown:
        raise InvalidRequest(f"{operation} has no member {unknown[0]}")
    report = ParamValidator().validate(request, shape)
    if report.has_errors():
        raise InvalidRequest(report.generate_report())
    for name, value in request.items():
        _check_text(shape.members[name], value, name)


def answer(value: Mapping[str, Any]) -> Reply:
    """Serialise a response."""
    return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(_without_none(value), default=str).encode()


def refuse(error: SsmError) -> Reply:
    """Serialise an error. Step Functions needs `__type` without a namespace."""
    body = {"__type": error.code, "message": str(error), "Message": str(error)}
    headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-errortype": error.code}
    return 400, headers, json.dumps(body).encode()


def page(name: str, items: list[Any], request: Mapping[str, Any]) -> dict[str, Any]:
    """Return one page of a list."""
    start = 0
    if token := request.get("NextToken"):
        match = TOKEN.fullmatch(token)
        if match is None:
            raise InvalidNextToken(f"NextToken {token!r} is not valid")
        start = int(match[1])
    end = start + int(request.get("MaxResults") or PAGE_MAX)
    return {name: items[start:end], "NextToken": f"page-{end}" if end < len(items) else None}


def _check_text(shape: Any, value: Any, where: str) -> None:
    if not isinstance(value, str):
        return
    limits = shape.metadata
    if "enum" in limits and value not in limits["enum"]:
        raise InvalidRequest(f"{where} {value!r} must be one of {', '.join(limits['enum'])}")
    if "max" in limits and len(value) > limits["max"]:
        raise InvalidRequest(f"{where} has {len(value)} characters, more than {limits['max']}")
    pattern = limits.get("pattern")
    if pattern and "\\p" not in pattern and not re.search(f"^(?:{pattern})$", value):
        raise InvalidRequest(f"{where} {value!r} must match {pattern}")


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    return value
