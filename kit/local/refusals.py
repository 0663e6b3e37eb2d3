"""Write a refusal in the shape that the caller's AWS protocol has, so that SDKs show its code and message."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from xml.sax.saxutils import escape

from kit.local.asgi import Header

_REST_XML = frozenset({"route53", "cloudfront"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A response that refuses a request."""

    content_type: bytes
    body: bytes
    headers: tuple[Header, ...]


def shaped(headers: dict[bytes, bytes], query: bytes, service: str, code: str, message: str) -> Refusal:
    """Return the refusal for a request. `service` is what it claims to be signed for, or empty."""
    request_id = str(uuid.uuid4())
    ids: tuple[Header, ...] = ((b"x-amzn-requestid", request_id.encode()), (b"x-amz-request-id", request_id.encode()))
    if headers.get(b"smithy-protocol") == b"rpc-v2-cbor":
        body = b"\xa2" + b"".join(_cbor(text) for text in ("__type", code, "message", message))
        return Refusal(
            content_type=b"application/cbor", body=body, headers=(*ids, (b"smithy-protocol", b"rpc-v2-cbor"))
        )
    if b"x-amz-target" in headers or _is_rest_json(headers, query, service):
        body = json.dumps({"__type": code, "message": message}).encode()
        return Refusal(
            content_type=b"application/x-amz-json-1.0", body=body, headers=(*ids, (b"x-amzn-errortype", code.encode()))
        )
    return Refusal(content_type=b"text/xml", body=_xml(headers, query, service, code, message, request_id), headers=ids)


def _is_rest_json(headers: dict[bytes, bytes], query: bytes, service: str) -> bool:
    is_xml = service.startswith("s3") or service in _REST_XML or _is_query(headers, query)
    return bool(service) and not is_xml


def _is_query(headers: dict[bytes, bytes], query: bytes) -> bool:
    is_form = headers.get(b"content-type", b"").startswith(b"application/x-www-form-urlencoded")
    return is_form or query.startswith(b"Action=") or b"&Action=" in query


def _xml(headers: dict[bytes, bytes], query: bytes, service: str, code: str, message: str, request_id: str) -> bytes:
    error = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    if service == "ec2":
        text = f"<Response><Errors><Error>{error}</Error></Errors><RequestID>{request_id}</RequestID></Response>"
    elif service in _REST_XML or _is_query(headers, query):
        sender = f"<Error><Type>Sender</Type>{error}</Error>"
        text = f"<ErrorResponse>{sender}<RequestId>{request_id}</RequestId></ErrorResponse>"
    else:
        text = f"<Error>{error}<RequestId>{request_id}</RequestId></Error>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()


def _cbor(text: str) -> bytes:
    """Encode a text of at most 65,535 bytes (RFC 8949, major type 3)."""
    raw = text.encode()
    if len(raw) < 24:
        return bytes([0x60 + len(raw)]) + raw
    return b"\x79" + len(raw).to_bytes(2, "big") + raw
