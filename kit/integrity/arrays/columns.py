"""Store a table as NumPy columns: in memory, or beyond a limit in files of a temporary folder.

A check loads the columns that it needs and releases them. A run that is larger than memory therefore costs a check only
the size of a few columns.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import psutil

# Columns go to files when they exceed this fraction of the free memory. A check needs at most as much again.
MEMORY_SHARE = 1 / 3
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
INT32_MAX = 2**31 - 1
# A column that every table has: the row's index in the whole table.
INDEX = "index"


class ColumnStorage:
    """The storage of one run's columns. `close` removes the files, as does the end of the process."""

    def __init__(self, memory_bytes_max: int | None = None) -> None:
        """Limit the memory for columns, by default to a third of what is free now."""
        self.memory_bytes_max = int(_free_bytes() * MEMORY_SHARE) if memory_bytes_max is None else memory_bytes_max
        self.bytes = 0
        self._folder: Path | None = None
        self._files = 0
        self._cleanup: weakref.finalize | None = None

    @property
    def full(self) -> bool:
        return self.bytes > self.memory_bytes_max

    def file(self) -> Path:
        """Return the path for a new file, in a folder that is removed with the storage."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="integrity-"))
            self._cleanup = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._files += 1
        return self._folder / f"{self._files}.column"

    def close(self) -> None:
        if self._cleanup is not None:
            self._cleanup()
        self._folder = self._cleanup = None


def _free_bytes() -> int:
    """Return the free memory of the machine, or the container's memory limit where that is less."""
    free = psutil.virtual_memory().available
    try:
        limit = CGROUP_LIMIT.read_text().strip()
    except OSError:
        return free
    return min(free, int(limit)) if limit.isdigit() else free


class Column:
    """One column. It is appended to batch by batch, and then read as a whole. Integers that fit are kept in 32 bits."""

    __slots__ = ("_path", "_rows", "_size", "_storage", "_type", "_values")

    def __init__(self, storage: ColumnStorage, rows: int) -> None:
        """Expect `rows` rows. More are possible, but cost a copy."""
        self._storage, self._rows = storage, rows
        self._values: np.ndarray | None = None
        self._path: Path | None = None
        self._type = np.dtype(np.int64)
        self._size = 0

    def append(self, values: np.ndarray) -> None:
        if not self._size:
            self._type = values.dtype
        if self._path is None and self._storage.full:
            self._spill()
        if self._path is not None:
            with self._path.open("ab") as file:
                values.astype(self._type, copy=False).tofile(file)
        else:
            self._put(_narrow(values))
        self._size += len(values)

    def _put(self, values: np.ndarray) -> None:
        end = self._size + len(values)
        kept = self._values
        if kept is None:
            kept = self._values = np.empty(max(self._rows, end), dtype=values.dtype)
        elif end > len(kept) or values.dtype.itemsize > kept.dtype.itemsize:
            larger = np.empty(max(len(kept), end + end // 2), dtype=np.promote_types(kept.dtype, values.dtype))
            larger[: self._size] = kept[: self._size]
            self._storage.bytes += self._size * (larger.itemsize - kept.itemsize)
            kept = self._values = larger
        kept[self._size : end] = values
        self._storage.bytes += len(values) * kept.itemsize

    def read(self) -> np.ndarray:
        if self._path is not None and self._size:
            return np.asarray(np.memmap(self._path, dtype=self._type, mode="r"))
        return np.zeros(0, dtype=self._type) if self._values is None else self._values[: self._size]

    def replace(self, values: np.ndarray) -> None:
        """Replace all values."""
        self._free()
        if self._path is not None:
            self._path.unlink()
        self._values, self._path, self._size, self._rows = None, None, 0, len(values)
        self.append(values)

    def _spill(self) -> None:
        kept = self.read()
        self._path = self._storage.file()
        kept.astype(self._type, copy=False).tofile(self._path)
        self._free()
        self._values = None

    def _free(self) -> None:
        if self._values is not None:
            self._storage.bytes -= self._size * self._values.itemsize


def _narrow(values: np.ndarray) -> np.ndarray:
    if values.dtype != np.int64 or not len(values):
        return values
    fits = values.min() >= -INT32_MAX and values.max() <= INT32_MAX
    return values.astype(np.int32) if fits else values


class Rows(Protocol):
    """A table or a part of one, as checks use it."""

    def __len__(self) -> int: ...

    def __getitem__(self, name: str) -> np.ndarray: ...

    def where(self, chosen: np.ndarray) -> Rows: ...


class Columns:
    """A table of equally long columns."""

    def __init__(self, storage: ColumnStorage, rows: int = 0) -> None:
        """Expect `rows` rows, where their number is known."""
        self._storage, self._rows = storage, rows
        self._columns: dict[str, Column] = {}
        self._size = 0

    def append(self, values: Mapping[str, np.ndarray]) -> None:
        """Append a batch of rows. The first batch defines the columns."""
        if not self._columns:
            self._columns = {name: Column(self._storage, self._rows) for name in values}
        for name, column in self._columns.items():
            column.append(values[name])
        self._size += len(next(iter(values.values())))

    def reorder(self, order: np.ndarray) -> None:
        """Sort the rows by these indices."""
        for column in self._columns.values():
            column.replace(column.read()[order])

    def replace(self, name: str, values: np.ndarray) -> None:
        if self._columns:
            self._columns[name].replace(values)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, name: str) -> np.ndarray:
        """Return a column. In a table without rows, every column exists and is empty."""
        if name == INDEX:
            return np.arange(self._size)
        return self._columns[name].read() if self._columns else np.zeros(0, dtype=np.int64)

    def where(self, chosen: np.ndarray) -> Rows:
        """Return the rows at these indices, or the rows where this mask is true."""
        return Part(self, chosen)


class Part:
    """Some rows of a table, in the order of their indices."""

    __slots__ = ("_base", "indices")

    def __init__(self, base: Rows, chosen: np.ndarray) -> None:
        self._base = base
        self.indices = np.flatnonzero(chosen).astype(np.int32) if chosen.dtype == bool else chosen

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, name: str) -> np.ndarray:
        # `take` needs half the time of indexing, which converts 32-bit indices piece by piece.
        return self.indices if name == INDEX else self._base[name].take(self.indices)

    def where(self, chosen: np.ndarray) -> Rows:
        return Part(self._base, self.indices[chosen])
