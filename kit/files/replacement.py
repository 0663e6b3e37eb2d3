"""Replace a file in one step, so that no reader ever sees a half-written one, and never through a symbolic link.

A folder from somebody else may hold a link in place of a file that the kit writes. The file's folder itself must be no
link, and a link in place of the file is replaced; what it points to stays as it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from kit.errors import EvidenceMissing

MODE = 0o644
FOLDER_MODE = 0o755
PROBE_BYTES = 4096


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as JSON. Raises EvidenceMissing if it cannot be written."""
    write_text(path, json.dumps(value, indent=1))


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in UTF-8. Raises EvidenceMissing if it cannot be written."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content`. Raises EvidenceMissing if it cannot be written."""
    with replacing(path) as file:
        file.write(content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that replaces `path` at the end of the block. Raises EvidenceMissing if it cannot be written."""
    try:
        with replacing_file(path) as file:
            yield file
    except OSError as error:
        if path.parent.is_symlink():
            raise EvidenceMissing(f"{path} is not written: {path.parent} is a symbolic link") from error
        raise EvidenceMissing(f"{path} cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def replacing_file(path: Path, *, mode: int = MODE, sync: bool = False) -> Iterator[BinaryIO]:
    """Open a new file that replaces `path` at the end of the block; nothing is left of it if the block raises.

    `sync`: the content is on the disk when it replaces `path`. Raises OSError.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    part = f".{secrets.token_hex(8)}.part"
    try:
        # O_EXCL follows no link and opens no file that exists.
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode, dir_fd=folder)
        try:
            with open(file, "wb") as opened:
                yield opened
                opened.flush()
                if sync:
                    os.fsync(file)
            os.replace(part, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part, dir_fd=folder)
            raise
    finally:
        os.close(folder)


def open_appending(path: Path, *, mode: int = MODE) -> BinaryIO:
    """Open a file to append to it and to read it; it is made if it is missing. Raises OSError, for a link as well."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return open(os.open(path, flags, mode), "a+b")


def make_folder(path: Path) -> None:
    """Make a folder unless it exists. Raises EvidenceMissing if it cannot be made, or if it is a symbolic link."""
    try:
        path.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise EvidenceMissing(f"{path} cannot be made: {error.strerror}") from error
    if path.is_symlink():
        raise EvidenceMissing(f"{path} is a symbolic link; nothing is written through it")


def check_writable(folder: Path) -> None:
    """Make the folder and write a little into it, so that a full disk shows before the start. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    # The folder itself may be a link that its user made.
    probe = folder.resolve() / f".probe-{os.getpid()}"
    try:
        with replacing_file(probe) as file:
            file.write(b"x" * PROBE_BYTES)
    finally:
        probe.unlink(missing_ok=True)
