"""Make samples of requests from botocore's model, and write them as botocore's clients do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from botocore.serialize import create_serializer

from kit.local.requests.wire import Request

DEPTH_MAX = 4


def sample(shape: Any, choose: Callable[[Any, str], bool], path: str = "", depth: int = 0) -> Any:
    """Return a value of the shape, with the members of structures that `choose` wants (required ones always)."""
    kind = shape.type_name
    if kind == "structure":
        names = [n for n in shape.members if n in shape.required_members or choose(shape, f"{path}.{n}")]
        if getattr(shape, "is_tagged_union", False):
            names = names[:1] or list(shape.members)[:1]
        if depth > DEPTH_MAX:
            names = list(shape.required_members)
        return {n: sample(shape.members[n], choose, f"{path}.{n}", depth + 1) for n in names}
    if kind == "list":
        size = max(1, shape.metadata.get("min", 1))
        return [sample(shape.member, choose, path, depth + 1) for _ in range(min(size, 100))]
    if kind == "map":
        return {scalar(shape.key): sample(shape.value, choose, path, depth + 1)}
    return scalar(shape)


def scalar(shape: Any) -> Any:
    """Return a value of a scalar shape that satisfies its length and enumeration."""
    kind = shape.type_name
    low = shape.metadata.get("min", 0)
    if kind in ("string", "character"):
        enum = shape.metadata.get("enum")
        return enum[0] if enum else "a" * max(3, low)
    if kind in ("integer", "long"):
        return max(1, int(low))
    if kind in ("float", "double"):
        return max(1.5, float(low))
    if kind == "boolean":
        return True
    if kind == "timestamp":
        return "2026-01-01T00:00:00Z"
    return b"blob"


def request(model: Any, operation: str, parameters: dict[str, Any]) -> Request:
    """Return the request that a client of botocore sends."""
    protocol = model.metadata["protocol"]
    protocol = "json" if protocol == "smithy-rpc-v2-cbor" else protocol
    serializer = create_serializer(protocol, include_validation=False)
    written = serializer.serialize_to_request(parameters, model.operation_model(operation))
    url = urlsplit(written["url_path"])
    query = parse_qs(url.query, keep_blank_values=True)
    given = written["query_string"]
    for name, value in given.items() if isinstance(given, dict) else given:
        query.setdefault(name, []).extend([str(each) for each in value] if isinstance(value, list) else [str(value)])
    body = written["body"]
    if isinstance(body, dict):
        from urllib.parse import urlencode

        body = urlencode(body)
    return Request(
        method=written["method"],
        path=url.path,
        headers={name.lower(): str(value) for name, value in written["headers"].items()},
        body=body if isinstance(body, bytes) else str(body or "").encode(),
        query=query,
    )
