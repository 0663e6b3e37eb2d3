"""Sign requests as botocore does, for tests that send them by other means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

REGION = "us-east-1"


def signed_headers(
    cloud: Any,
    service: str,
    *,
    method: str = "POST",
    path: str = "/",
    body: str | bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the headers of a request that the operator of `cloud` signs now."""
    request = AWSRequest(method=method, url=f"{cloud.endpoint}{path}", data=body, headers=dict(headers or {}))
    credentials = Credentials(cloud.credentials.access_key, cloud.credentials.secret_key)
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    signer(credentials, service, REGION).add_auth(request)
    return dict(request.headers.items())
