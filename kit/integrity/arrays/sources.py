"""The recorded tables as they come: batches of typed Arrow columns, and single rows for the story.

Owns where a row lies and that it has the columns and types of the contract; must not know what a row means. What
cannot be read raises EvidenceMissing with its reason, never an empty table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from kit.errors import EvidenceMissing
from kit.integrity.arrays.columns import Space

BATCH_ROWS = 1 << 16
# Columns of mostly different texts. All others are read as codes and the few texts behind them.
MANY_TEXTS = frozenset(
    ("idempotency_key", "order_id", "event_id", "trade_id", "taker_order_id", "maker_order_id", "reply", "event")
)
ARROW = {"string": pa.string(), "int64": pa.int64(), "int32": pa.int32()}

Batch = dict[str, Any]  # column → Arrow array, texts perhaps as dictionary arrays


@runtime_checkable
class Source(Protocol):
    """One recorded table."""

    @property
    def rows(self) -> int: ...

    def batches(self, columns: Sequence[str]) -> Iterator[Batch]:
        """All rows in their order; nulls are "" and 0. Raises EvidenceMissing."""
        ...

    def at(self, places: Sequence[int]) -> list[dict[str, Any]]:
        """The rows at these places, every column of the contract, in the order asked."""
        ...


class FrameSource:
    """A table in memory."""

    def __init__(self, name: str, frame: pd.DataFrame, kinds: Mapping[str, str]) -> None:
        self._name, self._frame, self._kinds = name, frame, kinds
        self._table: pa.Table | None = None  # made for the first story: most runs have none
        _demand(name, kinds, frame.columns)
        self.rows = len(frame)

    def batches(self, columns: Sequence[str]) -> Iterator[Batch]:
        for start in range(0, len(self._frame), BATCH_ROWS):
            part = self._frame.iloc[start : start + BATCH_ROWS]
            yield {column: self._typed(part[column], column) for column in columns}

    def at(self, places: Sequence[int]) -> list[dict[str, Any]]:
        table = self._table
        if table is None:
            typed = {column: self._typed(self._frame[column], column) for column in self._kinds}
            table = self._table = pa.table(typed)
        return table.take(pa.array(list(places), pa.int64())).to_pylist()

    def _typed(self, values: Any, column: str) -> Any:
        kind = self._kinds[column]
        try:
            if kind == "string":
                made = pa.array(values.fillna("").astype("str"), from_pandas=True)
            else:
                # Through Int64 and not float: nanoseconds do not fit a float's 53 bits.
                made = pa.array(values.fillna(0).astype("int64").astype(kind).to_numpy())
        except (TypeError, ValueError, OverflowError, pa.ArrowException) as error:
            raise EvidenceMissing(f"{self._name}: values of a wrong type in column {column} ({error})") from error
        made = made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made
        made = made.cast(ARROW[kind])
        return made.dictionary_encode() if _few(column, kind) else made


class ParquetSource:
    """A table in Parquet files, one after the other. `space` is where rows are laid out when a story asks for some."""

    def __init__(self, name: str, paths: Sequence[Path], kinds: Mapping[str, str], space: Space) -> None:
        self._name, self._paths, self._kinds, self._space = name, tuple(paths), kinds, space
        self._laid_out: tuple[np.ndarray, Any] | None = None
        self.rows = 0
        for path in self._paths:
            meta = self._open(path).metadata
            _demand(name, kinds, meta.schema.to_arrow_schema().names)
            self.rows += meta.num_rows

    def batches(self, columns: Sequence[str]) -> Iterator[Batch]:
        for path in self._paths:
            yield from self._batches(self._open(path), columns)

    def at(self, places: Sequence[int]) -> list[dict[str, Any]]:
        # Compressed files have no single rows: the first story copies the table to where a row is found at once.
        begins, file = self._laid_out = self._laid_out or self._lay_out()
        wanted, found = np.unique(np.array(places, dtype=np.int64)), {}
        numbers = np.searchsorted(begins, wanted, side="right") - 1
        for number in np.unique(numbers).tolist():
            mine = wanted[numbers == number]
            rows = file.get_batch(number).take(pa.array(mine - begins[number])).to_pylist()
            found |= dict(zip(mine.tolist(), rows, strict=True))
        return [found[int(place)] for place in places]

    def _lay_out(self) -> tuple[np.ndarray, Any]:
        """Where each block of rows begins, and the blocks."""
        path, sizes = self._space.file(), [0]
        schema = pa.schema([(column, ARROW[kind]) for column, kind in self._kinds.items()])
        with pa.OSFile(str(path), "wb") as target, pa.ipc.new_file(target, schema) as writer:
            for batch in self.batches(tuple(self._kinds)):
                rows = pa.record_batch([plain(batch[column]) for column in self._kinds], schema=schema)
                writer.write_batch(rows)
                sizes.append(len(rows))
        return np.cumsum(sizes[:-1]), pa.ipc.open_file(pa.memory_map(str(path)))

    def _open(self, path: Path) -> pq.ParquetFile:
        few = [name for name, kind in self._kinds.items() if _few(name, kind)]
        try:
            return pq.ParquetFile(path, read_dictionary=few)
        except FileNotFoundError as error:
            raise EvidenceMissing(f"{self._name}: {path.name} is missing") from error
        except (pa.ArrowException, OSError) as error:
            raise EvidenceMissing(f"{self._name}: {path.name} is damaged: {error}") from error

    def _batches(self, file: pq.ParquetFile, columns: Sequence[str]) -> Iterator[Batch]:
        batches = file.iter_batches(BATCH_ROWS, columns=list(columns), use_threads=False)
        try:
            for batch in batches:
                yield {column: self._typed(batch.column(column), column) for column in columns}
        except (pa.ArrowException, OSError) as error:
            raise EvidenceMissing(f"{self._name}: a part is damaged or of a wrong type: {error}") from error

    def _typed(self, values: Any, column: str) -> Any:
        wanted = ARROW[self._kinds[column]]
        if isinstance(values, pa.DictionaryArray) and pa.types.is_string(values.type.value_type):
            return values if not values.null_count else values.cast(wanted).fill_null("")
        values = values if values.type == wanted else values.cast(wanted)
        return values.fill_null("" if wanted == pa.string() else 0) if values.null_count else values


@contextmanager
def memory_of_the_system() -> Iterator[None]:
    """Meanwhile Arrow has its memory from the system's allocator, in the whole process.

    Batches come and go by the hundred: Arrow's own gives their pages back and has to get them anew, which costs a
    twelfth of the time in which a run is judged.
    """
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def _few(column: str, kind: str) -> bool:
    return kind == "string" and column not in MANY_TEXTS


def _demand(name: str, kinds: Mapping[str, str], found: Any) -> None:
    missing = [column for column in kinds if column not in found]
    if missing:
        raise EvidenceMissing(f"{name}: column {missing[0]} is missing")


def plain(values: Any) -> Any:
    """An Arrow array of texts as such, not as codes."""
    return values.cast(pa.string()) if isinstance(values, pa.DictionaryArray) else values


def whole(values: Any) -> np.ndarray:
    """An Arrow array of numbers as NumPy's."""
    return values.to_numpy(zero_copy_only=False)
