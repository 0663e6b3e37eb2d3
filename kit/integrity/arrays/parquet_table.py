"""Read one recorded table from its Parquet files: in batches of typed Arrow columns, or single rows by their index.

A file that is missing, damaged or lacks a column raises EvidenceMissing. It is never read as an empty table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kit.errors import EvidenceMissing, UnreadableFile
from kit.files.parquet_file import open_parquet
from kit.integrity.arrays.columns import ColumnStorage

BATCH_ROWS = 1 << 16
# Text columns in which most rows differ. All other text columns repeat a few texts. They are read as Arrow dictionary
# arrays, which hold each distinct text once and a code for each row.
DISTINCT_TEXT_COLUMNS = frozenset(
    ("idempotency_key", "order_id", "event_id", "trade_id", "taker_order_id", "maker_order_id", "reply", "event")
)
ARROW_TYPES = {"string": pa.string(), "int64": pa.int64(), "int32": pa.int32(), "float64": pa.float64()}

Batch = dict[str, Any]  # Arrow arrays by column. Texts may be dictionary arrays, see DISTINCT_TEXT_COLUMNS.


class ParquetTable:
    """A table in one or more Parquet files.

    The first call of `at` copies the table to a file in `storage`, because compressed files have no random access.
    """

    def __init__(self, name: str, paths: Sequence[Path], types: Mapping[str, str], storage: ColumnStorage) -> None:
        """Open the files and check that they have the columns `types` (name → kind, a key of ARROW_TYPES).

        Raises EvidenceMissing if a file is missing or damaged, or if a column is missing or of another type.
        """
        self._name, self._paths, self._types, self._storage = name, tuple(paths), types, storage
        self._row_copy: tuple[np.ndarray, Any] | None = None
        self.rows = 0
        for path in self._paths:
            file = self._open(path)
            self._check_columns(path, file.schema_arrow)
            self.rows += file.metadata.num_rows

    def batches(self, columns: Sequence[str]) -> Iterator[Batch]:
        """Read all rows in their order. Nulls become "" and 0. Raises EvidenceMissing for a damaged file."""
        texts = (name for name, kind in self._types.items() if kind == "string")
        repeated = [name for name in texts if name not in DISTINCT_TEXT_COLUMNS]
        for path in self._paths:
            file = self._open(path, repeated)
            batches = file.iter_batches(BATCH_ROWS, columns=list(columns), use_threads=False)
            try:
                for batch in batches:
                    yield {column: self._typed(batch.column(column), column) for column in columns}
            except (pa.ArrowException, OSError) as error:
                raise self._damaged(path, error) from error

    def at(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Return the rows at these indices with every expected column, in the order of `indices`."""
        first_rows, file = self._row_copy = self._row_copy or self._copy_rows()
        wanted, rows = np.unique(np.array(indices, dtype=np.int64)), {}
        batch_of = np.searchsorted(first_rows, wanted, side="right") - 1
        for batch in np.unique(batch_of).tolist():
            in_batch = wanted[batch_of == batch]
            taken = file.get_batch(batch).take(pa.array(in_batch - first_rows[batch])).to_pylist()
            rows |= dict(zip(in_batch.tolist(), taken, strict=True))
        return [rows[int(index)] for index in indices]

    def _copy_rows(self) -> tuple[np.ndarray, Any]:
        """Copy the table to an uncompressed file. Returns the index of each batch's first row, and the open file."""
        path, sizes = self._storage.file(), [0]
        schema = pa.schema([(column, ARROW_TYPES[kind]) for column, kind in self._types.items()])
        with pa.OSFile(str(path), "wb") as target, pa.ipc.new_file(target, schema) as writer:
            for batch in self.batches(tuple(self._types)):
                rows = pa.record_batch([decoded(batch[column]) for column in self._types], schema=schema)
                writer.write_batch(rows)
                sizes.append(len(rows))
        return np.cumsum(sizes[:-1]), pa.ipc.open_file(pa.memory_map(str(path)))

    def _open(self, path: Path, repeated: list[str] | None = None) -> pq.ParquetFile:
        try:
            return open_parquet(path, read_dictionary=repeated)
        except UnreadableFile as error:
            raise EvidenceMissing(f"{self._name}: {error} with the columns {', '.join(self._types)}") from error

    def _damaged(self, path: Path, error: Exception) -> EvidenceMissing:
        return EvidenceMissing(f"{self._name}: {_short(path)} is damaged, expected a whole Parquet file: {error}")

    def _check_columns(self, path: Path, schema: pa.Schema) -> None:
        for column, kind in self._types.items():
            found = schema.field(column).type if column in schema.names else "missing"
            if found == "missing" or not _fits(found, kind):
                raise EvidenceMissing(f"{self._name}: {_short(path)}: column {column} is {found}, expected {kind}")

    def _typed(self, values: Any, column: str) -> Any:
        wanted = ARROW_TYPES[self._types[column]]
        if isinstance(values, pa.DictionaryArray) and pa.types.is_string(values.type.value_type):
            return values if not values.null_count else values.cast(wanted).fill_null("")
        values = values if values.type == wanted else values.cast(wanted)
        return values.fill_null("" if wanted == pa.string() else 0) if values.null_count else values


def _short(path: Path) -> str:
    """Return the name of the file and its folder."""
    return f"{path.parent.name}/{path.name}"


def _fits(found: Any, kind: str) -> bool:
    """Return whether a stored type can be read as `kind`. A column of nulls can be read as any kind."""
    if isinstance(found, pa.DictionaryType):
        found = found.value_type
    if kind == "string":
        return pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_null(found)
    if kind == "float64" and pa.types.is_floating(found):
        return True
    return pa.types.is_integer(found) or pa.types.is_null(found)


@contextmanager
def system_memory_pool() -> Iterator[None]:
    """Let Arrow use the system's allocator in the whole process until the context ends.

    Arrow's own allocator returns its pages after each of the hundreds of batches and requests them again. That takes a
    twelfth of the time of judging a run.
    """
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def decoded(values: Any) -> Any:
    """Convert a dictionary array to a plain array of texts; return any other array as it is."""
    return values.cast(pa.string()) if isinstance(values, pa.DictionaryArray) else values


def to_numpy(values: Any) -> np.ndarray:
    """Convert an Arrow array of numbers to a NumPy array."""
    return values.to_numpy(zero_copy_only=False)
