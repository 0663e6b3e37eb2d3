"""Offer the base images. They have no layers, because this machine's Python and its libraries are the base."""

import json
import platform
import sys

from kit.local.ecr import ministack
from kit.local.ecr.wire import digest_of

# Of PaperBroker, and of the tasks that send load.
BASE_REPOSITORIES = ("paperbroker-base", "gameday-base")
BASE_TAG = "latest"
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"


def publish() -> None:
    """Put the base image into each repository."""
    version = platform.python_version()
    image_config = {
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
    config = json.dumps(image_config, sort_keys=True).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "size": len(config), "digest": digest_of(config)},
        "layers": [],
    }
    for repository in BASE_REPOSITORIES:
        ministack.put_image(repository, BASE_TAG, json.dumps(manifest, sort_keys=True), digest_of(config), config)
