"""Parse image URIs and manifests, and name the errors of ECR."""

import hashlib
import json
import re

from kit.errors import KitError
from kit.local.ecr.layers import ImageUnusable

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_IMAGE_URI = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/"
    r"(?P<repository>[^:@]+)(?::(?P<tag>[^@]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


class RegistryRefused(KitError):
    """An ECR call is refused; `code` is the AWS error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def parse_image_uri(uri: str) -> re.Match[str]:
    """Return account, region, repository, tag and digest of an image URI. Raises ImageUnusable."""
    match = _IMAGE_URI.fullmatch(uri)
    if match is None:
        raise ImageUnusable(f"image {uri!r} is not in this ECR (ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME)")
    return match


def referenced_blobs(manifest: str) -> list[str]:
    """Return the digests of the config and the layers in a manifest; none for an index of several platforms."""
    try:
        value = json.loads(manifest)
    except json.JSONDecodeError as error:
        raise RegistryRefused("InvalidParameterException", f"the manifest is not JSON: {error}") from error
    if "manifests" in value:
        return []
    return [entry["digest"] for entry in [value.get("config"), *value.get("layers", [])] if entry]


def media_type_of(manifest: str) -> str | None:
    """Return the media type that a stored manifest names, if it names one."""
    return json.loads(manifest).get("mediaType")


def digest_of(content: bytes) -> str:
    """Return the digest by which ECR names these bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
