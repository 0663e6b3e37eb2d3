"""Parse and serialise Step Functions' JSON requests and responses. The gate has checked the requests."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kit.local.stepfunctions.errors import ApiError

PAGE_DEFAULT, PAGE_MAX = 100, 1000
_TOKEN = re.compile(r"page-(\d{1,9})")

Reply = tuple[int, dict[str, str], bytes]
Request = Mapping[str, Any]


def operation_of(headers: Mapping[str, str]) -> str:
    """Return `StartExecution` of `AWSStepFunctions.StartExecution`."""
    return headers.get("x-amz-target", "").rpartition(".")[2]


def load(body: bytes | str) -> dict[str, Any]:
    """Parse a request body. Members that are null are not given. Raises ApiError."""
    try:
        request = json.loads(body) if body else {}
    except ValueError as error:
        raise ApiError("SerializationException", f"the body is not JSON: {error}") from error
    if not isinstance(request, dict):
        raise ApiError("SerializationException", "the body must be a JSON object")
    return {key: value for key, value in request.items() if value is not None}


def answer(value: Mapping[str, Any]) -> Reply:
    """Serialise a response."""
    return 200, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(value).encode()


def refuse(error: ApiError) -> Reply:
    """Serialise an error."""
    body = {"__type": error.code, "message": str(error)}
    headers = {"Content-Type": "application/x-amz-json-1.0", "x-amzn-errortype": error.code}
    return 400, headers, json.dumps(body).encode()


def page(name: str, items: Sequence[Any], request: Request) -> dict[str, Any]:
    """Return one page of a list. Raises ApiError."""
    start = 0
    if token := request.get("nextToken"):
        match = _TOKEN.fullmatch(token)
        if match is None or int(match[1]) > len(items):
            raise ApiError("InvalidToken", "Invalid Token: 'Invalid token'")
        start = int(match[1])
    size = min(request.get("maxResults") or PAGE_DEFAULT, PAGE_MAX)
    shown: dict[str, Any] = {name: list(items[start : start + size])}
    if start + size < len(items):
        shown["nextToken"] = f"page-{start + size}"
    return shown
