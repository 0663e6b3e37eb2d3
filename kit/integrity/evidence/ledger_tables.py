"""Read the exchange's records: its ledger events, and the orders, positions and outbox that it stores beside them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kit.integrity.arrays import hashing
from kit.integrity.arrays.columns import Columns, ColumnStorage
from kit.integrity.arrays.ids import NO_ID, ClientIds, Names, codes
from kit.integrity.arrays.parquet_table import Batch, ParquetTable, to_numpy
from kit.integrity.evidence import order_content
from kit.integrity.evidence.client_tables import STATES
from kit.integrity.evidence.expected_messages import ExpectedMessages, field_hashes_of
from kit.model import LEDGER_EVENT_COLUMNS, ORDER_COLUMNS

TYPES = ("accepted", "rejected", "fill", "cancelled")
# REJECTED refuses an order, REFUSED a cancel.
ACCEPTED, REJECTED, FILL, CANCELLED, REFUSED = range(5)
CLIENT, IOC, SELF_TRADE, UNKNOWN_ORDER, ALREADY_DONE, NOT_OWNER, MATCH_LIMIT, NO_REASON = range(8)
REASONS = ("client", "ioc", "self_trade", "UnknownOrder", "AlreadyDone", "NotOwner", "MatchLimitExceeded")
BUYS, AT_MARKET, RESTS = 1, 2, 4

IDS = (
    "event_id",
    "order_id",
    "client_id",
    "idempotency_key",
    "trade_id",
    "taker_order_id",
    "maker_order_id",
)
ORDER_READ = list(ORDER_COLUMNS)


def read_events(
    table: ParquetTable, storage: ColumnStorage, markets: Names, clients: ClientIds, messages: ExpectedMessages
) -> Columns:
    """Read the ledger, sorted by market and seq. `row` is the index of the recorded row. Ids are still hashes.

    In fills, `order` and `client` are the taker's, BUYS is the taker's side, and `content` is the trade id. `text` is
    the hash of the event's stream message, see `expected_messages`.
    """
    events, begin, ordered, last = Columns(storage, table.rows), 0, True, (-1, -1)
    for batch in table.batches(list(LEDGER_EVENT_COLUMNS)):
        ids = {column: hashing.texts(batch[column]) for column in IDS}
        columns = _events(batch, ids, markets, clients, begin)
        begin += len(columns["row"])
        events.append(columns | {"text": messages.expected_texts(batch)})
        ordered, last = ordered and _ordered(columns, last), (int(columns["market"][-1]), int(columns["seq"][-1]))
    if not ordered:
        events.reorder(np.lexsort((events["seq"], events["market"])))
    return events


def _ordered(columns: dict[str, np.ndarray], last: tuple[int, int]) -> bool:
    market, seq = np.concatenate([[last[0]], columns["market"]]), np.concatenate([[last[1]], columns["seq"]])
    step = np.diff(market)
    return bool(((step > 0) | ((step == 0) & (np.diff(seq) >= 0))).all())


def _events(
    batch: Batch, ids: Mapping[str, np.ndarray], markets: Names, clients: ClientIds, begin: int
) -> dict[str, np.ndarray]:
    kind = codes(batch["type"], TYPES)
    kind = np.where((kind == REJECTED) & (codes(batch["command"], ("cancel",)) == 0), np.int8(REFUSED), kind)
    fill = kind == FILL
    at_market = codes(batch["order_type"], ("MARKET",)) == 0
    rests = ~at_market & (codes(batch["tif"], ("IOC",)) != 0)
    buys = np.where(fill, codes(batch["taker_side"], ("BUY",)), codes(batch["side"], ("BUY",))) == 0
    reason, name, none = codes(batch["reason"], REASONS), ids["idempotency_key"], np.uint64(0)
    return {
        "row": np.arange(begin, begin + len(kind)),
        "market": markets.number(batch["market"]),
        "seq": to_numpy(batch["seq"]),
        "type": kind,
        "event": ids["event_id"],
        "ts_ns": to_numpy(batch["ts_ns"]),
        "order": np.where(fill, ids["taker_order_id"], ids["order_id"]),
        "maker": np.where(fill, ids["maker_order_id"], none),
        "client": np.where(fill, clients.number(batch["taker_client_id"]), clients.number(batch["client_id"])),
        "maker_client": np.where(fill, clients.number(batch["maker_client_id"]), NO_ID),
        "key": np.where(name != 0, hashing.rows(ids["client_id"], name), none),
        "qty": to_numpy(batch["qty"]),
        "price": to_numpy(batch["price"]),
        "reason": np.where(reason < 0, np.int8(NO_REASON), reason),
        "content": np.where(fill, ids["trade_id"], order_content.number(batch)),
        "bits": (buys * BUYS + at_market * AT_MARKET + rests * RESTS).astype(np.int8),
    }


def read_past(table: ParquetTable, storage: ColumnStorage, markets: Names) -> Columns:
    """Read the events of the past: market, seq and the hash of all fields (`expected_messages.field_hashes_of`)."""
    past = Columns(storage, table.rows)
    for batch in table.batches(list(LEDGER_EVENT_COLUMNS)):
        numbers = {"market": markets.number(batch["market"]), "seq": to_numpy(batch["seq"])}
        past.append(numbers | {"fields": field_hashes_of(batch)})
    return past


def read_orders(table: ParquetTable, storage: ColumnStorage, markets: Names, clients: ClientIds) -> Columns:
    orders = Columns(storage, table.rows)
    for batch in table.batches(ORDER_READ):
        client, name = hashing.texts(batch["client_id"]), hashing.texts(batch["idempotency_key"])
        orders.append(
            {
                "order": hashing.texts(batch["order_id"]),
                "key": np.where(name != 0, hashing.rows(client, name), np.uint64(0)),
                "client": clients.number(batch["client_id"]),
                "market": markets.number(batch["market"]),
                "buys": codes(batch["side"], ("BUY",)) == 0,
                "qty": to_numpy(batch["qty"]),
                "filled": to_numpy(batch["filled_qty"]),
                "accepted_ns": to_numpy(batch["accepted_ns"]),
                "state": codes(batch["status"], STATES),
                "content": order_content.number(batch),
            }
        )
    return orders


def read_positions(table: ParquetTable, storage: ColumnStorage, markets: Names, clients: ClientIds) -> Columns:
    positions = Columns(storage)
    for batch in table.batches(("client_id", "market", "qty", "cash")):
        numbers = {"client": clients.number(batch["client_id"]), "market": markets.number(batch["market"])}
        positions.append(numbers | {"qty": to_numpy(batch["qty"]), "cash": to_numpy(batch["cash"])})
    return positions


def read_marks(table: ParquetTable, storage: ColumnStorage) -> Columns:
    marks = Columns(storage)
    for batch in table.batches(("event_id", "expires_s")):
        marks.append({"event": hashing.texts(batch["event_id"]), "expires_s": to_numpy(batch["expires_s"])})
    return marks


def read_outbox(table: ParquetTable, storage: ColumnStorage) -> Columns:
    outbox = Columns(storage)
    for batch in table.batches(("order_id",)):
        outbox.append({"order": hashing.texts(batch["order_id"])})
    return outbox
