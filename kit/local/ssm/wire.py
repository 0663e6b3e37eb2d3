"""Parse and serialise Systems Manager's JSON requests and responses. The gate has checked the requests."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from kit.local.ssm.errors import InvalidNextToken, InvalidRequest, SsmError

BODY_BYTES_MAX = 1024 * 1024
PAGE_MAX = 50
TOKEN = re.compile(r"page-(\d{1,9})")

Reply = tuple[int, dict[str, str], bytes]
Request = dict[str, Any]


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


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    return value
