"""Start and stop the local ECR, and unpack images.

MiniStack keeps repositories and images, and serves the registry's HTTP API (`/v2/…`), so that `docker push` works too.
That API shares its blob store with the layer calls answered here.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kit.local.ecr import base_image, ministack
from kit.local.ecr.layers import Budget, ImageUnusable, extract
from kit.local.ecr.operations import Operations
from kit.local.ecr.wire import parse_image_uri
from kit.local.keyring import Keyring
from kit.local.patching import Patches


class Registry:
    """The layer calls of ECR, and `unpack`, which any thread may call."""

    def __init__(self, state_dir: Path, endpoint_url: str, keyring: Keyring) -> None:
        self._operations = Operations(endpoint_url, keyring)
        self._images_dir = state_dir / "images"
        self._unpacking = threading.Lock()
        self._patches = Patches()

    async def start(self) -> None:
        """Take over the layer calls and offer the base image."""
        ministack.install(self._patches, self._operations.answer)
        base_image.publish()

    async def stop(self) -> None:
        """Undo the patches. The unpacked images stay in the state folder."""
        self._patches.undo()
        self._operations.discard_uploads()

    def unpack(self, image_uri: str) -> Path:
        """Return the root file system of an image, unpacked once per digest. Raises ImageUnusable.

        `uri@sha256:…` or `uri:tag`; a tag is resolved at each call.
        """
        image = parse_image_uri(image_uri)
        manifest, digest = _manifest(image_uri, image)
        root = self._images_dir / digest.replace(":", "-") / "rootfs"
        with self._unpacking:
            if not root.is_dir():
                _unpack_into(root, image_uri, image, manifest)
        return root


def _unpack_into(root: Path, image_uri: str, image: re.Match[str], manifest: Mapping[str, Any]) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    # Unpacked in a temporary folder and renamed, so that a half-unpacked image is never visible.
    work = Path(tempfile.mkdtemp(dir=root.parent, prefix=".rootfs-"))
    try:
        budget = Budget(image_uri)
        for layer in manifest["layers"]:
            extract(_blob(image, layer["digest"]), work, budget)
        work.chmod(0o755)
        work.rename(root)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def _manifest(uri: str, image: re.Match[str]) -> tuple[dict[str, Any], str]:
    """Return the manifest that a URI names, and its digest."""
    tag = image["tag"] or "latest"
    for stored in ministack.scoped_images(image["account"], image["region"], image["repository"]):
        named = image["digest"] == stored["imageDigest"] if image["digest"] else tag in stored.get("imageTags", [])
        if named:
            manifest = json.loads(stored["imageManifest"])
            if "layers" not in manifest:
                raise ImageUnusable(f"image {uri} is an index of several platforms; name the image of one platform")
            return manifest, stored["imageDigest"]
    raise ImageUnusable(f"{uri}: not found")


def _blob(image: re.Match[str], digest: str) -> bytes:
    blob = ministack.scoped_blob(image["account"], image["region"], image["repository"], digest)
    if blob is None:
        raise ImageUnusable(f"image {image['repository']}: layer {digest} is not stored")
    return blob
