"""Open Parquet files within bounds, because a small compressed file may expand to any size; replace them."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kit.errors import UnreadableFile
from kit.files.replacement import replacing

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.parquet as pq

ROWS_MAX = 200_000_000
UNCOMPRESSED_BYTES_MAX = 64 * 1024**3
COLUMNS_MAX = 200


def open_parquet(path: Path, *, read_dictionary: Sequence[str] | None = None) -> pq.ParquetFile:
    """Open a file and check its size. Raises UnreadableFile for a file that is missing, damaged or too large."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Opening a pipe would wait for its writer.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UnreadableFile(f"{_short(path)} is damaged: it is not a regular file")
        file = pq.ParquetFile(path, read_dictionary=list(read_dictionary or ()) or None)
        metadata = file.metadata
        size = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    except FileNotFoundError as error:
        raise UnreadableFile(f"{_short(path)} is missing, expected a Parquet file") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UnreadableFile(f"{_short(path)} is damaged, expected a whole Parquet file: {error}") from error
    for what, count, limit in (
        ("rows", metadata.num_rows, ROWS_MAX),
        ("columns", metadata.num_columns, COLUMNS_MAX),
        ("bytes of data", size, UNCOMPRESSED_BYTES_MAX),
    ):
        if not 0 <= count <= limit:
            raise UnreadableFile(f"{_short(path)} is damaged: it has {count} {what}, at most {limit} are read")
    return file


def read_frame(path: Path) -> pd.DataFrame:
    """Read a whole file as a pandas table. Raises UnreadableFile as `open_parquet` does."""
    import pyarrow as pa

    try:
        return open_parquet(path).read().to_pandas()
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        raise UnreadableFile(f"{_short(path)} is damaged, expected a whole Parquet file: {error}") from error


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Replace a file by a pandas table, without its index. Raises EvidenceMissing if it cannot be written."""
    with replacing(path) as file:
        frame.to_parquet(file, index=False)


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
