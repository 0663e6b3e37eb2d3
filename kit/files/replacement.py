"""Replace a file in one step, so that no reader ever sees a half-written one, and never through a symbolic link.

A folder from somebody else may hold a link in place of a file that the kit writes. The file's folder itself must be no
link, and a link in place of the file is replaced; what it points to stays as it is.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from pathlib import Path
from typing import Any

from kit.errors import EvidenceMissing

MODE = 0o644
FOLDER_MODE = 0o755


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as JSON. Raises EvidenceMissing if it cannot be written."""
    write_text(path, json.dumps(value, indent=1))


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in UTF-8. Raises EvidenceMissing if it cannot be written."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content`. Raises EvidenceMissing if it cannot be written."""
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _replace(folder, path.name, content)
        finally:
            os.close(folder)
    except OSError as error:
        if path.parent.is_symlink():
            raise EvidenceMissing(f"{path} is not written: {path.parent} is a symbolic link") from error
        raise EvidenceMissing(f"{path} cannot be written: {error.strerror}") from error


def make_folder(path: Path) -> None:
    """Make a folder unless it exists. Raises EvidenceMissing if it cannot be made, or if it is a symbolic link."""
    try:
        path.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise EvidenceMissing(f"{path} cannot be made: {error.strerror}") from error
    if path.is_symlink():
        raise EvidenceMissing(f"{path} is a symbolic link; nothing is written through it")


def _replace(folder: int, name: str, content: bytes) -> None:
    part = f".{secrets.token_hex(8)}.part"
    # O_EXCL follows no link and opens no file that exists.
    file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE, dir_fd=folder)
    try:
        try:
            _write_all(file, content)
        finally:
            os.close(file)
        os.replace(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(part, dir_fd=folder)
        raise


def _write_all(file: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        written = os.write(file, rest)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rest = rest[written:]
