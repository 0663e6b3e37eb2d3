"""Hold the credentials of one local AWS: the operator's, the tasks', and those that STS has issued."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from kit.local import sigv4

SECRET_BYTES = 30
# An access key of twelve digits selects the account of this number. It is the operator's key there.
ACCOUNT_KEY = re.compile(r"[0-9]{12}")
REGISTRY_USER = "AWS"
# AWS's own links are valid for ten minutes (code) to twelve hours (wait conditions).
LINK_S = 12 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """An access key and its secret."""

    access_key: str
    secret_key: str = field(repr=False)

    @classmethod
    def random(cls) -> Credentials:
        """Make credentials that nobody can guess, in AWS's format."""
        key = base64.b32encode(secrets.token_bytes(10)).decode()
        return cls(access_key=f"AKIA{key}", secret_key=secrets.token_urlsafe(SECRET_BYTES))


class Keyring:
    """Know the secret of every access key. Only what is signed with one of them is served."""

    def __init__(self, operator: Credentials) -> None:
        self.operator = operator
        self._others: tuple[Callable[[str], str | None], ...] = ()

    def attach(self, *secrets_of: Callable[[str], str | None]) -> None:
        """Ask these functions for the secrets of further access keys from now on."""
        self._others = secrets_of

    def secret_of(self, access_key: str) -> str | None:
        """Return the secret of an access key, or None if this cloud has no such key."""
        if access_key == self.operator.access_key or ACCOUNT_KEY.fullmatch(access_key):
            return self.operator.secret_key
        return next((secret for other in self._others if (secret := other(access_key))), None)

    def link(self, url: str, *, service: str, region: str, method: str = "GET", expires_s: int = LINK_S) -> str:
        """Return `url` as a presigned one, for clients that do not sign, such as those that download a layer."""
        return sigv4.presign(
            url, method=method, access_key=self.operator.access_key, secret=self.operator.secret_key,
            region=region, service=service, expires_s=expires_s, now=datetime.now(UTC),
        )  # fmt: skip

    @property
    def registry_password(self) -> str:
        """The password with which `docker login` is answered. It opens nothing but the registry."""
        return hmac.new(self.operator.secret_key.encode(), b"ecr-registry", hashlib.sha256).hexdigest()

    def opens_registry(self, authorization: bytes) -> bool:
        """Return whether this is HTTP's basic authentication with the registry's password."""
        expected = base64.b64encode(f"{REGISTRY_USER}:{self.registry_password}".encode())
        return hmac.compare_digest(authorization, b"Basic " + expected)
