"""The layer calls of ECR, made real.

MiniStack keeps repositories, images and the registry's HTTP API (`/v2/…`), which shares its blob store with the
calls here, so that `docker push` works too. Its layer calls are pretence; they are replaced. Owns blobs and
unpacking; must not know who runs an image.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import platform
import re
import secrets
import shutil
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit.errors import KitError
from kit.local.ecr.layers import Budget, ImageUnusable, extract

BASE_REPOSITORY = "paperbroker-base"
BASE_TAG = "latest"
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"

# ECR's own: parts of at most 20 MiB (base64 makes 27 MiB of it on the wire).
PART_BYTES_MAX = 20 * 1024 * 1024
# Our images are one layer of some hundred kB; blobs are kept in memory.
LAYER_BYTES_MAX = 256 * 1024 * 1024
UPLOADS_MAX = 64

_IMAGE_URI = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/"
    r"(?P<repository>[^:@]+)(?::(?P<tag>[^@]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

Answer = tuple[int, dict[str, str], bytes]


class RegistryRefused(KitError):
    """An ECR call is refused; `code` is the AWS error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class Upload:
    """A layer on its way: consecutive parts."""

    repository: str
    content: bytearray = field(default_factory=bytearray)


class Registry:
    """The layer calls of ECR, and `unpack`. Calls come on the loop; `unpack` may come from any thread."""

    def __init__(self, state_dir: Path, endpoint_url: str) -> None:
        self._uploads: dict[str, Upload] = {}
        self._images_dir = state_dir / "images"
        self._endpoint = endpoint_url
        self._unpacking = threading.Lock()
        self._calls = {
            "InitiateLayerUpload": self._initiate,
            "UploadLayerPart": self._upload_part,
            "CompleteLayerUpload": self._complete,
            "BatchCheckLayerAvailability": self._availability,
            "GetDownloadUrlForLayer": self._download_url,
            "PutImage": self._check_put_image,
        }

    async def start(self, _cloud: object = None) -> None:
        """Take over the layer calls and offer the base image."""
        from ministack import app
        from ministack.services import ecr

        ours, theirs = self._calls, app.SERVICE_HANDLERS["ecr"]

        async def handle(method: str, path: str, headers: dict, body: bytes, query_params: dict) -> Answer:
            call = ours.get(headers.get("x-amz-target", "").rpartition(".")[2])
            if call is None:
                return await theirs(method, path, headers, body, query_params)
            try:
                answer = call(json.loads(body or b"{}"))
            except RegistryRefused as error:
                return _refusal(error.code, str(error))
            except (json.JSONDecodeError, binascii.Error, UnicodeDecodeError) as error:
                return _refusal("InvalidParameterException", f"malformed request: {error}")
            if answer is None:
                return await theirs(method, path, headers, body, query_params)
            return _json(200, answer)

        app.SERVICE_HANDLERS["ecr"] = handle
        self._seed_base(ecr)

    async def stop(self) -> None:
        """Nothing runs; the unpacked images go with the state dir."""
        self._uploads.clear()

    def unpack(self, image_uri: str) -> Path:
        """The root file system of an image, unpacked once per digest. Raises ImageUnusable.

        `uri@sha256:…` or `uri:tag`; a tag is resolved at each call.
        """
        match = _IMAGE_URI.fullmatch(image_uri)
        if match is None:
            raise ImageUnusable(f"image {image_uri!r} is not in this ECR (ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME)")
        manifest, digest = _manifest(image_uri, match)
        root = self._images_dir / digest.replace(":", "-") / "rootfs"
        with self._unpacking:
            if not root.is_dir():
                self._unpack_into(root, image_uri, match, manifest)
        return root

    def _unpack_into(self, root: Path, image_uri: str, match: re.Match[str], manifest: Mapping[str, Any]) -> None:
        root.parent.mkdir(parents=True, exist_ok=True)
        # Made beside, then renamed: a half-unpacked image is never seen.
        work = Path(tempfile.mkdtemp(dir=root.parent, prefix=".rootfs-"))
        try:
            budget = Budget(image_uri)
            for layer in manifest["layers"]:
                extract(_blob(match, layer["digest"]), work, budget)
            work.chmod(0o755)
            work.rename(root)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise

    # ---- the calls ----

    def _initiate(self, request: Mapping[str, Any]) -> dict[str, Any]:
        repository = _repository(request)
        if len(self._uploads) >= UPLOADS_MAX:
            del self._uploads[next(iter(self._uploads))]  # the oldest was given up long ago
        upload_id = secrets.token_hex(16)
        self._uploads[upload_id] = Upload(repository)
        return {"uploadId": upload_id, "partSize": PART_BYTES_MAX // 2}

    def _upload_part(self, request: Mapping[str, Any]) -> dict[str, Any]:
        upload_id, upload = self._upload(request)
        part = base64.b64decode(request.get("layerPartBlob", ""), validate=True)
        first, last = int(request.get("partFirstByte", -1)), int(request.get("partLastByte", -1))
        if first != len(upload.content) or last != first + len(part) - 1 or not part:
            message = f"part {first}..{last} of {len(part)} bytes does not follow byte {len(upload.content) - 1}"
            raise RegistryRefused("InvalidLayerPartException", message)
        if len(part) > PART_BYTES_MAX or len(upload.content) + len(part) > LAYER_BYTES_MAX:
            message = f"a part is limited to {PART_BYTES_MAX} bytes, a layer to {LAYER_BYTES_MAX}"
            raise RegistryRefused("LimitExceededException", message)
        upload.content += part
        return {
            "registryId": _account(), "repositoryName": upload.repository, "uploadId": upload_id,
            "lastByteReceived": last,
        }  # fmt: skip

    def _complete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        upload_id, upload = self._upload(request)
        content = bytes(upload.content)
        if not content:
            raise RegistryRefused("EmptyUploadException", f"upload {upload_id} holds no bytes")
        digest = _digest(content)
        if request.get("layerDigests") != [digest]:
            del self._uploads[upload_id]
            message = f"the layer's digest is {digest}, not {request.get('layerDigests')}"
            raise RegistryRefused("InvalidLayerException", message)
        blobs = _blobs(upload.repository)
        del self._uploads[upload_id]
        if digest in blobs:
            raise RegistryRefused("LayerAlreadyExistsException", f"layer {digest} exists in {upload.repository!r}")
        blobs[digest] = content
        return {
            "registryId": _account(), "repositoryName": upload.repository, "uploadId": upload_id,
            "layerDigest": digest,
        }  # fmt: skip

    def _availability(self, request: Mapping[str, Any]) -> dict[str, Any]:
        blobs = _blobs(_repository(request))
        layers, failures = [], []
        for digest in request.get("layerDigests", []):
            if not _DIGEST.fullmatch(digest):
                reason = f"{digest!r} is not a sha256 digest"
                failures.append({"layerDigest": digest, "failureCode": "InvalidLayerDigest", "failureReason": reason})
                continue
            blob = blobs.get(digest)
            state = "UNAVAILABLE" if blob is None else "AVAILABLE"
            layers.append({"layerDigest": digest, "layerAvailability": state, "layerSize": len(blob or b"")})
        return {"layers": layers, "failures": failures}

    def _download_url(self, request: Mapping[str, Any]) -> dict[str, Any]:
        repository, digest = _repository(request), request.get("layerDigest", "")
        if digest not in _blobs(repository):
            raise RegistryRefused("LayersNotFoundException", f"layer {digest!r} is not in {repository!r}")
        return {"downloadUrl": f"{self._endpoint}/v2/{repository}/blobs/{digest}", "layerDigest": digest}

    def _check_put_image(self, request: Mapping[str, Any]) -> None:
        """Refuse what ECR refuses; MiniStack stores the rest."""
        from ministack.services import ecr

        repository, text = _repository(request), request.get("imageManifest", "")
        digest, tag = _digest(text.encode()), request.get("imageTag")
        if (claimed := request.get("imageDigest") or digest) != digest:
            raise RegistryRefused(
                "ImageDigestDoesNotMatchException", f"the manifest's digest is {digest}, not {claimed}"
            )
        blobs = _blobs(repository)
        for blob in _referenced(text):
            if blob not in blobs:
                raise RegistryRefused("LayersNotFoundException", f"layer {blob} is not in {repository!r}")
        there = [image for image in ecr._images.get(repository, []) if image["imageDigest"] == digest]
        if there and (not tag or tag in there[0].get("imageTags", [])):
            raise RegistryRefused("ImageAlreadyExistsException", f"image {digest} with tag {tag!r} exists")

    def _upload(self, request: Mapping[str, Any]) -> tuple[str, Upload]:
        repository, upload_id = _repository(request), request.get("uploadId", "")
        upload = self._uploads.get(upload_id)
        if upload is None or upload.repository != repository:
            raise RegistryRefused("UploadNotFoundException", f"upload {upload_id!r} of {repository!r} does not exist")
        return upload_id, upload

    def _seed_base(self, ecr: Any) -> None:
        """The base image: no layers, because this machine's Python and its libraries are the base."""
        config = json.dumps(base_config(), sort_keys=True).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "size": len(config), "digest": _digest(config)},
            "layers": [],
        }
        ecr._create_repository({"repositoryName": BASE_REPOSITORY, "tags": [{"Key": "GameDay", "Value": "allowed"}]})
        ecr._layer_blobs.setdefault(BASE_REPOSITORY, {})[_digest(config)] = config
        text = json.dumps(manifest, sort_keys=True)
        ecr._put_image({"repositoryName": BASE_REPOSITORY, "imageManifest": text, "imageTag": BASE_TAG})


def base_config() -> dict[str, Any]:
    """The image config that says what the base is: this Python, on this machine."""
    version = platform.python_version()
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Env": [f"PYTHON_VERSION={version}", "PYTHONPATH=/app"],
            "WorkingDir": "/app",
            "Cmd": ["python3"],
            "Labels": {"gameday.base": "host-python", "gameday.python": version, "gameday.prefix": sys.prefix},
        },
        "rootfs": {"type": "layers", "diff_ids": []},
        "history": [],
    }


# ---- MiniStack's store ----


def _repository(request: Mapping[str, Any]) -> str:
    from ministack.services import ecr

    name = request.get("repositoryName", "")
    if name not in ecr._repositories:
        raise RegistryRefused("RepositoryNotFoundException", f"The repository with name '{name}' does not exist")
    return name


def _blobs(repository: str) -> dict[str, bytes]:
    from ministack.services import ecr

    return ecr._layer_blobs.setdefault(repository, {})


def _account() -> str:
    from ministack.core.responses import get_account_id

    return get_account_id()


def _manifest(uri: str, match: re.Match[str]) -> tuple[dict[str, Any], str]:
    """The manifest that a URI names, and its digest; read by account and region, so that any thread may ask."""
    from ministack.services import ecr

    images = list(ecr._images.get_scoped(match["account"], match["region"], match["repository"]) or [])
    tag = match["tag"] or "latest"
    for image in images:
        if match["digest"] == image["imageDigest"] or (not match["digest"] and tag in image.get("imageTags", [])):
            manifest = json.loads(image["imageManifest"])
            if "layers" not in manifest:
                raise ImageUnusable(f"image {uri} is an index of several platforms; name the one that is meant")
            return manifest, image["imageDigest"]
    raise ImageUnusable(f"{uri}: not found")


def _blob(match: re.Match[str], digest: str) -> bytes:
    from ministack.services import ecr

    blob = (ecr._layer_blobs.get_scoped(match["account"], match["region"], match["repository"]) or {}).get(digest)
    if blob is None:
        raise ImageUnusable(f"image {match['repository']}: layer {digest} is not stored")
    return blob


def _referenced(manifest: str) -> list[str]:
    try:
        value = json.loads(manifest)
    except json.JSONDecodeError as error:
        raise RegistryRefused("InvalidParameterException", f"the manifest is not JSON: {error}") from error
    if "manifests" in value:
        return []
    return [entry["digest"] for entry in [value.get("config"), *value.get("layers", [])] if entry]


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(status: int, value: Mapping[str, Any]) -> Answer:
    return status, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(value).encode()


def _refusal(code: str, message: str) -> Answer:
    return _json(400, {"__type": code, "message": message})
