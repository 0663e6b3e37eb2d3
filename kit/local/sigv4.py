"""Check and make AWS Signature Version 4 signatures, in headers and in presigned URLs.

The canonical request is computed from the bytes that arrived, as AWS does. Everything here is a pure function.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote_to_bytes, urlsplit

from kit.errors import KitError

ALGORITHM = "AWS4-HMAC-SHA256"
# Under this key the front puts the `Identity` of a caller into the ASGI scope, once it is proved.
IDENTITY = "kit.identity"
# The error code of a request without any signature.
MISSING = "MissingAuthenticationToken"
# S3's answer to signatures of version 2 in the Regions that were opened after 2013.
NOT_SUPPORTED = (
    f"The authorization mechanism you have provided is not supported. Please use {ALGORITHM} "
    "(boto3: Config(signature_version='s3v4'))."
)
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
# AWS refuses a signature that is older or newer than this, and presigned URLs that are valid for more than a week.
CLOCK_SKEW_S_MAX = 300
EXPIRES_S_MAX = 604_800
# Bounds the cache of signing keys: one for each access key, day, Region and service that is in use.
SIGNING_KEYS_MAX = 1024

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=([^,\s]+)\s*,\s*SignedHeaders=([^,\s]+)\s*,\s*Signature=([0-9a-f]{64})\s*"
)
_DATE = re.compile(r"\d{8}T\d{6}Z")
_PAYLOAD_HASH = re.compile(r"[0-9a-f]{64}")
# Payload hashes that name a way of sending the body. The seed signature, which is checked, covers the headers.
_STREAMING = frozenset({
    UNSIGNED_PAYLOAD, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
})  # fmt: skip
_QUERY_NAMES = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders")
_SIGNATURE = "X-Amz-Signature"

Header = tuple[bytes, bytes]


class NotSigned(KitError):
    """The request is refused; `code` is the AWS error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who signed a request, and for which Region and service."""

    access_key: str
    region: str
    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it arrived. Header names are in lower case; path and query are not decoded."""

    method: str
    path: str
    query: str
    headers: Sequence[Header]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a request claims about its signature. Nothing of it is proved yet."""

    identity: Identity
    date: str
    at: str
    signed_headers: tuple[str, ...]
    signature: str
    expires_s: int | None = None  # presigned URLs only

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.identity.region}/{self.identity.service}/aws4_request"


def claimed(request: Request) -> Signature:
    """Return the signature of a request. Raises NotSigned if there is none, or more than one, or a broken one."""
    authorization = _values(request.headers, b"authorization")
    pairs = _pairs(request.query)
    in_query = [name for name, _ in pairs if name.lower().startswith(("x-amz-signature", "x-amz-credential"))]
    if len(authorization) + bool(in_query) > 1:
        raise NotSigned(
            "InvalidArgument", "only one signature is allowed: one Authorization header, or a presigned URL"
        )
    if authorization:
        return _in_header(request, authorization[0])
    if in_query:
        return _in_query(dict(_unique(pairs)))
    if any(name == "AWSAccessKeyId" for name, _ in pairs):
        raise NotSigned("InvalidRequest", NOT_SUPPORTED)
    raise NotSigned(MISSING, "the request is not signed with this cloud's credentials")


def check_claims(request: Request, signature: Signature, *, now: datetime) -> None:
    """Raise NotSigned if the signature is too old, from the future, or leaves out an x-amz header."""
    _check_time(signature, now)
    _check_signed_headers(request, signature)


def verify(request: Request, signature: Signature, payload: str, secret: str) -> None:
    """Raise NotSigned unless `secret` made the signature for this request and this payload hash."""
    expected = _sign(request, signature, payload, secret)
    if not hmac.compare_digest(expected, signature.signature):
        raise NotSigned("SignatureDoesNotMatch", "the signature was not made with this cloud's secret for this request")


def payload_hash(request: Request, signature: Signature) -> str | None:
    """Return the payload hash that the request names; None if it must be computed from the body."""
    named = _values(request.headers, b"x-amz-content-sha256")
    if len(named) > 1:
        raise NotSigned("InvalidArgument", "x-amz-content-sha256 is given twice")
    if named:
        if not (_PAYLOAD_HASH.fullmatch(named[0]) or named[0] in _STREAMING):
            raise NotSigned(
                "InvalidArgument", f"x-amz-content-sha256 {named[0][:80]!r} is no SHA-256 and no known marker"
            )
        return named[0]
    if signature.expires_s is None:
        return None
    return UNSIGNED_PAYLOAD if _is_s3(signature.identity.service) else EMPTY_SHA256


def covers_body(payload: str) -> bool:
    """Return whether this payload hash is one of the body's content."""
    return payload not in _STREAMING


def sha256(body: bytes) -> str:
    """Return the payload hash of a body."""
    return hashlib.sha256(body).hexdigest()


def presign(
    url: str, *, method: str, access_key: str, secret: str, region: str, service: str, expires_s: int, now: datetime
) -> str:
    """Return `url` with a signature in its query, valid for `expires_s` from `now`."""
    at = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    identity = Identity(access_key=access_key, region=region, service=service)
    signature = Signature(
        identity=identity, date=at[:8], at=at, signed_headers=("host",), signature="", expires_s=expires_s
    )
    parts = urlsplit(url)
    values = (ALGORITHM, f"{access_key}/{signature.scope}", at, str(expires_s), "host")
    added = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in zip(_QUERY_NAMES, values, strict=True))
    query = f"{parts.query}&{added}" if parts.query else added
    request = Request(method=method, path=parts.path, query=query, headers=[(b"host", parts.netloc.encode())])
    payload = UNSIGNED_PAYLOAD if _is_s3(service) else EMPTY_SHA256
    return (
        f"{parts.scheme}://{parts.netloc}{parts.path}?{query}&{_SIGNATURE}={_sign(request, signature, payload, secret)}"
    )


def _in_header(request: Request, authorization: str) -> Signature:
    match = _AUTHORIZATION.fullmatch(authorization)
    if match is None and not authorization.startswith(ALGORITHM):
        raise NotSigned("InvalidRequest", NOT_SUPPORTED)
    if match is None:
        raise NotSigned(
            "IncompleteSignature", f"Authorization must be {ALGORITHM} Credential=…, SignedHeaders=…, Signature=…"
        )
    dates = _values(request.headers, b"x-amz-date")
    if len(dates) != 1:
        raise NotSigned("IncompleteSignature", "Authorization needs one x-amz-date header")
    return _signature(match[1], dates[0], match[2], match[3], None)


def _in_query(given: dict[str, str]) -> Signature:
    missing = [name for name in (*_QUERY_NAMES, _SIGNATURE) if name not in given]
    if missing:
        raise NotSigned("AuthorizationQueryParametersError", f"the presigned URL lacks {', '.join(missing)}")
    if given["X-Amz-Algorithm"] != ALGORITHM:
        raise NotSigned("AuthorizationQueryParametersError", f"X-Amz-Algorithm must be {ALGORITHM}")
    expires = given["X-Amz-Expires"]
    if not (re.fullmatch(r"[0-9]{1,6}", expires) and 1 <= int(expires) <= EXPIRES_S_MAX):
        raise NotSigned("AuthorizationQueryParametersError", f"X-Amz-Expires must be 1 to {EXPIRES_S_MAX}")
    return _signature(
        given["X-Amz-Credential"], given["X-Amz-Date"], given["X-Amz-SignedHeaders"], given[_SIGNATURE], int(expires)
    )


def _signature(credential: str, at: str, signed_headers: str, signature: str, expires_s: int | None) -> Signature:
    parts = credential.split("/")
    if len(parts) != 5 or parts[4] != "aws4_request" or not all(parts):
        raise NotSigned("IncompleteSignature", "Credential must be KEY/DATE/REGION/SERVICE/aws4_request")
    access_key, date, region, service, _ = parts
    if not _DATE.fullmatch(at) or at[:8] != date:
        raise NotSigned("SignatureDoesNotMatch", "the date must be YYYYMMDDTHHMMSSZ, and Credential must name its day")
    names = tuple(signed_headers.split(";"))
    if "host" not in names or list(names) != sorted(set(names)) or signed_headers != signed_headers.lower():
        raise NotSigned("SignatureDoesNotMatch", "SignedHeaders must be sorted, in lower case, and must include host")
    identity = Identity(access_key=access_key, region=region, service=service)
    return Signature(
        identity=identity, date=date, at=at, signed_headers=names, signature=signature, expires_s=expires_s
    )


def _check_time(signature: Signature, now: datetime) -> None:
    try:
        signed_at = datetime.strptime(signature.at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise NotSigned("SignatureDoesNotMatch", f"{signature.at} is no date") from None
    if signed_at - now > timedelta(seconds=CLOCK_SKEW_S_MAX):
        raise NotSigned("RequestTimeTooSkewed", f"signed at {signature.at}, which is in the future")
    if signature.expires_s is None and now - signed_at > timedelta(seconds=CLOCK_SKEW_S_MAX):
        raise NotSigned("RequestTimeTooSkewed", f"signed at {signature.at}, more than {CLOCK_SKEW_S_MAX} s ago")
    if signature.expires_s is not None and now - signed_at > timedelta(seconds=signature.expires_s):
        raise NotSigned("AccessDenied", f"Request has expired: signed at {signature.at} for {signature.expires_s} s")


def _check_signed_headers(request: Request, signature: Signature) -> None:
    signed = signature.signed_headers
    unsigned = {
        name for name, _ in request.headers if name.startswith(b"x-amz-") and name.decode("latin-1") not in signed
    }
    if unsigned:
        names = ", ".join(sorted(name.decode("latin-1") for name in unsigned))
        raise NotSigned("AccessDenied", f"There were headers present in the request which were not signed: {names}")


def _sign(request: Request, signature: Signature, payload: str, secret: str) -> str:
    service = signature.identity.service
    # S3 signs the path as it was sent. All others sign it encoded once more, without empty and dot segments.
    path = request.path or "/"
    canonical = "\n".join((
        request.method,
        path if _is_s3(service) else quote(_normalized(path), safe="/~"),
        canonical_query(request.query),
        *(f"{name}:{_header(request.headers, name)}" for name in signature.signed_headers),
        "",
        ";".join(signature.signed_headers),
        payload,
    ))  # fmt: skip
    hashed = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    text = f"{ALGORITHM}\n{signature.at}\n{signature.scope}\n{hashed}"
    key = _signing_key(secret, signature.date, signature.identity.region, service)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


@functools.lru_cache(maxsize=SIGNING_KEYS_MAX)
def _signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def canonical_query(query: str) -> str:
    """Return the query sorted and encoded as SigV4 wants it, without a signature."""
    if not query:
        return ""
    encoded = ((_encode(name), _encode(value)) for name, value in _raw_pairs(query))
    return "&".join(f"{name}={value}" for name, value in sorted(encoded) if name != _SIGNATURE)


def _encode(text: str) -> str:
    return quote(unquote_to_bytes(text.replace("+", " ")), safe="-_.~")


def _raw_pairs(query: str) -> Iterable[tuple[str, str]]:
    for part in query.split("&"):
        if part:
            name, _, value = part.partition("=")
            yield name, value


def _pairs(query: str) -> list[tuple[str, str]]:
    def decode(text: str) -> str:
        return unquote_to_bytes(text.replace("+", " ")).decode("latin-1")

    return [(decode(name), decode(value)) for name, value in _raw_pairs(query)] if query else []


def _unique(pairs: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    seen: set[str] = set()
    for name, value in pairs:
        lower = name.lower()
        if lower.startswith("x-amz-") and lower in seen:
            raise NotSigned("AuthorizationQueryParametersError", f"{name} is given twice")
        seen.add(lower)
        yield name, value


def _normalized(path: str) -> str:
    """Return the path without empty and dot segments (RFC 3986, 5.2.4). A slash at the end stays."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            if kept:
                kept.pop()
        elif segment and segment != ".":
            kept.append(segment)
    return "/" + "/".join(kept) + ("/" if kept and path.endswith("/") else "")


def _header(headers: Iterable[Header], name: str) -> str:
    return ",".join(" ".join(value.split()) for value in _values(headers, name.encode("latin-1", "replace")))


def _values(headers: Iterable[Header], name: bytes) -> list[str]:
    return [value.decode("utf-8", "surrogateescape").strip() for found, value in headers if found == name]


def _is_s3(service: str) -> bool:
    return service.startswith("s3")
