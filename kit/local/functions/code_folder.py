"""Unpack a function's code and layers into the folder of an execution environment."""

from __future__ import annotations

import io
import os
import shutil
import sys
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kit.errors import KitError

# AWS's limit of a function with its layers.
UNPACKED_BYTES_MAX = 250 * 1024 * 1024


class CodeInvalid(KitError):
    """The code is no archive, or too large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeFolder:
    """The folders of one environment: code (/var/task on AWS), layers (/opt) and temporary files (/tmp)."""

    root: Path
    search_path: tuple[Path, ...]

    @property
    def code(self) -> Path:
        """The folder of the function's code."""
        return self.root / "task"

    @property
    def temporary(self) -> Path:
        """The folder of temporary files."""
        return self.root / "tmp"

    def programs(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the search paths of programs and libraries, if a layer has some."""
        paths = {"PATH": self.root / "opt" / "bin", "LD_LIBRARY_PATH": self.root / "opt" / "lib"}
        return {
            name: os.pathsep.join(filter(None, (environment.get(name), str(folder))))
            for name, folder in paths.items()
            if folder.is_dir()
        }

    def remove(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.root, ignore_errors=True)


def unpack(root: Path, code: bytes, layers: Iterable[bytes]) -> CodeFolder:
    """Write the files of an environment below `root`. Raises CodeInvalid, and leaves nothing then."""
    root.mkdir(parents=True)
    try:
        left = _extract(code, root / "task", UNPACKED_BYTES_MAX)
        for layer in layers:
            left = _extract(layer, root / "opt", left)
        (root / "tmp").mkdir()
    except BaseException:
        shutil.rmtree(root, ignore_errors=True)
        raise
    python = root / "opt" / "python"
    site = python / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    present = [each for each in (python, site) if each.is_dir()]
    return CodeFolder(root=root, search_path=(root / "task", *present))


def _extract(content: bytes, folder: Path, bytes_max: int) -> int:
    """Extract an archive, with the modes of its files, and return how many more bytes may be unpacked."""
    folder.mkdir(exist_ok=True)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(each.file_size for each in archive.infolist())
            if size > bytes_max:
                raise CodeInvalid(f"unpacked code of {size} bytes is over what is left of {UNPACKED_BYTES_MAX} bytes")
            for each in archive.infolist():
                file = archive.extract(each, folder)
                if mode := each.external_attr >> 16 & 0o777:
                    os.chmod(file, mode | 0o600)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise CodeInvalid(f"the code cannot be unpacked: {error}") from error
    return bytes_max - size
