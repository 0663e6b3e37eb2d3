"""Write to standard output and standard error so that a reader who has gone away never changes an exit code.

`gameday list | head -1`, a closed terminal and a full disk behind `>` all make a write fail. The command goes on
without output, because what it returns is still needed: the exit code is the verdict.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

STDERR_FD = 2
# Names and texts of files from other people are printed too.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def prepare() -> None:
    """Make both streams usable: a closed one leads to /dev/null, and what cannot be encoded is escaped."""
    # Also keeps files that are opened later from getting the number of a closed standard stream.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR_FD:
        pass
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        # File names may hold bytes that are no text.
        getattr(sys, name).reconfigure(errors="backslashreplace")


def say(line: str = "") -> None:
    """Print one line, or several. What would move a terminal's cursor or change its colours is escaped."""
    write(f"{line.translate(_CONTROLS)}\n")


def one_line(text: object) -> str:
    """Return the text without line breaks: the name of a file may hold them."""
    return str(text).replace("\r", "\\r").replace("\n", "\\n")


def write(text: str) -> None:
    """Write to standard output at once. What cannot be written is dropped, and so is all output after it."""
    _write(sys.stdout, text)


def warn(text: str) -> None:
    """Print one line, or several, to standard error."""
    _write(sys.stderr, f"{text.translate(_CONTROLS)}\n")


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        _discard(stream)
        if stream is sys.stdout and not isinstance(error, BrokenPipeError):
            warn(f"gameday: standard output cannot be written: {error.strerror}")


def _discard(stream: TextIO) -> None:
    """Redirect the stream and what it still holds to /dev/null, so that the interpreter can close it."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, stream.fileno())
    os.close(descriptor)
    with contextlib.suppress(OSError):
        stream.flush()
