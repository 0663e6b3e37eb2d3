"""Push an image, which is the base image and one layer of code, through the ECR API."""

from __future__ import annotations

import json
import urllib.error
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from kit.aws.client_errors import ClientSource, error_code
from kit.aws.loopback import open_url
from kit.build.changes import changed_tree
from kit.build.source_tree import APP_FOLDER, Layer, pack, sha256
from kit.errors import CloudError

BASE_REPOSITORY = "paperbroker-base"
BASE_TAG = "latest"
REPOSITORY = "paperbroker"
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPES = (
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)
PLATFORM = ("linux", "amd64")
# ECR accepts parts of 5 to 20 MiB. Only the last part may be smaller.
PART_BYTES = 10 * 1024 * 1024
# The bound of what is read into memory. A base image of Python and six libraries has about 60 MiB.
BLOB_BYTES_MAX = 1024 * 1024 * 1024
DOWNLOAD_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image in the registry. `uri` names it by digest. `change` is "" if no change was applied."""

    uri: str
    digest: str
    change: str


def build_image(session: ClientSource, *, source: Path, change: str | None, changes_dir: Path) -> Image:
    """Push the tree of `source`, with `change` applied, as an image. The same tree gives the same digest.

    Raises UsageError, before anything is pushed, if the change is unknown or does not apply, and CloudError if ECR
    refuses the push or has no base image.
    """
    layer = pack(changed_tree(source, change, changes_dir))
    ecr = session.client("ecr")
    try:
        repository_uri = _ensure_repository(ecr)
        digest = _push(ecr, layer)
    except (ClientError, BotoCoreError, urllib.error.URLError) as error:
        raise CloudError(f"image of {source.name} (change {change or 'none'}) could not be pushed: {error}") from error
    return Image(uri=f"{repository_uri}@{digest}", digest=digest, change=change or "")


def _push(ecr: Any, layer: Layer) -> str:
    base = _base_manifest(ecr)
    _copy_blobs(ecr, [entry["digest"] for entry in base["layers"]])
    _upload(ecr, layer.digest, layer.blob)
    config = _config(json.loads(_download(ecr, base["config"]["digest"])), layer)
    _upload(ecr, sha256(config), config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "size": len(config), "digest": sha256(config)},
        "layers": [
            *({"mediaType": LAYER_TYPE, "size": old["size"], "digest": old["digest"]} for old in base["layers"]),
            {"mediaType": LAYER_TYPE, "size": len(layer.blob), "digest": layer.digest},
        ],
    }
    return _put(ecr, json.dumps(manifest, sort_keys=True), layer)


def _put(ecr: Any, manifest: str, layer: Layer) -> str:
    digest = sha256(manifest.encode())
    tag = f"tree-{layer.diff_id.removeprefix('sha256:')[:16]}"
    try:
        ecr.put_image(
            repositoryName=REPOSITORY,
            imageManifest=manifest,
            imageManifestMediaType=MANIFEST_TYPE,
            imageTag=tag,
            imageDigest=digest,
        )
    except ClientError as error:
        if error_code(error) != "ImageAlreadyExistsException":
            raise
    return digest


def _config(base: dict[str, Any], layer: Layer) -> bytes:
    """Add one layer to the base's config. It has no creation time, so that the digest depends on the content only."""
    config = {**base, "rootfs": {"type": "layers", "diff_ids": [*_diff_ids(base), layer.diff_id]}}
    config["config"] = {**(base.get("config") or {}), "WorkingDir": f"/{APP_FOLDER}"}
    config["history"] = [*(base.get("history") or []), {"created_by": "paperbroker source tree"}]
    return json.dumps(config, sort_keys=True).encode()


def _diff_ids(config: dict[str, Any]) -> Sequence[str]:
    return (config.get("rootfs") or {}).get("diff_ids") or []


def _ensure_repository(ecr: Any) -> str:
    try:
        found = ecr.describe_repositories(repositoryNames=[REPOSITORY])["repositories"]
        return found[0]["repositoryUri"]
    except ClientError as error:
        if error_code(error) != "RepositoryNotFoundException":
            raise
    made = ecr.create_repository(repositoryName=REPOSITORY, tags=[{"Key": "GameDay", "Value": "allowed"}])
    return made["repository"]["repositoryUri"]


def _base_manifest(ecr: Any) -> dict[str, Any]:
    """Return the base image's manifest for our platform, also if the tag names an index of several platforms."""
    manifest = _manifest(ecr, {"imageTag": BASE_TAG})
    if manifest.get("mediaType") not in INDEX_TYPES and "manifests" not in manifest:
        return manifest
    for entry in manifest["manifests"]:
        platform = entry.get("platform", {})
        if (platform.get("os"), platform.get("architecture")) == PLATFORM:
            return _manifest(ecr, {"imageDigest": entry["digest"]})
    raise CloudError(f"base image {BASE_REPOSITORY}:{BASE_TAG} has no {'/'.join(PLATFORM)} variant")


def _manifest(ecr: Any, image_id: dict[str, str]) -> dict[str, Any]:
    accepted = [MANIFEST_TYPE, OCI_MANIFEST_TYPE, *INDEX_TYPES]
    try:
        answer = ecr.batch_get_image(repositoryName=BASE_REPOSITORY, imageIds=[image_id], acceptedMediaTypes=accepted)
    except ClientError as error:
        if error_code(error) != "RepositoryNotFoundException":
            raise
        answer = {}
    if not answer.get("images"):
        raise CloudError(
            f"base image {BASE_REPOSITORY} {image_id} is not in ECR; build and push paperbroker/deploy/Dockerfile once"
        )
    return json.loads(answer["images"][0]["imageManifest"])


def _copy_blobs(ecr: Any, digests: Sequence[str]) -> None:
    """Copy the base's layers, once for each base image, because ECR stores blobs by repository."""
    for digest in _missing(ecr, digests):
        _upload(ecr, digest, _download(ecr, digest))


def _missing(ecr: Any, digests: Sequence[str]) -> list[str]:
    if not digests:
        return []
    answer = ecr.batch_check_layer_availability(repositoryName=REPOSITORY, layerDigests=list(digests))
    available = {entry["layerDigest"] for entry in answer["layers"] if entry["layerAvailability"] == "AVAILABLE"}
    return [digest for digest in digests if digest not in available]


def _download(ecr: Any, digest: str) -> bytes:
    url = ecr.get_download_url_for_layer(repositoryName=BASE_REPOSITORY, layerDigest=digest)["downloadUrl"]
    if not url.startswith(("http://", "https://")):
        raise CloudError(f"blob {digest}: download address {url!r} is not HTTP")
    with open_url(url, timeout_s=DOWNLOAD_TIMEOUT_S) as answer:
        blob = answer.read(BLOB_BYTES_MAX + 1)
    if sha256(blob) != digest:
        raise CloudError(f"blob {digest} of {BASE_REPOSITORY}: received {len(blob)} bytes with digest {sha256(blob)}")
    return blob


def _upload(ecr: Any, digest: str, blob: bytes) -> None:
    if not _missing(ecr, [digest]):
        return
    upload_id = ecr.initiate_layer_upload(repositoryName=REPOSITORY)["uploadId"]
    for first in range(0, len(blob), PART_BYTES):
        part = blob[first : first + PART_BYTES]
        ecr.upload_layer_part(
            repositoryName=REPOSITORY,
            uploadId=upload_id,
            partFirstByte=first,
            partLastByte=first + len(part) - 1,
            layerPartBlob=part,
        )
    try:
        ecr.complete_layer_upload(repositoryName=REPOSITORY, uploadId=upload_id, layerDigests=[digest])
    except ClientError as error:
        if error_code(error) != "LayerAlreadyExistsException":
            raise
