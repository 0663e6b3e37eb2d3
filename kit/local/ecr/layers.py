"""Unpack image layers.

Layers are untrusted tar streams: no file may leave the root, and the size is limited. Python's own tar filters need
3.11.4; this works on every 3.11.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kit.errors import KitError

UNPACKED_BYTES_MAX = 1024 * 1024 * 1024
UNPACKED_FILES_MAX = 100_000
# Every file is made readable for this user, and none is set-uid.
FILE_MODE, FILE_MODE_MASK = 0o644, 0o755
WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"


class ImageUnusable(KitError):
    """An image cannot be found, is broken, or is of a kind that cannot be unpacked here."""


@dataclass(slots=True)
class Budget:
    """How much of one image may still be unpacked."""

    image: str
    bytes_left: int = UNPACKED_BYTES_MAX
    files_left: int = UNPACKED_FILES_MAX

    def spend(self, size: int) -> None:
        """Count one file. Raises ImageUnusable above the limit."""
        self.files_left -= 1
        self.bytes_left -= size
        if self.files_left < 0 or self.bytes_left < 0:
            limits = f"{UNPACKED_BYTES_MAX} bytes or {UNPACKED_FILES_MAX} files"
            raise ImageUnusable(f"image {self.image} unpacks to more than {limits}")


def extract(layer: bytes, root: Path, budget: Budget) -> None:
    """Unpack a layer, compressed or not, over the files in `root`. Raises ImageUnusable for paths outside it."""
    root = root.resolve()
    try:
        with tarfile.open(fileobj=io.BytesIO(layer), mode="r|*") as tar:
            for member in tar:
                budget.spend(member.size)
                _apply(tar, member, root, budget.image)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise ImageUnusable(f"image {budget.image}: a layer cannot be unpacked: {error}") from error


def _apply(tar: tarfile.TarFile, member: tarfile.TarInfo, root: Path, image: str) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise ImageUnusable(f"image {image}: {member.name!r} would be unpacked outside its root")
    if not name.parts:
        return  # The root itself.
    folder = _inside(root.joinpath(*name.parts[:-1]), root, image)
    target = folder / name.name
    if name.name == OPAQUE:
        for child in folder.iterdir() if folder.is_dir() else ():
            _delete(child)
    elif name.name.startswith(WHITEOUT):
        _delete(folder / name.name[len(WHITEOUT) :])
    elif member.isdir():
        if target.is_symlink() or not target.is_dir():
            _delete(target)
        target.mkdir(parents=True, exist_ok=True)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        # A later layer replaces the file. Writing through a link of an earlier layer could leave the root.
        _delete(target)
        _create(tar, member, target, root, image)


def _create(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, root: Path, image: str) -> None:
    if member.issym():
        _inside(target.parent / member.linkname, root, image)
        target.symlink_to(member.linkname)
    elif member.islnk():
        os.link(_inside(root / member.linkname, root, image), target)
    elif member.isreg():
        source = tar.extractfile(member)
        assert source is not None, "a regular file has content"
        with source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
        target.chmod((member.mode & FILE_MODE_MASK) | FILE_MODE)
    else:
        raise ImageUnusable(f"image {image}: {member.name!r} is a device or a pipe")


def _inside(path: Path, root: Path, image: str) -> Path:
    """Resolve the links in `path`. Raises ImageUnusable if the result is outside `root`."""
    resolved = path.resolve()
    if not resolved.is_relative_to(root):
        raise ImageUnusable(f"image {image}: {path} leads outside its root {root}")
    return resolved


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
        return
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
