"""Read a regular file of limited size. A pipe, a device or a folder is refused before a read could block."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from kit.errors import UnreadableFile

RECORD_BYTES_MAX = 64 * 1024 * 1024


def read_bytes(path: Path, bytes_max: int = RECORD_BYTES_MAX) -> bytes:
    """Read the whole file. Raises UnreadableFile if it is missing, no regular file, or larger than `bytes_max`."""
    try:
        # Without O_NONBLOCK, opening a pipe waits for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UnreadableFile(f"{path.name} cannot be read: it is not a regular file")
            content = file.read(bytes_max + 1)
    except OSError as error:
        raise UnreadableFile(f"{path.name} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UnreadableFile(f"{path.name!r} is not the name of a file: {error}") from error
    if len(content) > bytes_max:
        raise UnreadableFile(f"{path.name} is larger than {bytes_max} bytes")
    return content


def read_text(path: Path, bytes_max: int = RECORD_BYTES_MAX) -> str:
    """Read UTF-8 text, without its byte order mark. Raises as `read_bytes`, and for bytes that are not UTF-8."""
    content = read_bytes(path, bytes_max)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        wrong = f"byte {error.start} is {content[error.start]:#04x}"
        raise UnreadableFile(f"{path.name} is not UTF-8 text: {wrong}") from error
