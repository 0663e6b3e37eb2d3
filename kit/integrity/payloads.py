"""JSON bodies as columns: answers of the API and messages of the stream.

Owns parsing; must not know what the fields mean. A body that is no JSON object gives "" and 0 everywhere, which no
comparison with a ledger row survives.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import json as arrow_json

from kit.integrity.evidence import Column, Table

# One body may be this long, else the fast reader refuses the lot and each is parsed alone.
BLOCK_BYTES = 1 << 24


def parse(bodies: Column, fields: Mapping[str, type]) -> Table:
    """One row per body with the columns `fields` (JSON name → str or int); absent and null are "" and 0."""
    if bodies.empty:
        return pd.DataFrame({name: pd.Series(dtype=_dtype(kind)) for name, kind in fields.items()})
    # Answers repeat (retries, several subscribers): parse each text once.
    places, distinct = pd.factorize(bodies)
    texts = pd.Index(distinct).to_numpy(dtype=object).tolist()
    parsed = _parse_fast(texts, fields)
    if parsed is None:
        parsed = _parse_each(texts, fields)
    return parsed.iloc[places].set_axis(bodies.index)


def _parse_fast(texts: list[str], fields: Mapping[str, type]) -> Table | None:
    """All at once in C++, or None if any of them is not one JSON object on one line with fields of these types."""
    types = [(name, pa.int64() if kind is int else pa.string()) for name, kind in fields.items()]
    options = arrow_json.ParseOptions(explicit_schema=pa.schema(types), unexpected_field_behavior="ignore")
    lines = io.BytesIO("\n".join(text or "{}" for text in texts).encode())
    try:
        table = arrow_json.read_json(lines, arrow_json.ReadOptions(block_size=BLOCK_BYTES), options)
    except pa.ArrowInvalid:
        return None
    if table.num_rows != len(texts):
        return None
    return pd.DataFrame({name: _filled(table[name], kind) for name, kind in fields.items()})


def _filled(column: pa.ChunkedArray, kind: type) -> Column:
    return column.fill_null(kind()).to_pandas().astype(_dtype(kind))


def _parse_each(texts: list[str], fields: Mapping[str, type]) -> Table:
    rows = [_loads(text) for text in texts]
    columns = {name: [_value(row.get(name), kind) for row in rows] for name, kind in fields.items()}
    return pd.DataFrame({name: pd.Series(values, dtype=_dtype(fields[name])) for name, values in columns.items()})


def _loads(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _value(value: Any, kind: type) -> Any:
    fits = isinstance(value, kind) and not isinstance(value, bool)
    if fits and isinstance(value, int) and not -(2**63) <= value < 2**63:
        return 0
    return value if fits else kind()


def _dtype(kind: type) -> str:
    return "int64" if kind is int else "str"
