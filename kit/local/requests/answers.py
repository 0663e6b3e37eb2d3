"""Write a refusal in the form that the service's protocol has for errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from kit.local.requests import wire

Answer = tuple[int, dict[str, str], bytes]
_REQUEST_ID = "00000000-0000-0000-0000-000000000000"
# Services of this protocol that have no contract.
REST_XML_SERVICES = frozenset({"cloudfront", "route53", "s3control"})


def refusal(model: Any, protocol: str, code: str, message: str, status: int) -> Answer:
    """Return the error."""
    if protocol in (wire.JSON, wire.REST_JSON):
        kind = _json_type(model) if protocol == wire.JSON else "application/json"
        body = json.dumps({"__type": code, "message": message, "Message": message}).encode()
        return status, {"Content-Type": kind, "x-amzn-errortype": code}, body
    if protocol == wire.CBOR:
        body = b"\xa2" + b"".join(_cbor_text(text) for text in ("__type", code, "message", message))
        return status, {"Content-Type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}, body
    return status, {"Content-Type": "text/xml"}, _xml(model, protocol, code, message).encode()


def in_json_version(model: Any, answer: Answer) -> Answer:
    """Return the answer with the content type that the service's model has; MiniStack has one for all services."""
    status, headers, body = answer
    others = {name: value for name, value in headers.items() if name.lower() != "content-type"}
    return status, {**others, "Content-Type": _json_type(model)}, body


def _json_type(model: Any) -> str:
    return f"application/x-amz-json-{model.metadata.get('jsonVersion', '1.0')}"


def of_unknown_service(service: str, headers: Mapping[str, str], code: str, message: str) -> Answer:
    """Return the error of a service without a contract: XML for a form and the REST-XML services, else JSON."""
    is_form = headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    if is_form or service in REST_XML_SERVICES:
        error = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
        text = f"<ErrorResponse><Error>{error}</Error><RequestId>{_REQUEST_ID}</RequestId></ErrorResponse>"
        return 501, {"Content-Type": "text/xml"}, text.encode()
    body = json.dumps({"__type": code, "message": message}).encode()
    return 501, {"Content-Type": "application/x-amz-json-1.1", "x-amzn-errortype": code}, body


def _xml(model: Any, protocol: str, code: str, message: str) -> str:
    error = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    if model.service_name == "s3":
        return f'<?xml version="1.0" encoding="UTF-8"?><Error>{error}<RequestId>{_REQUEST_ID}</RequestId></Error>'
    if model.metadata["protocol"] == "ec2":
        return f"<Response><Errors><Error>{error}</Error></Errors><RequestID>{_REQUEST_ID}</RequestID></Response>"
    namespace = model.metadata.get("xmlNamespace", "")
    namespace = namespace if isinstance(namespace, str) else namespace.get("uri", "")
    return (
        f'<ErrorResponse xmlns="{namespace}"><Error><Type>Sender</Type>{error}</Error>'
        f"<RequestId>{_REQUEST_ID}</RequestId></ErrorResponse>"
    )


def _cbor_text(text: str) -> bytes:
    content = text.encode()
    return b"\x79" + len(content).to_bytes(2, "big") + content
