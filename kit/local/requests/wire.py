"""Read a request of any AWS protocol into the operation's name and its parameters, by botocore's model.

Parameters have the model's names. What the model does not know keeps its own name, so that the check refuses it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kit.local.requests import form, rest
from kit.local.requests.problems import MALFORMED, UNSERVED, Refused

JSON, QUERY, CBOR, REST_JSON, REST_XML = "json", "query", "cbor", "rest-json", "rest-xml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it reaches a service's handler; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    query: Mapping[str, list[str]]


def protocol_of(model: Any, request: Request) -> str:
    """Return the protocol by which the request was written. A service may accept several."""
    own = model.metadata["protocol"]
    if own in (REST_JSON, REST_XML):
        return own
    if "cbor" in request.headers.get("smithy-protocol", "") or "cbor" in request.headers.get("content-type", ""):
        return CBOR
    return JSON if "x-amz-target" in request.headers else QUERY


def read(model: Any, protocol: str, request: Request) -> tuple[str, dict[str, Any]]:
    """Return the operation's name and its parameters. Raises Refused."""
    if protocol == JSON:
        return _operation(model, request.headers["x-amz-target"].rpartition(".")[2]), load(request.body)
    if protocol == QUERY:
        return _read_form(model, request)
    if protocol == CBOR:
        return _operation(model, request.path.rpartition("/")[2]), _no_cbor()
    return rest.read(model, request.method, request.path, request.headers, request.body, request.query)


def knows(model: Any, request: Request) -> bool:
    """Return whether the service has an operation at the request's path. For REST services only."""
    return rest.has_operation(model, request.method, request.path, request.headers, request.query)


def load(body: bytes | str) -> dict[str, Any]:
    """Parse a JSON body. Raises Refused."""
    try:
        content = json.loads(body) if body else {}
    except (ValueError, RecursionError) as error:
        raise Refused(MALFORMED, f"the body is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise Refused(MALFORMED, "the body must be a JSON object")
    return content


def _read_form(model: Any, request: Request) -> tuple[str, dict[str, Any]]:
    values = form.values(request.body, request.query)
    name = values.pop("Action", "")
    version = values.pop("Version", None)
    if version is not None and version != model.metadata["apiVersion"]:
        raise Refused(UNSERVED, f"API version {version} is not served here, only {model.metadata['apiVersion']}")
    operation = model.operation_model(_operation(model, name))
    is_ec2 = model.metadata["protocol"] == "ec2"
    return name, form.read(operation.input_shape, values, is_ec2=is_ec2) if operation.input_shape else values


def _operation(model: Any, name: str) -> str:
    if name not in model.operation_names:
        raise Refused(UNSERVED, f"AWS {model.service_name} has no operation {name!r}")
    return name


def _no_cbor() -> dict[str, Any]:
    raise Refused(UNSERVED, "the protocol RPC v2 CBOR is not served here; use JSON, as botocore does")
