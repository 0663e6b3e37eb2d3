"""Read a source tree and its stack template into memory, and pack the tree as an image layer."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from kit.errors import UsageError

# Folders that are not part of the image: templates, bad changes, and Python's caches.
EXCLUDED = frozenset({"deploy", "changes", "__pycache__"})
EXCLUDED_SUFFIXES = frozenset({".pyc", ".pyo"})
# The template of the stack in which the image runs, relative to the source.
TEMPLATE = Path("deploy", "stack.yaml")
# PaperBroker has a few hundred KB. A larger tree contains something else by mistake.
TREE_BYTES_MAX = 32 * 1024 * 1024
# The folder of the code inside the image.
APP_FOLDER = "app"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One image layer: the compressed blob and the digest of its uncompressed content (`diff_id`)."""

    blob: bytes
    digest: str
    diff_id: str


def read_tree(source: Path, excluded: Collection[str] = EXCLUDED) -> dict[str, bytes]:
    """Read the files of `source`, by path relative to its parent (`paperbroker/api.py`); `excluded` names folders.

    Raises UsageError if there are no files, or more than `TREE_BYTES_MAX`.
    """
    tree: dict[str, bytes] = {}
    size = 0
    for path in sorted(source.rglob("*")):
        inside = path.relative_to(source)
        if not path.is_file() or set(excluded) & set(inside.parts) or path.suffix in EXCLUDED_SUFFIXES:
            continue
        tree[f"{source.name}/{inside.as_posix()}"] = content = path.read_bytes()
        size += len(content)
        if size > TREE_BYTES_MAX:
            raise UsageError(f"source {source}: more than {TREE_BYTES_MAX} bytes at {inside}")
    if not tree:
        raise UsageError(f"source {source}: no files to build")
    return tree


def template_name(source: Path) -> str:
    """Return the path of the stack template as a diff names it: `paperbroker/deploy/stack.yaml`."""
    return (source.name / TEMPLATE).as_posix()


def read_template(source: Path) -> bytes:
    """Read the stack template of `source`. Raises UsageError if it cannot be read."""
    try:
        return (source / TEMPLATE).read_bytes()
    except OSError as error:
        raise UsageError(f"stack template {source / TEMPLATE} cannot be read: {error.strerror or error}") from error


def pack(tree: Mapping[str, bytes]) -> Layer:
    """Pack the tree as a layer without times, owners and modes of this machine: the same tree gives the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for folder in _folders(tree):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for path in sorted(tree):
            entry = tarfile.TarInfo(f"{APP_FOLDER}/{path}")
            entry.size, entry.mode = len(tree[path]), 0o644
            archive.addfile(entry, io.BytesIO(tree[path]))
    plain = buffer.getvalue()
    blob = gzip.compress(plain, compresslevel=6, mtime=0)
    return Layer(blob=blob, digest=sha256(blob), diff_id=sha256(plain))


def digest_of(source: Path) -> str:
    """Return the digest of the files of `source` and its stack template, which does not depend on the base image."""
    return sha256(f"{pack(read_tree(source)).diff_id} {sha256(read_template(source))}".encode())


def sha256(content: bytes) -> str:
    """Return the digest of `content` in the notation of image registries."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _folders(tree: Mapping[str, bytes]) -> list[str]:
    found = {parent.as_posix() for path in tree for parent in Path(APP_FOLDER, path).parents}
    return sorted(found - {"."})
