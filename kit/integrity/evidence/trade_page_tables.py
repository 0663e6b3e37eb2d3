"""Read the pages of trades that clients got: one row for each answered page, and one for each trade in its answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute

from kit.integrity.arrays import hashing
from kit.integrity.arrays.columns import Columns, ColumnStorage
from kit.integrity.arrays.ids import ClientIds, Names, codes
from kit.integrity.arrays.json_columns import arrow_type, loads, table_of, typed
from kit.integrity.arrays.parquet_table import Batch, decoded, to_numpy

pc: Any = compute
# The `next` of an answer that is not a page of the requested market.
NO_PAGE = -1
# How many pages are parsed at once. A page may hold hundreds of trades.
PAGES_AT_ONCE = 512
# Field of a trade → its type: all fields of a fill's ledger event.
TRADE: Mapping[str, type] = {
    "market": str,
    "seq": int,
    "type": str,
    "eventId": str,
    "tsNs": int,
    "qty": int,
    "price": int,
    "tradeId": str,
    "takerOrderId": str,
    "makerOrderId": str,
    "takerClientId": str,
    "makerClientId": str,
    "takerSide": str,
}
FILL, SIDES = ("fill",), ("SELL", "BUY")
PAGE = pa.schema(
    [
        ("symbol", pa.string()),
        ("next", pa.int64()),
        ("trades", pa.list_(pa.struct([(name, arrow_type(kind)) for name, kind in TRADE.items()]))),
    ]
)


class TradePages:
    """The trade pages that clients read.

    `reads` has a row for each answered page: row (of the attempt), market, after and limit as requested, next, times.
    `trades` has a row for each trade of a page, in the order of the answer: page (index in `reads`) and the trade's
    fields. Ids are still hashes.
    """

    def __init__(self, storage: ColumnStorage, markets: Names, clients: ClientIds) -> None:
        self.reads, self.trades = Columns(storage), Columns(storage)
        self._markets, self._clients = markets, clients

    def put(self, batch: Batch, chosen: np.ndarray, begin: int) -> None:
        """Add the reads at the indices `chosen` of a batch of attempts. The batch's first attempt is row `begin`."""
        for start in range(0, len(chosen), PAGES_AT_ONCE):
            self._put(batch, chosen[start : start + PAGES_AT_ONCE], begin)

    def _put(self, batch: Batch, chosen: np.ndarray, begin: int) -> None:
        symbols, replies = (decoded(batch[name]).take(pa.array(chosen)) for name in ("symbol", "reply"))
        parsed = pages_of(replies.to_pylist())
        trades = parsed["trades"].combine_chunks()
        counts = to_numpy(pc.fill_null(pc.list_value_length(trades), 0)).astype(np.int64)
        pages = np.repeat(np.arange(len(chosen)) + len(self.reads), counts)
        self.trades.append({"page": pages} | self._columns(trades.flatten()))
        times = {name: to_numpy(batch[name])[chosen] for name in ("invoked_ns", "completed_ns")}
        self.reads.append(
            times
            | {
                "row": chosen + begin,
                "market": self._markets.number(symbols),
                "after": to_numpy(batch["after"])[chosen],
                "limit": to_numpy(batch["limit"])[chosen],
                "next": _next(parsed, symbols),
            }
        )

    def _columns(self, trades: pa.StructArray) -> dict[str, np.ndarray]:
        """Convert the trades to the columns of a fill's ledger event.

        A field that is absent or of another type becomes an empty text or 0.
        """
        fields = {
            name: values.fill_null(kind()) for (name, kind), values in zip(TRADE.items(), trades.flatten(), strict=True)
        }
        return {
            "market": self._markets.number(fields["market"]),
            "seq": to_numpy(fields["seq"]),
            "fill": codes(fields["type"], FILL) == 0,
            "event": hashing.texts(fields["eventId"]),
            "ts_ns": to_numpy(fields["tsNs"]),
            "qty": to_numpy(fields["qty"]),
            "price": to_numpy(fields["price"]),
            "content": hashing.texts(fields["tradeId"]),
            "order": hashing.texts(fields["takerOrderId"]),
            "maker": hashing.texts(fields["makerOrderId"]),
            "client": self._clients.number(fields["takerClientId"]),
            "maker_client": self._clients.number(fields["makerClientId"]),
            "buys": codes(fields["takerSide"], SIDES),
        }


def _next(parsed: pa.Table, symbols: Any) -> np.ndarray:
    """Return the `next` of each answer; NO_PAGE if it is not a page of the requested market."""
    index = parsed["next"].combine_chunks()
    right = pc.and_(
        pc.fill_null(pc.equal(parsed["symbol"].combine_chunks(), symbols), False), parsed["trades"].is_valid()
    )
    right = pc.and_(right, pc.fill_null(pc.greater_equal(index, 0), False))
    return to_numpy(pc.if_else(right, index, NO_PAGE))


def pages_of(replies: list[str]) -> pa.Table:
    """Parse the answers into a table with the schema PAGE. A field that is absent or of another type becomes null."""
    fast = table_of(replies, PAGE)
    return pa.Table.from_pylist([_page(loads(reply)) for reply in replies], PAGE) if fast is None else fast


def _page(answer: Mapping[str, Any]) -> dict[str, Any]:
    trades = answer.get("trades")
    parsed = [_trade(one) for one in trades] if isinstance(trades, list) else None
    return {"symbol": typed(answer.get("symbol"), str), "next": typed(answer.get("next"), int), "trades": parsed}


def _trade(trade: Any) -> dict[str, Any]:
    fields = trade if isinstance(trade, dict) else {}
    return {name: typed(fields.get(name), kind) for name, kind in TRADE.items()}
