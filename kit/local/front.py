"""Let in only what this cloud's own clients send: no browser, no foreign host name, nothing that is not signed.

Everybody on this machine can connect to 127.0.0.1, and so can every web page in a browser. A task or a function of this
cloud is a program that runs as the user. docs/security.md has the threat model.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from kit.local import refusals, sigv4
from kit.local.asgi import (
    BODY_BYTES_MAX,
    App,
    BodyTooLarge,
    CallerGone,
    Message,
    Receive,
    Send,
    answer,
    read_body,
    replay,
)
from kit.local.keyring import Keyring
from kit.local.sigv4 import NotSigned

HEALTH = "/_ministack/health"
# Only tasks know their own address below this path, as on AWS. It serves no credentials.
METADATA_PREFIX = "/_ecs/v4/"
# MiniStack's own paths: reset, config and the like. The links among them are handed out as presigned URLs.
ADMIN_PREFIXES = ("/_ministack", "/_localstack")
LINK_PREFIXES = (
    "/_ministack/cfn-response/", "/_ministack/cfn-signal/", "/_ministack/lambda-code/", "/_ministack/lambda-layers/",
)  # fmt: skip
OWN_SITES = frozenset({b"none", b"same-origin"})
# MiniStack sends headers that would let any page read its answers.
CORS_PREFIX = b"access-control-"

_REGISTRY = re.compile(r"/v2(?:/|/_catalog|/[^?]+/(?:blobs|manifests)/[^?]*|/[^?]+/tags/list)?")


class Front:
    """Refuse what must not reach the services, and pass the rest to `app`."""

    def __init__(self, app: App, keyring: Keyring, port: int, clock: Callable[[], datetime] | None = None) -> None:
        self._app = app
        self._keyring = keyring
        self._clock = clock or (lambda: datetime.now(UTC))
        self._host = re.compile(rf"(?:127\.0\.0\.1|(?:[a-z0-9-]+\.)*localhost):{port}".encode(), re.IGNORECASE)
        self._origins = frozenset({f"http://127.0.0.1:{port}".encode(), f"http://localhost:{port}".encode()})

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            raise NotImplementedError(f"the front serves HTTP only, not {scope['type']}")
        try:
            self._check_browser(scope["headers"])
            receive = await self._admit(scope, receive)
        except NotSigned as error:
            await self._refuse(scope, send, error)
        except BodyTooLarge as error:
            await _refuse_body(send, error.args[0])
        except CallerGone:
            return
        else:
            await self._app(scope, receive, _without_cors(send))

    def _check_browser(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Raise NotSigned for a request that a page of another origin sent, or that came by a foreign host name."""
        hosts = 0
        for name, value in headers:
            if name == b"host":
                hosts += 1
                if not self._host.fullmatch(value):
                    raise NotSigned("AccessDenied", f"Host {_text(value)} is not an address of this local AWS")
            elif name == b"origin" and value not in self._origins:
                raise NotSigned("AccessDenied", f"pages of {_text(value)} may not call this local AWS")
            elif name == b"sec-fetch-site" and value.lower() not in OWN_SITES:
                raise NotSigned("AccessDenied", f"a browser sent this for another site (Sec-Fetch-Site {_text(value)})")
        if hosts != 1:
            raise NotSigned("AccessDenied", f"the request has {hosts} Host headers, not one")

    async def _admit(self, scope: Any, receive: Receive) -> Receive:
        """Return the `receive` of a request that may be served. Raises NotSigned, BodyTooLarge, CallerGone."""
        path = scope["path"]
        if scope["method"] in ("GET", "HEAD") and (path == HEALTH or path.startswith(METADATA_PREFIX)):
            return replay(b"", receive)
        if path.startswith(ADMIN_PREFIXES) and not path.startswith(LINK_PREFIXES):
            raise NotSigned("AccessDenied", f"{path} is not served here")
        length = _content_length(scope)
        if length > BODY_BYTES_MAX:
            raise BodyTooLarge(length)
        if _REGISTRY.fullmatch(path) and self._opens_registry(scope):
            return receive if length >= 0 else replay(await read_body(receive), receive)
        return await self._admit_signed(scope, receive)

    def _opens_registry(self, scope: Any) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(given) == 1 and self._keyring.opens_registry(given[0])

    async def _admit_signed(self, scope: Any, receive: Receive) -> Receive:
        request = sigv4.Request(
            method=scope["method"],
            path=(scope.get("raw_path") or scope["path"].encode()).decode("latin-1"),
            query=scope["query_string"].decode("latin-1"),
            headers=scope["headers"],
        )
        signature = sigv4.claimed(request)
        secret = self._keyring.secret_of(signature.identity.access_key)
        if secret is None:
            raise NotSigned("InvalidClientTokenId", "The security token included in the request is invalid: "
                            f"this cloud has no access key {signature.identity.access_key[:40]!r}")  # fmt: skip
        sigv4.check_claims(request, signature, now=self._clock())
        payload, body = sigv4.payload_hash(request, signature), None
        if payload is None:
            body = await read_body(receive)
            payload = sigv4.sha256(body)
        sigv4.verify(request, signature, payload, secret)
        if body is None:
            # Read after the proof, so that nobody else can fill the memory.
            body = await read_body(receive)
            if signature.expires_s is None and sigv4.covers_body(payload) and payload != sigv4.sha256(body):
                raise NotSigned("XAmzContentSHA256Mismatch", "the body is not the one that was signed")
        scope[sigv4.IDENTITY] = signature.identity
        return replay(body, receive)

    async def _refuse(self, scope: Any, send: Send, error: NotSigned) -> None:
        if error.code == sigv4.MISSING and _REGISTRY.fullmatch(scope["path"]):
            # `docker` sends its password only after it was asked for it.
            challenge = ((b"www-authenticate", b'Basic realm="ecr",service="ecr.amazonaws.com"'),)
            await answer(send, 401, b'{"errors":[{"code":"UNAUTHORIZED"}]}', b"application/json", challenge)
            return
        service = _claimed_service(scope)
        refusal = refusals.shaped(dict(scope["headers"]), scope["query_string"], service, error.code, str(error))
        # The body may not have been read, so the connection cannot be used again.
        headers = (*refusal.headers, (b"connection", b"close"))
        body = b"" if scope["method"] == "HEAD" else refusal.body
        await answer(send, 403, body, refusal.content_type, headers)


def _without_cors(send: Send) -> Send:
    async def send_without(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [each for each in message["headers"] if not each[0].lower().startswith(CORS_PREFIX)]
            message = {**message, "headers": kept}
        await send(message)

    return send_without


def _claimed_service(scope: Any) -> str:
    """Return the service in the request's credential scope, whether it is proved or not."""
    claims = [value for name, value in scope["headers"] if name == b"authorization"] or [scope["query_string"]]
    match = re.search(rb"(?:/|%2F)([a-z0-9-]{1,63})(?:/|%2F)aws4_request", claims[0])
    return match[1].decode() if match else ""


def _content_length(scope: Any) -> int:
    """Return the announced length, or -1 for a chunked body."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
        if name == b"transfer-encoding":
            return -1
    return 0


async def _refuse_body(send: Send, length: int) -> None:
    text = f"request body of {length} bytes is over the limit of {BODY_BYTES_MAX}"
    body = f'{{"__type": "RequestEntityTooLarge", "message": "{text}"}}'.encode()
    await answer(send, 413, body, b"application/json", ((b"connection", b"close"),))


def _text(value: bytes) -> str:
    return repr(value[:120].decode("latin-1"))
