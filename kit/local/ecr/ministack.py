"""Patch MiniStack's ECR handler, and read and write its stores of repositories, images and blobs."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from ministack import app
from ministack.services import ecr

from kit.local.ecr.wire import RegistryRefused
from kit.local.patching import Patches, require

Answer = tuple[int, dict[str, str], bytes]


def install(patches: Patches, answer: Callable[[str, bytes], Answer | None]) -> None:
    """Answer ECR calls by `answer(action, body)`. MiniStack answers the calls for which it returns None."""
    require(ecr, "_repositories", "_images", "_layer_blobs", "_create_repository", "_put_image", "_batch_get_image")
    original = app.SERVICE_HANDLERS["ecr"]

    async def handle(method: str, path: str, headers: dict, body: bytes, query_params: dict) -> Answer:
        answered = answer(headers.get("x-amz-target", "").rpartition(".")[2], body)
        return answered or await original(method, path, headers, body, query_params)

    patches.replace_entry(app, "SERVICE_HANDLERS", "ecr", handle)


def blobs(repository: str) -> dict[str, bytes]:
    """Return the blobs of a repository by digest. Raises RegistryRefused for an unknown repository."""
    if repository not in ecr._repositories:
        message = f"The repository with name '{repository}' does not exist"
        raise RegistryRefused("RepositoryNotFoundException", message)
    return ecr._layer_blobs.setdefault(repository, {})


def images(repository: str) -> list[dict[str, Any]]:
    """Return the images of a repository in the request's scope."""
    return ecr._images.get(repository, [])


def batch_get_image(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return MiniStack's answer to BatchGetImage for a repository that exists."""
    return json.loads(ecr._batch_get_image(request)[2])


def scoped_images(account: str, region: str, repository: str) -> list[dict[str, Any]]:
    """Return the images of a repository from any thread."""
    return list(ecr._images.get_scoped(account, region, repository) or [])


def scoped_blob(account: str, region: str, repository: str, digest: str) -> bytes | None:
    """Return a blob from any thread, or None if it is not stored."""
    return (ecr._layer_blobs.get_scoped(account, region, repository) or {}).get(digest)


def put_image(repository: str, tag: str, manifest: str, config_digest: str, config: bytes) -> None:
    """Create a repository with one image that has no layers."""
    ecr._create_repository({"repositoryName": repository, "tags": [{"Key": "GameDay", "Value": "allowed"}]})
    ecr._layer_blobs.setdefault(repository, {})[config_digest] = config
    ecr._put_image({"repositoryName": repository, "imageManifest": manifest, "imageTag": tag})
