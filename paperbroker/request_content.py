"""Parse what a client chooses freely in a request: JSON bodies, query parameters, the trace id.

Every parser is bounded and accepts one spelling only. What it does not accept is the client's mistake, so it raises
InvalidRequest and nothing else.
"""

from __future__ import annotations

import json
import re
import uuid
from typing import Any, NoReturn

from starlette.datastructures import QueryParams
from starlette.requests import Request

from paperbroker.domain.orders import identifier
from paperbroker.errors import InvalidRequest

BODY_MAX_BYTES = 4096
# An order is a flat object. More brackets are refused unparsed: the parser recurses into each.
BRACKETS_MAX = 16
DIGITS_MAX = 16
SEQ_MAX = 2**53

_TRACE_ROOT = re.compile(r"(?:^|;)\s*Root=([0-9A-Za-z-]{1,64})(?:;|$)")


async def read_json(request: Request) -> Any:
    """Return the request's JSON. Raises InvalidRequest, or ClientDisconnect if the client leaves before its end."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > BODY_MAX_BYTES:
            raise InvalidRequest("body", f"longer than {BODY_MAX_BYTES} bytes")
    return parse_json(bytes(data))


def parse_json(data: bytes) -> Any:
    """Parse JSON in UTF-8 without a byte order mark, duplicate names, NaN or Infinity."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise InvalidRequest("body", f"not UTF-8 at byte {exc.start}") from exc
    brackets = text.count("{") + text.count("[")
    if brackets > BRACKETS_MAX:
        raise InvalidRequest("body", f"{brackets} opening brackets, at most {BRACKETS_MAX} are accepted")
    try:
        return _DECODER.decode(text)
    except ValueError as exc:
        raise InvalidRequest("body", "not JSON") from exc


def query_integer(params: QueryParams, name: str, default: int, low: int, high: int) -> int:
    """Return the parameter, or the default if it is not given."""
    text = _single(params, name)
    if text is None:
        return default
    digits = text.isascii() and text.isdecimal() and len(text) <= DIGITS_MAX
    if not digits or not low <= int(text) <= high:
        raise InvalidRequest(name, f"must be an integer from {low} to {high}")
    return int(text)


def query_identifier(params: QueryParams, name: str) -> str:
    """Return a parameter that must be given and be an identifier."""
    return identifier({name: _single(params, name)}, name)


def trace_id(request: Request) -> str:
    """Return the load balancer's trace id, if there is one, so that its logs and ours can be joined."""
    if not hasattr(request.state, "trace_id"):
        root = _TRACE_ROOT.search(request.headers.get("x-amzn-trace-id", ""))
        request.state.trace_id = root[1] if root else uuid.uuid4().hex
    return request.state.trace_id


def _single(params: QueryParams, name: str) -> str | None:
    values = params.getlist(name)
    if len(values) > 1:
        raise InvalidRequest(name, "must be given once")
    return values[0] if values else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise InvalidRequest(next(n for n in names if names.count(n) > 1)[:64], "must be given once")
    return found


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
