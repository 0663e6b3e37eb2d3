"""Parse JSON bodies into columns: replies of the API and messages of the stream.

A body that is not a JSON object gives "" and 0 in every column, which equals no ledger row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from pyarrow import json as arrow_json

# Longer than all bodies that are parsed at once, because Arrow parses no body across two blocks.
BLOCK_BYTES = 1 << 28
# Up to so many bodies, parsing them one by one is as fast.
FEW = 64

Parsed = dict[str, Any]  # field → Arrow array


def parse(bodies: Any, fields: Mapping[str, type]) -> Parsed:
    """Parse texts into one array for each field (JSON name → str or int). Absent and null become "" and 0."""
    texts = bodies.to_pylist()
    parsed = _parse_fast(texts, fields) if len(texts) > FEW else None
    return _parse_each(texts, fields) if parsed is None else parsed


def _parse_fast(texts: list[str], fields: Mapping[str, type]) -> Parsed | None:
    """Parse all at once in C++. None if any text is not one JSON object on one line with fields of these types."""
    table = table_of(texts, pa.schema([(name, arrow_type(kind)) for name, kind in fields.items()]))
    if table is None:
        return None
    return {name: table[name].combine_chunks().fill_null(kind()) for name, kind in fields.items()}


def table_of(texts: list[str], schema: pa.Schema) -> pa.Table | None:
    """Parse all at once in C++, absent fields as nulls. None if a text is not one JSON object on one line that fits."""
    options = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    lines = pa.py_buffer("\n".join(text or "{}" for text in texts).encode())
    try:
        table = arrow_json.read_json(
            pa.BufferReader(lines), arrow_json.ReadOptions(use_threads=False, block_size=BLOCK_BYTES), options
        )
    except pa.ArrowInvalid:
        return None
    return table if table.num_rows == len(texts) else None


def _parse_each(texts: list[str], fields: Mapping[str, type]) -> Parsed:
    rows = [loads(text) for text in texts]
    return {
        name: pa.array([_value(row.get(name), kind) for row in rows], arrow_type(kind)) for name, kind in fields.items()
    }


def loads(text: str) -> dict[str, Any]:
    """Parse the JSON object in the text. Returns an empty one if the text holds no JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _value(value: Any, kind: type) -> Any:
    fitting = typed(value, kind)
    return kind() if fitting is None else fitting


def typed(value: Any, kind: type) -> Any:
    """Return the value if it has this type (str or int) and fits a column, else None."""
    if not isinstance(value, kind) or isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else None
    return value.encode("utf-8", "replace").decode()


def arrow_type(kind: type) -> Any:
    return pa.int64() if kind is int else pa.string()
