"""Write the folder of a large correct run, block by block, to measure the checks.

Ten orders make a block of twenty ledger events: five sellers of two lots at one price, five buyers that take nine of
the ten lots in nine trades, and the cancel of the last lot. One subscriber in each market receives every event.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import compute

from kit import past
from tests.histories.clock import T0_NS
from tests.histories.tables import COLUMNS

pc: Any = compute
MARKETS = ("ACME", "BOLT", "CORE", "DUST")
ORDERS, EVENTS = 10, 20  # a block
BLOCKS_AT_ONCE = 4096
ROW_GROUP = 1 << 16
CLIENTS = 100  # on either side
EVENT_NS = 1_000  # from one event to the next
PRICE = 10_000
# Events of a block: (type, order, maker or −1); orders 0 … 4 sell, 5 … 9 buy.
SCRIPT = [("accepted", n, -1) for n in range(5)]
for taker in range(5):
    SCRIPT.append(("accepted", 5 + taker, -1))
    SCRIPT += [("fill", 5 + taker, maker) for maker in ([0] if taker == 0 else [taker - 1, taker])]
SCRIPT.append(("cancelled", 4, -1))
FILLS = sum(row[0] == "fill" for row in SCRIPT)
QTY = np.array([2, 2, 2, 2, 2, 1, 2, 2, 2, 2])
_ARROW = {"string": pa.string(), "int64": pa.int64(), "int32": pa.int32()}
Made = dict[str, Any]


class Files:
    """One Parquet file for each table."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._writers, self.rows = folder, {}, dict.fromkeys(COLUMNS, 0)

    def write(self, name: str, made: Made) -> None:
        schema = pa.schema([(column, _ARROW[kind]) for column, kind in COLUMNS[name].items()])
        size = max(len(values) for values in made.values())
        columns = [_column(made.get(column), size, schema.field(column).type) for column in COLUMNS[name]]
        if name not in self._writers:
            where = self._folder / ("history" if name in ("attempts", "stream", "connections") else "ledger")
            where.mkdir(parents=True, exist_ok=True)
            self._writers[name] = pq.ParquetWriter(where / f"{name}.parquet", schema, compression="zstd")
        self._writers[name].write_table(pa.Table.from_arrays(columns, schema=schema), ROW_GROUP)
        self.rows[name] += size

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()


def _column(values: Any, size: int, kind: Any) -> Any:
    if values is None:
        return pa.array(np.zeros(size, dtype=np.int64)).cast(kind) if kind != pa.string() else pa.repeat("", size)
    made = values if isinstance(values, pa.Array) else pa.array(values)
    return made.cast(kind)


def write_run(folder: Path, events: int) -> dict[str, int]:
    """Write a run of about so many ledger events to `folder`. Returns the number of rows of each table."""
    files, blocks = Files(folder), max(1, events // EVENTS)
    for block in _batches(np.arange(blocks)):
        _write_blocks(files, block)
    for market in range(len(MARKETS)):  # market by market, as a ledger is read
        for block in _batches(np.arange(market, blocks, len(MARKETS))):
            files.write("events", _events(block))
    _write_balances(files, blocks)
    empty = {column: pa.array([], _ARROW[kind]) for column, kind in COLUMNS["outbox"].items()}
    files.write("outbox", empty)
    for block in _batches(np.arange(blocks)):
        files.write("marks", _marks(_events(block)))
    opened = {"subscriber": [f"s-{m}" for m in MARKETS], "symbol": list(MARKETS)}
    files.write("connections", opened | {"dialed_ns": [T0_NS - 2] * 4, "opened_ns": [T0_NS - 1] * 4})
    files.close()
    past.record(past.Past(operations=(), answers=(), items={"ledger": ()}), folder)
    parts = {name: [[f"{name}.parquet", files.rows[name]]] for name in ("attempts", "stream", "connections")}
    sent = files.rows["attempts"]
    counts = {"intended": sent, "sent": sent, "ok": sent, "fail": 0, "info": 0, "dropped": 0, "lag_ms_p99": 0.1}
    (folder / "history" / "summary.json").write_text(json.dumps(counts | {"segments": parts, "finished": True}))
    return files.rows


def _text(*pieces: Any) -> Any:
    """Join pieces (texts, arrays) row by row."""
    cast = [piece if isinstance(piece, str) else pc.cast(pa.array(piece), pa.string()) for piece in pieces]
    return pc.binary_join_element_wise(*cast, "")


def _orders(block: np.ndarray, place: np.ndarray) -> Made:
    """The orders with the number `place` in these blocks."""
    number, sells = block * ORDERS + place, place < 5
    client = np.where(sells, number % CLIENTS, CLIENTS + number % CLIENTS)
    return {
        "order_id": _text("run-o", number),
        "idempotency_key": _text("run-k", number),
        "client_id": _text("c", client),
        "market": pa.array(MARKETS).take(pa.array(block % len(MARKETS))),
        "side": pa.array(["BUY", "SELL"]).take(pa.array(sells.astype(np.int64))),
        "qty": QTY[place],
        "price": _price(block),
        "number": number,
        "client": client,
    }


def _marks(events: Made) -> Made:
    """One mark for each event of the ledger; those that share an intake event repeat it."""
    expires_s = np.full(len(events["event_id"]), T0_NS // 10**9 + 15 * 86_400)
    return {"market": events["market"], "event_id": events["event_id"], "expires_s": expires_s}


def _price(block: np.ndarray) -> np.ndarray:
    return PRICE + block * 7919 % 101


def _write_blocks(files: Files, blocks: np.ndarray) -> None:
    files.write("stream", _stream(_events(blocks)))
    files.write("orders", _stored(blocks))
    files.write("attempts", _attempts(blocks))


def _events(blocks: np.ndarray) -> Made:
    block, step = np.repeat(blocks, EVENTS), np.tile(np.arange(EVENTS), len(blocks))
    place, maker = (np.array([row[n] for row in SCRIPT])[step] for n in (1, 2))
    kind = pa.array([row[0] for row in SCRIPT]).take(pa.array(step))
    own, other = _orders(block, place), _orders(block, np.maximum(maker, 0))
    fill, off = maker >= 0, np.array([row[0] == "cancelled" for row in SCRIPT])[step]
    seq = block // len(MARKETS) * EVENTS + step + 1
    market = own["market"]
    trade = _text(market, "-", seq)
    number = np.where(off, own["number"] + 10**9, own["number"])

    def of_order(values: Any) -> Any:
        return pc.if_else(pa.array(fill), "", values)

    def of_fill(values: Any) -> Any:
        return pc.if_else(pa.array(fill), values, "")

    return {
        "market": market,
        "seq": pa.array(seq),
        "type": kind,
        "event_id": _text("e", number),
        "ts_ns": pa.array(T0_NS + (block * EVENTS + step) * EVENT_NS),
        "order_id": of_order(own["order_id"]),
        "client_id": of_order(own["client_id"]),
        "idempotency_key": of_order(_text("run-k", number)),
        "side": of_order(own["side"]),
        "order_type": of_order("LIMIT"),
        "tif": of_order("GTC"),
        "qty": pa.array(np.where(fill | off, 1, own["qty"])),
        "price": pa.array(own["price"]),
        "reason": pc.if_else(pa.array(off), "client", ""),
        "trade_id": of_fill(trade),
        "taker_order_id": of_fill(own["order_id"]),
        "maker_order_id": of_fill(other["order_id"]),
        "taker_client_id": of_fill(own["client_id"]),
        "maker_client_id": of_fill(other["client_id"]),
        "taker_side": of_fill("BUY"),
    }


def _stream(made: Made) -> Made:
    """The stream messages: every event once."""
    received = pc.add(made["ts_ns"], 2 * EVENT_NS)
    base = {"subscriber": _text("s-", made["market"]), "symbol": made["market"], "seq": made["seq"]}
    return base | {"received_ns": received, "event": _messages(made)}


def _messages(made: Made) -> Any:
    """Events as PaperBroker writes them, without the fields that their types lack."""
    kind = made["type"]
    common = ('{"market":"', made["market"], '","seq":', made["seq"], ',"type":"', kind, '","eventId":"')
    common += (made["event_id"], '","tsNs":', made["ts_ns"])
    numbers = (',"qty":', made["qty"], ',"price":', made["price"])
    order = (',"orderId":"', made["order_id"], '","clientId":"', made["client_id"], '","idempotencyKey":"')
    order += (made["idempotency_key"], '","side":"', made["side"], '","orderType":"LIMIT","tif":"GTC"')
    fill = (',"tradeId":"', made["trade_id"], '","takerOrderId":"', made["taker_order_id"], '","makerOrderId":"')
    fill += (made["maker_order_id"], '","takerClientId":"', made["taker_client_id"], '","makerClientId":"')
    fill += (made["maker_client_id"], '","takerSide":"BUY"}')
    fills = pc.equal(kind, "fill")
    of_order = pc.if_else(
        pc.equal(kind, "cancelled"),
        _text(*common, *order, *numbers, ',"reason":"client"}'),
        _text(*common, *order, *numbers, "}"),
    )
    return pc.if_else(fills, _text(*common, *numbers, *fill), of_order)


def _stored(blocks: np.ndarray) -> Made:
    block, place = np.repeat(blocks, ORDERS), np.tile(np.arange(ORDERS), len(blocks))
    made, cancelled = _orders(block, place), place == 4
    state = pa.array(["FILLED", "CANCELLED"]).take(pa.array(cancelled.astype(np.int64)))
    size = len(block)
    rest = {"order_type": pa.repeat("LIMIT", size), "tif": pa.repeat("GTC", size), "status": state}
    return made | rest | {"filled_qty": np.where(cancelled, 1, made["qty"]), "accepted_ns": _sent_ns(made["number"])}


def _sent_ns(number: np.ndarray) -> np.ndarray:
    return T0_NS + number * 2 * EVENT_NS - 100 * EVENT_NS


def _attempts(blocks: np.ndarray) -> Made:
    """Return each order once, and the cancels.

    For every fiftieth order also a resubmission, a reuse of its key, and reads by its own and by an unauthorized
    client. Now and then a read of the book or of the block's trades.
    """
    block, place = np.repeat(blocks, ORDERS), np.tile(np.arange(ORDERS), len(blocks))
    sometimes, seldom = blocks[blocks % 5 == 0], blocks[blocks % 50 == 0]
    parts = [
        _attempt(block, place, "order", "first", 201),
        _attempt(sometimes, np.zeros_like(sometimes), "order", "resubmit_sequential", 200),
        _attempt(sometimes, np.zeros_like(sometimes) + 1, "order", "reuse_key", 409),
        _attempt(seldom, np.zeros_like(seldom) + 1, "order", "taken_order_id", 409),
        _attempt(seldom, np.zeros_like(seldom) + 1, "order", "malformed", 400),
        _attempt(sometimes, np.zeros_like(sometimes) + 2, "get_order", "first", 200),
        _attempt(sometimes, np.zeros_like(sometimes) + 4, "get_order", "first", 403),
        _attempt(sometimes, np.zeros_like(sometimes) + 3, "book", "first", 200),
        _attempt(seldom, np.zeros_like(seldom) + 5, "trades", "first", 200),
        _attempt(blocks, np.zeros_like(blocks) + 4, "cancel", "first", 202),
    ]
    return {name: pa.concat_arrays([part[name] for part in parts]) for name in parts[0]}


_SHIFT = {"first": 0, "resubmit_sequential": 1, "reuse_key": 2, "taken_order_id": 15, "malformed": 16}
# Requests that must be refused have a key of their own, or an order id of their own, or both.
_OWN_KEY = {"taken_order_id": "run-t", "malformed": "run-m"}
_OWN_ORDER_ID = {"reuse_key": "-2", "malformed": "-m"}


def _attempt(block: np.ndarray, place: np.ndarray, op: str, kind: str, status: int) -> Made:
    made, size = _orders(block, place), len(block)
    number = made["number"]
    later = _SHIFT[kind] + 3 * ("order", "get_order", "cancel", "book", "trades").index(op)
    own_key = _text(_OWN_KEY[kind], number) if kind in _OWN_KEY else made["idempotency_key"]
    keys = {"order": own_key, "cancel": _text("run-k", number + 10**9)}
    is_order, is_page = op == "order", op == "trades"
    sent_ns = _sent_ns(number) + later * 10 * EVENT_NS
    whole = {
        "op_id": number + later * 10**10,
        "attempt": np.full(size, 1 + later),
        "qty": (made["qty"] + (kind == "reuse_key")) * (is_order and kind != "malformed"),
        "price": made["price"] * is_order,
        "depth": np.zeros(size, dtype=np.int64),
        "limit": np.full(size, FILLS * is_page),
        "after": block // len(MARKETS) * EVENTS * is_page,
        "intended_ns": sent_ns,
        "invoked_ns": sent_ns,
        "completed_ns": sent_ns + 3 * EVENT_NS,
        "status": np.full(size, status),
    }
    texts = {
        "op": pa.repeat(op, size),
        "kind": pa.repeat(kind, size),
        "client_id": made["client_id"] if status != 403 else _orders(block, place - 1)["client_id"],
        "idempotency_key": keys.get(op, pa.repeat("", size)),
        "order_id": _text(made["order_id"], _OWN_ORDER_ID[kind]) if kind in _OWN_ORDER_ID else made["order_id"],
        "symbol": made["market"],
        "side": made["side"] if is_order else pa.repeat("", size),
        "type": pa.repeat("LIMIT" if is_order else "", size),
        "tif": pa.repeat("GTC" if is_order else "", size),
        "outcome": pa.repeat("ok" if status < 400 else "fail", size),
        "reply": _reply(made, op, kind, status, size),
    }
    return {name: pa.array(values) for name, values in whole.items()} | texts


def _book(made: Made) -> Any:
    """The book while the block's five sellers rest and no buyer has come."""
    seq = made["number"] // ORDERS // len(MARKETS) * EVENTS + 5
    level = _text("[", made["price"], ",10,5]")
    return _text('{"symbol":"', made["market"], '","seq":', seq, ',"bids":[],"asks":[', level, "]}")


def _page(made: Made) -> Any:
    """A page with all trades of the block. Its next is the last trade, the last event but one."""
    block = made["number"] // ORDERS
    events = _events(block)
    fill_steps = pa.array([step for step, row in enumerate(SCRIPT) if row[0] == "fill"])
    places = pc.add(
        pa.array(np.repeat(np.arange(len(block)) * EVENTS, FILLS)), pa.concat_arrays([fill_steps] * len(block))
    )
    trades = _messages({name: values.take(places) for name, values in events.items()}).to_pylist()
    pages = [",".join(trades[first : first + FILLS]) for first in range(0, len(trades), FILLS)]
    upto = (block // len(MARKETS) + 1) * EVENTS - 1
    return _text('{"symbol":"', made["market"], '","trades":[', pages, '],"next":', upto, "}")


def _reply(made: Made, op: str, kind: str, status: int, size: int) -> Any:
    if status >= 400:
        reasons = {400: "ValidationError", 403: "NotOwner", 409: "IdempotencyKeyReused"}
        reason = "OrderIdReused" if kind == "taken_order_id" else reasons[status]
        return pa.repeat(f'{{"error":"{reason}","field":"qty"}}', size)
    if op == "book":
        return _book(made)
    if op == "trades":
        return _page(made)
    state, filled = ("FILLED", '"filledQty":2,') if op == "get_order" else ("ACCEPTED", "")
    return _text(
        *('{"orderId":"', made["order_id"], '","clientId":"', made["client_id"], '","idempotencyKey":"'),
        *(made["idempotency_key"], '","symbol":"', made["market"], '","side":"', made["side"]),
        *('","type":"LIMIT","tif":"GTC","qty":', made["qty"], ',"price":', made["price"]),
        *(f',"status":"{state}",{filled}"acceptedAt":', _sent_ns(made["number"]), "}"),
    )


def _write_balances(files: Files, blocks: int) -> None:
    held: dict[tuple[str, str], list[int]] = {}
    for block in _batches(np.arange(blocks)):
        for taker, maker in ((row[1], row[2]) for row in SCRIPT if row[0] == "fill"):
            price, market = _price(block), block % len(MARKETS)
            for place, way in ((taker, 1), (maker, -1)):
                client = _orders(block, np.full(len(block), place))["client"]
                _post(held, client, market, way, price)
    names = list(held)
    columns = {"client_id": [client for client, _ in names], "market": [market for _, market in names]}
    files.write("positions", columns | {"qty": [held[n][0] for n in names], "cash": [held[n][1] for n in names]})


def _batches(blocks: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(blocks), BLOCKS_AT_ONCE):
        yield blocks[first : first + BLOCKS_AT_ONCE]


def _post(held: dict[tuple[str, str], list[int]], client: np.ndarray, market: np.ndarray, way: int, price: Any) -> None:
    account = client * len(MARKETS) + market
    lots = np.bincount(account)
    cash = np.bincount(account, weights=price)
    for number in np.flatnonzero(lots).tolist():
        row = held.setdefault((f"c{number // len(MARKETS)}", MARKETS[number % len(MARKETS)]), [0, 0])
        row[0] += way * int(lots[number])
        row[1] -= way * int(cash[number])
