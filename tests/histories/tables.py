"""Build the recorded tables of the small exchange."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from kit.integrity.evidence.run_folder import HISTORY_TABLES, LEDGER_TABLES, PAST_TABLES, PLATFORM_TABLES

COLUMNS = {**HISTORY_TABLES, **LEDGER_TABLES, **PAST_TABLES, **PLATFORM_TABLES}
CAMEL = {
    "event_id": "eventId",
    "ts_ns": "tsNs",
    "order_id": "orderId",
    "client_id": "clientId",
    "idempotency_key": "idempotencyKey",
    "order_type": "orderType",
    "trade_id": "tradeId",
    "taker_order_id": "takerOrderId",
    "maker_order_id": "makerOrderId",
    "taker_client_id": "takerClientId",
    "maker_client_id": "makerClientId",
    "taker_side": "takerSide",
}
Row = dict[str, Any]


def blank(columns: dict[str, str]) -> Row:
    return {name: "" if kind == "string" else 0 for name, kind in columns.items()}


def streamed(event: Row) -> str:
    """The event's stream message: JSON without empty fields."""
    return json.dumps({CAMEL.get(name, name): value for name, value in event.items() if value not in ("", 0)})


def table(name: str, rows: Sequence[Row]) -> pd.DataFrame:
    return pd.DataFrame(
        {column: pd.Series([row[column] for row in rows], dtype=kind) for column, kind in COLUMNS[name].items()}
    )
