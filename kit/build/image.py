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
from kit.build.source_tree import APP_FOLDER, Layer, pack, read_tree, sha256
from kit.errors import CloudError

BASE_TAG = "latest"
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
class Repository:
    """Where the images of one kind are, and the base image that they share. `dockerfile` builds the base."""

    name: str
    base: str
    dockerfile: str


PAPERBROKER = Repository(name="paperbroker", base="paperbroker-base", dockerfile="paperbroker/deploy/Dockerfile")
# The kit itself, for tasks that send load.
KIT = Repository(name="gameday", base="gameday-base", dockerfile="kit/load/Dockerfile")
# Parts of the kit that no task needs. Its folder `deploy` is code.
CACHES = frozenset({"__pycache__"})
NOT_IN_TASKS = ("kit/local/",)


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
    return _pushed(session, PAPERBROKER, layer, change or "")


def build_kit_image(session: ClientSource, kit: Path) -> Image:
    """Push the kit as an image, for the tasks that send load. The same tree gives the same digest.

    Raises CloudError if ECR refuses the push or has no base image.
    """
    tree = {path: content for path, content in read_tree(kit, CACHES).items() if not path.startswith(NOT_IN_TASKS)}
    return _pushed(session, KIT, pack(tree), "")


def _pushed(session: ClientSource, repository: Repository, layer: Layer, change: str) -> Image:
    registry = _Registry(ecr=session.client("ecr"), repository=repository)
    try:
        repository_uri = registry.ensure_repository()
        digest = registry.push(layer)
    except (ClientError, BotoCoreError, urllib.error.URLError) as error:
        what = f"image of {repository.name} (change {change or 'none'})"
        raise CloudError(f"{what} could not be pushed: {error}") from error
    return Image(uri=f"{repository_uri}@{digest}", digest=digest, change=change)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Registry:
    """One repository in ECR."""

    ecr: Any
    repository: Repository

    def push(self, layer: Layer) -> str:
        base = self._base_manifest()
        self._copy_blobs([entry["digest"] for entry in base["layers"]])
        self._upload(layer.digest, layer.blob)
        config = _config(json.loads(self._download(base["config"]["digest"])), layer, self.repository.name)
        self._upload(sha256(config), config)
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "size": len(config), "digest": sha256(config)},
            "layers": [
                *({"mediaType": LAYER_TYPE, "size": old["size"], "digest": old["digest"]} for old in base["layers"]),
                {"mediaType": LAYER_TYPE, "size": len(layer.blob), "digest": layer.digest},
            ],
        }
        return self._put(json.dumps(manifest, sort_keys=True), layer)

    def _put(self, manifest: str, layer: Layer) -> str:
        digest = sha256(manifest.encode())
        tag = f"tree-{layer.diff_id.removeprefix('sha256:')[:16]}"
        try:
            self.ecr.put_image(
                repositoryName=self.repository.name,
                imageManifest=manifest,
                imageManifestMediaType=MANIFEST_TYPE,
                imageTag=tag,
                imageDigest=digest,
            )
        except ClientError as error:
            if error_code(error) != "ImageAlreadyExistsException":
                raise
        return digest

    def ensure_repository(self) -> str:
        name = self.repository.name
        try:
            found = self.ecr.describe_repositories(repositoryNames=[name])["repositories"]
            return found[0]["repositoryUri"]
        except ClientError as error:
            if error_code(error) != "RepositoryNotFoundException":
                raise
        made = self.ecr.create_repository(repositoryName=name, tags=[{"Key": "GameDay", "Value": "allowed"}])
        return made["repository"]["repositoryUri"]

    def _base_manifest(self) -> dict[str, Any]:
        """Return the base image's manifest for our platform, also if the tag names an index of several platforms."""
        manifest = self._manifest({"imageTag": BASE_TAG})
        if manifest.get("mediaType") not in INDEX_TYPES and "manifests" not in manifest:
            return manifest
        for entry in manifest["manifests"]:
            platform = entry.get("platform", {})
            if (platform.get("os"), platform.get("architecture")) == PLATFORM:
                return self._manifest({"imageDigest": entry["digest"]})
        raise CloudError(f"base image {self.repository.base}:{BASE_TAG} has no {'/'.join(PLATFORM)} variant")

    def _manifest(self, image_id: dict[str, str]) -> dict[str, Any]:
        accepted = [MANIFEST_TYPE, OCI_MANIFEST_TYPE, *INDEX_TYPES]
        base = self.repository.base
        try:
            answer = self.ecr.batch_get_image(repositoryName=base, imageIds=[image_id], acceptedMediaTypes=accepted)
        except ClientError as error:
            if error_code(error) != "RepositoryNotFoundException":
                raise
            answer = {}
        if not answer.get("images"):
            raise CloudError(
                f"base image {base} {image_id} is not in ECR; build and push {self.repository.dockerfile} once"
            )
        return json.loads(answer["images"][0]["imageManifest"])

    def _copy_blobs(self, digests: Sequence[str]) -> None:
        """Copy the base's layers, once for each base image, because ECR stores blobs by repository."""
        for digest in self._missing(digests):
            self._upload(digest, self._download(digest))

    def _missing(self, digests: Sequence[str]) -> list[str]:
        if not digests:
            return []
        answer = self.ecr.batch_check_layer_availability(
            repositoryName=self.repository.name, layerDigests=list(digests)
        )
        available = {entry["layerDigest"] for entry in answer["layers"] if entry["layerAvailability"] == "AVAILABLE"}
        return [digest for digest in digests if digest not in available]

    def _download(self, digest: str) -> bytes:
        base = self.repository.base
        url = self.ecr.get_download_url_for_layer(repositoryName=base, layerDigest=digest)["downloadUrl"]
        if not url.startswith(("http://", "https://")):
            raise CloudError(f"blob {digest}: download address {url!r} is not HTTP")
        with open_url(url, timeout_s=DOWNLOAD_TIMEOUT_S) as answer:
            blob = answer.read(BLOB_BYTES_MAX + 1)
        if sha256(blob) != digest:
            raise CloudError(f"blob {digest} of {base}: received {len(blob)} bytes with digest {sha256(blob)}")
        return blob

    def _upload(self, digest: str, blob: bytes) -> None:
        if not self._missing([digest]):
            return
        name = self.repository.name
        upload_id = self.ecr.initiate_layer_upload(repositoryName=name)["uploadId"]
        for first in range(0, len(blob), PART_BYTES):
            part = blob[first : first + PART_BYTES]
            self.ecr.upload_layer_part(
                repositoryName=name,
                uploadId=upload_id,
                partFirstByte=first,
                partLastByte=first + len(part) - 1,
                layerPartBlob=part,
            )
        try:
            self.ecr.complete_layer_upload(repositoryName=name, uploadId=upload_id, layerDigests=[digest])
        except ClientError as error:
            if error_code(error) != "LayerAlreadyExistsException":
                raise


def _config(base: dict[str, Any], layer: Layer, name: str) -> bytes:
    """Add one layer to the base's config. It has no creation time, so that the digest depends on the content only."""
    config = {**base, "rootfs": {"type": "layers", "diff_ids": [*_diff_ids(base), layer.diff_id]}}
    config["config"] = {**(base.get("config") or {}), "WorkingDir": f"/{APP_FOLDER}"}
    config["history"] = [*(base.get("history") or []), {"created_by": f"{name} source tree"}]
    return json.dumps(config, sort_keys=True).encode()


def _diff_ids(config: dict[str, Any]) -> Sequence[str]:
    return (config.get("rootfs") or {}).get("diff_ids") or []
