"""Load botocore's models without their documentation, which is most of their size."""

from __future__ import annotations

import functools
import gzip
import html
import json
import re
import threading
from pathlib import Path
from typing import Any

import botocore
from botocore.model import ServiceModel

DATA = Path(botocore.__file__).parent / "data"
SENTENCE_CHARACTERS_MAX = 200
SENTENCES_REMEMBERED_MAX = 1024
_loading = threading.Lock()
_loaded: dict[str, Any] = {}


def model(service: str) -> Any:
    """Return the model of a service by botocore's name. The first call takes up to 0.2 s: not on the event loop."""
    with _loading:
        if service not in _loaded:
            content = _read(service, "service-2.json", with_documentation=False)
            _loaded[service] = ServiceModel(content, service)
        return _loaded[service]


def is_loaded(service: str) -> bool:
    """Return whether `model` answers at once."""
    return service in _loaded


@functools.cache
def paginators(service: str) -> dict[str, Any]:
    """Return botocore's paginators of a service, by operation."""
    return _read(service, "paginators-1.json", with_documentation=True)["pagination"]


@functools.lru_cache(maxsize=SENTENCES_REMEMBERED_MAX)
def purpose(service: str, operation: str, path: tuple[str, ...]) -> str:
    """Return the first sentence that AWS's documentation has on an operation, or on a member of its request.

    Reads the whole model again, which takes up to 0.5 s: not on the event loop.
    """
    content = _read(service, "service-2.json", with_documentation=True)
    described = content["operations"].get(operation, {})
    text = described.get("documentation", "")
    shape = content["shapes"].get(described.get("input", {}).get("shape", ""), {})
    for name in path:
        while shape.get("type") in ("list", "map"):
            shape = content["shapes"][(shape.get("member") or shape["value"])["shape"]]
        member = shape.get("members", {}).get(name)
        if member is None:
            continue  # an index of a list, or a key of a map
        text = member.get("documentation") or text
        shape = content["shapes"][member["shape"]]
    return _first_sentence(text)


def _first_sentence(documentation: str) -> str:
    text = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", documentation))).strip()
    sentence = re.split(r"(?<=[a-z)]\.) ", text)[0]
    return sentence if len(sentence) <= SENTENCE_CHARACTERS_MAX else f"{sentence[:SENTENCE_CHARACTERS_MAX]}…"


def _read(service: str, name: str, *, with_documentation: bool) -> dict[str, Any]:
    # The newest version of an API is in the folder with the latest date.
    path = max((DATA / service).glob(f"*/{name}*"))
    content = path.read_bytes()
    text = gzip.decompress(content) if path.suffix == ".gz" else content
    return json.loads(text, object_pairs_hook=None if with_documentation else _without_documentation)


def _without_documentation(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # A member may be called `documentation` as well; its value is an object.
    return {key: value for key, value in pairs if key != "documentation" or not isinstance(value, str)}
