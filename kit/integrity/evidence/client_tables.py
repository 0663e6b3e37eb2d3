"""The clients' half of the evidence as columns: what they sent, what they were told, what they read.

Owns the meaning of attempts and of answers; must not know the ledger.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from kit.integrity.arrays import hashing
from kit.integrity.arrays.columns import Columns, ColumnStorage
from kit.integrity.arrays.ids import ClientIds, codes
from kit.integrity.arrays.json_columns import parse
from kit.integrity.arrays.json_templates import JsonTemplates, empty
from kit.integrity.arrays.parquet_table import Batch, ParquetTable, decoded, to_numpy
from kit.integrity.evidence import order_content
from kit.integrity.evidence.book_tables import BookReads
from kit.integrity.evidence.trade_page_tables import TradePages
from kit.model import ATTEMPT_COLUMNS, ATTEMPT_KINDS, OPERATIONS

ORDER, CANCEL, GET_ORDER, BOOK, TRADES = range(len(OPERATIONS))
FIRST, REUSE_KEY = (ATTEMPT_KINDS.index(kind) for kind in ("first", "reuse_key"))
OUTCOMES = ("ok", "fail", "info")
OK, FAIL, INFO = range(3)
STATES = ("ACCEPTED", "OPEN", "PARTIALLY_FILLED", "FILLED", "CANCELLED", "REJECTED")

READ = [name for name in ATTEMPT_COLUMNS if name not in ("intended_ns", "error")]
# Field of an answer → column of the attempt that it repeats.
REPEATED = {
    "orderId": "order_id",
    "clientId": "client_id",
    "idempotencyKey": "idempotency_key",
    "symbol": "symbol",
    "side": "side",
    "type": "type",
    "tif": "tif",
    "qty": "qty",
    "price": "price",
}
COMPARED = frozenset(REPEATED[name] for name in order_content.REPLY_FIELDS)
NAMED_FIELDS = order_content.REPLY_FIELDS | {"clientId": str, "idempotencyKey": str}
STATE_FIELDS = NAMED_FIELDS | {"status": str, "filledQty": int}
FOUND, NOT_FOUND, FORBIDDEN = 200, 404, 403
REQUEST_TIMEOUT, CONFLICT, TOO_MANY = 408, 409, 429
# The reason of a refusal of other content, as `told` of a probe has it.
REUSED = np.uint64(hashing.one("IdempotencyKeyReused"))


def good(status: np.ndarray) -> np.ndarray:
    return (status >= 200) & (status < 300)


def refused(status: np.ndarray) -> np.ndarray:
    """Definite refusals: 4xx but those that say nothing of what was asked for."""
    return (status >= 400) & (status < 500) & (status != REQUEST_TIMEOUT) & (status != TOO_MANY)


def read_attempts(
    table: ParquetTable, storage: ColumnStorage, clients: ClientIds, reads: Columns, books: BookReads, pages: TradePages
) -> Columns:
    """All attempts; and into `reads` the reads of orders that were answered, with what the answers say, into `books`
    those of books, and into `pages` those of trades.

    `sent` and `told` number the content of what was sent and acknowledged, `once` numbers (operation, attempt). Of a
    key's reuse `told` is the reason of its refusal. Of a read `told_order`, `state`, `filled` and `told` are what its
    answer says. An answer that names another client or key tells of no content that anybody sent. Ids are hashes still.
    """
    attempts, templates, begin = Columns(storage, table.rows), JsonTemplates(REPEATED, COMPARED), 0
    for batch in table.batches(READ):
        made = _attempts(batch, clients, templates)
        attempts.append(made)
        reads.append(_reads(batch, made, begin))
        found = made["status"] == FOUND
        books.put(batch, np.flatnonzero((made["op"] == BOOK) & found), begin)
        pages.put(batch, np.flatnonzero((made["op"] == TRADES) & found), begin)
        begin += len(made["op"])
    return attempts


def _attempts(batch: Batch, clients: ClientIds, templates: JsonTemplates) -> dict[str, np.ndarray]:
    client, name = hashing.texts(batch["client_id"]), hashing.texts(batch["idempotency_key"])
    made = {
        "op": codes(batch["op"], OPERATIONS),
        "kind": codes(batch["kind"], ATTEMPT_KINDS),
        "outcome": codes(batch["outcome"], OUTCOMES),
        "key": np.where(name != 0, hashing.rows(client, name), np.uint64(0)),
        "order": hashing.texts(batch["order_id"]),
        "client": clients.number(batch["client_id"]),
        "content": order_content.number(batch, order_content.CLIENT),
        "attempt_id": hashing.rows(to_numpy(batch["op_id"]), to_numpy(batch["attempt"])),
    }
    for column in ("status", "late_status", "invoked_ns", "completed_ns", "late_ns"):
        made[column] = to_numpy(batch[column])
    return made | _told(batch, made, client, name, templates)


def _told(
    batch: Batch, made: dict[str, np.ndarray], client: np.ndarray, name: np.ndarray, templates: JsonTemplates
) -> dict[str, np.ndarray]:
    """Order and content that acknowledgements name; where it is the attempt's `own` order, its id is not kept twice."""
    answer_order, told = np.zeros_like(made["order"]), np.zeros_like(made["content"])
    own = np.zeros(len(told), dtype=bool)
    acknowledged = good(made["status"]) | good(made["late_status"])
    asked = np.flatnonzero((made["op"] == ORDER) & (made["kind"] != REUSE_KEY) & acknowledged)
    if len(asked):
        texts = decoded(batch["reply"]).take(pa.array(asked))
        repeats = templates.same(texts, batch, asked, _shapes(batch)[asked])
        as_sent, other = asked[repeats], asked[~repeats]
        own[as_sent], told[as_sent] = True, made["content"][as_sent]
        if len(other):
            said = parse(texts.filter(pa.array(~repeats)), NAMED_FIELDS)
            answer_order[other] = hashing.texts(said["orderId"])
            told[other] = order_content.number(said, order_content.CLIENT)
            stranger = _names_other(said["clientId"], client[other]) | _names_other(said["idempotencyKey"], name[other])
            told[other] = np.where(stranger, ~told[other], told[other])
    reused = np.flatnonzero(made["kind"] == REUSE_KEY)
    if len(reused):
        told[reused] = hashing.texts(parse(decoded(batch["reply"]).take(pa.array(reused)), {"error": str})["error"])
    return {"answer_order": answer_order, "answer": told, "answers_own_order": own}


def _names_other(said: Any, own: np.ndarray) -> np.ndarray:
    """Where a name is said that is not the attempt's own; an answer may leave it out."""
    names = hashing.texts(said)
    return (names != 0) & (names != own)


def _shapes(batch: Batch) -> np.ndarray:
    """Rows with the same columns empty have the same number."""
    shapes = np.zeros(len(batch["op"]), dtype=np.int64)
    for bit, column in enumerate(REPEATED.values()):
        shapes |= empty(batch[column]).astype(np.int64) << bit
    return shapes


def _reads(batch: Batch, made: dict[str, np.ndarray], begin: int) -> dict[str, np.ndarray]:
    """The reads that say something: an order's state, or that there is none."""
    answered = (made["outcome"] == OK) | np.isin(made["status"], (FORBIDDEN, NOT_FOUND))
    rows = np.flatnonzero((made["op"] == GET_ORDER) & answered & (made["order"] != 0))
    said = parse(decoded(batch["reply"]).take(pa.array(rows)), STATE_FIELDS)
    told = order_content.number(said, order_content.CLIENT)
    stranger = _names_other(said["clientId"], hashing.texts(batch["client_id"])[rows])
    columns = ("order", "client", "outcome", "status", "invoked_ns", "completed_ns")
    return {column: made[column][rows] for column in columns} | {
        "row": rows + begin,
        "answer_order": hashing.texts(said["orderId"]),
        "state": codes(said["status"], STATES),
        "filled": to_numpy(said["filledQty"]),
        "answer": np.where(stranger, ~told, told),
    }
