"""Turn items in DynamoDB's JSON into tables with the columns of `kit.model`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# Column → attribute, where camel case alone does not give it.
RENAMED = {"ts_ns": "tsNs", "accepted_ns": "acceptedAtNs", "expires_s": "ttl"}

Item = Mapping[str, Mapping[str, Any]]


def table_of(items: Iterable[Item], columns: Mapping[str, str]) -> pd.DataFrame:
    """Make a table of exactly these columns and types from items. What an item lacks is "" or 0."""
    import pandas as pd

    sources = [(RENAMED.get(column) or _camel(column), dtype == "string") for column, dtype in columns.items()]
    rows = [[_cell(item.get(name), text) for name, text in sources] for item in items]
    return pd.DataFrame(rows, columns=pd.Index(columns)).astype(dict(columns))


def _cell(value: Mapping[str, Any] | None, text: bool) -> str | int:
    content = None if value is None else plain_value(value)
    if text:
        return "" if content is None else str(content)
    return 0 if content is None else int(content)


def plain_value(value: Mapping[str, Any]) -> Any:
    """Convert DynamoDB's typed value to text; None for NULL. A number stays text until its column gives it a type."""
    (kind, content), *_ = value.items()
    return None if kind == "NULL" else content


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
