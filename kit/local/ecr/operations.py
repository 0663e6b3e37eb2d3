"""Answer the layer operations of ECR. MiniStack answers them with success but stores nothing."""

import base64
import binascii
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ministack.core.responses import error_response_json, get_account_id, get_region, json_response

from kit.local.ecr import ministack
from kit.local.ecr.wire import DIGEST, RegistryRefused, digest_of, media_type_of, referenced_blobs
from kit.local.keyring import REGISTRY_USER, Keyring

# ECR's own limit: parts of at most 20 MiB, which are 27 MiB in base64.
PART_BYTES_MAX = 20 * 1024 * 1024
# Blobs are kept in memory. PaperBroker's layer has a few hundred kB.
LAYER_BYTES_MAX = 256 * 1024 * 1024
UPLOADS_MAX = 64
# AWS's tokens are valid for twelve hours. Ours is valid as long as the cloud runs.
TOKEN_S = 12 * 3600


@dataclass(slots=True)
class Upload:
    """A layer that is being uploaded in consecutive parts."""

    repository: str
    content: bytearray = field(default_factory=bytearray)


class Operations:
    """The layer calls. Use it from the event loop only."""

    def __init__(self, endpoint_url: str, keyring: Keyring) -> None:
        self._endpoint_url = endpoint_url
        self._keyring = keyring
        self._uploads: dict[str, Upload] = {}
        self._calls = {
            "InitiateLayerUpload": self.initiate_layer_upload,
            "UploadLayerPart": self.upload_layer_part,
            "CompleteLayerUpload": self.complete_layer_upload,
            "BatchCheckLayerAvailability": self.check_layer_availability,
            "GetDownloadUrlForLayer": self.get_download_url,
            "PutImage": self.check_put_image,
            "BatchGetImage": self.batch_get_image,
            "GetAuthorizationToken": self.get_authorization_token,
        }

    def answer(self, action: str, body: bytes) -> ministack.Answer | None:
        """Answer a call, or return None if MiniStack must answer it."""
        call = self._calls.get(action)
        if call is None:
            return None
        try:
            reply = call(json.loads(body or b"{}"))
        except RegistryRefused as error:
            return error_response_json(error.code, str(error))
        except (json.JSONDecodeError, binascii.Error, UnicodeDecodeError) as error:
            return error_response_json("InvalidParameterException", f"malformed request: {error}")
        return None if reply is None else json_response(reply)

    def discard_uploads(self) -> None:
        """Discard the layers that are being uploaded."""
        self._uploads.clear()

    def initiate_layer_upload(self, request: Mapping[str, Any]) -> dict[str, Any]:
        repository = _repository(request)
        if len(self._uploads) >= UPLOADS_MAX:
            del self._uploads[next(iter(self._uploads))]  # Drop the oldest upload, which was probably abandoned.
        upload_id = str(uuid.uuid4())
        self._uploads[upload_id] = Upload(repository)
        return {"uploadId": upload_id, "partSize": PART_BYTES_MAX // 2}

    def upload_layer_part(self, request: Mapping[str, Any]) -> dict[str, Any]:
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
            "registryId": get_account_id(), "repositoryName": upload.repository, "uploadId": upload_id,
            "lastByteReceived": last,
        }  # fmt: skip

    def complete_layer_upload(self, request: Mapping[str, Any]) -> dict[str, Any]:
        upload_id, upload = self._upload(request)
        content = bytes(upload.content)
        if not content:
            raise RegistryRefused("EmptyUploadException", f"upload {upload_id} holds no bytes")
        digest = digest_of(content)
        if request.get("layerDigests") != [digest]:
            del self._uploads[upload_id]
            message = f"the layer's digest is {digest}, not {request.get('layerDigests')}"
            raise RegistryRefused("InvalidLayerException", message)
        blobs = ministack.blobs(upload.repository)
        del self._uploads[upload_id]
        if digest in blobs:
            raise RegistryRefused("LayerAlreadyExistsException", f"layer {digest} exists in {upload.repository!r}")
        blobs[digest] = content
        return {
            "registryId": get_account_id(), "repositoryName": upload.repository, "uploadId": upload_id,
            "layerDigest": digest,
        }  # fmt: skip

    def check_layer_availability(self, request: Mapping[str, Any]) -> dict[str, Any]:
        blobs = ministack.blobs(_repository(request))
        layers, failures = [], []
        for digest in request.get("layerDigests", []):
            if not DIGEST.fullmatch(digest):
                reason = f"{digest!r} is not a sha256 digest"
                failures.append({"layerDigest": digest, "failureCode": "InvalidLayerDigest", "failureReason": reason})
                continue
            blob = blobs.get(digest)
            state = "UNAVAILABLE" if blob is None else "AVAILABLE"
            layers.append({"layerDigest": digest, "layerAvailability": state, "layerSize": len(blob or b"")})
        return {"layers": layers, "failures": failures}

    def get_download_url(self, request: Mapping[str, Any]) -> dict[str, Any]:
        repository, digest = _repository(request), request.get("layerDigest", "")
        if digest not in ministack.blobs(repository):
            raise RegistryRefused("LayersNotFoundException", f"layer {digest!r} is not in {repository!r}")
        # On AWS this is a presigned URL of S3.
        url = self._keyring.link(
            f"{self._endpoint_url}/v2/{repository}/blobs/{digest}", service="s3", region=get_region()
        )
        return {"downloadUrl": url, "layerDigest": digest}

    def get_authorization_token(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        """Return what `docker login` needs. The registry's host is this cloud's own address."""
        token = base64.b64encode(f"{REGISTRY_USER}:{self._keyring.registry_password}".encode()).decode()
        data = {
            "authorizationToken": token, "expiresAt": time.time() + TOKEN_S, "proxyEndpoint": self._endpoint_url,
        }  # fmt: skip
        return {"authorizationData": [data]}

    def check_put_image(self, request: Mapping[str, Any]) -> None:
        """Raise RegistryRefused for an image that ECR refuses. MiniStack stores the others."""
        repository, text = _repository(request), request.get("imageManifest", "")
        digest, tag = digest_of(text.encode()), request.get("imageTag")
        if (claimed := request.get("imageDigest") or digest) != digest:
            raise RegistryRefused(
                "ImageDigestDoesNotMatchException", f"the manifest's digest is {digest}, not {claimed}"
            )
        blobs = ministack.blobs(repository)
        for blob in referenced_blobs(text):
            if blob not in blobs:
                raise RegistryRefused("LayersNotFoundException", f"layer {blob} is not in {repository!r}")
        stored = [image for image in ministack.images(repository) if image["imageDigest"] == digest]
        if stored and (not tag or tag in stored[0].get("imageTags", [])):
            raise RegistryRefused("ImageAlreadyExistsException", f"image {digest} with tag {tag!r} exists")

    def batch_get_image(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the images; of those whose media type the caller does not accept, a failure."""
        _repository(request)
        answer = ministack.batch_get_image(request)
        accepted = request.get("acceptedMediaTypes")
        if not accepted:
            return answer
        images = []
        for image in answer["images"]:
            media_type = media_type_of(image["imageManifest"]) or image["imageManifestMediaType"]
            if media_type in accepted:
                images.append(image)
                continue
            reason = f"the image's media type {media_type} is not among the accepted ones; it is not converted here"
            failure = {"imageId": image["imageId"], "failureCode": "ImageNotFound", "failureReason": reason}
            answer["failures"].append(failure)
        return {**answer, "images": images}

    def _upload(self, request: Mapping[str, Any]) -> tuple[str, Upload]:
        repository, upload_id = _repository(request), request.get("uploadId", "")
        upload = self._uploads.get(upload_id)
        if upload is None or upload.repository != repository:
            raise RegistryRefused("UploadNotFoundException", f"upload {upload_id!r} of {repository!r} does not exist")
        return upload_id, upload


def _repository(request: Mapping[str, Any]) -> str:
    """Return the request's repository. Raises RegistryRefused if it does not exist."""
    name = request.get("repositoryName", "")
    ministack.blobs(name)
    return name
