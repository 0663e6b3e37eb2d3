"""Read what clients sent, what they were answered and what they read."""

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
from kit.model import ATTEMPT_COLUMNS, ATTEMPT_KINDS, OPERATIONS, PROBES

ORDER, CANCEL, GET_ORDER, BOOK, TRADES = range(len(OPERATIONS))
FIRST, REUSE_KEY, TAKEN_ORDER_ID, MALFORMED, CONTESTED_ORDER_ID = (
    ATTEMPT_KINDS.index(kind) for kind in ("first", "reuse_key", "taken_order_id", "malformed", "contested_order_id")
)
# Attempts that open a key: its content is theirs.
OPENING = (FIRST, CONTESTED_ORDER_ID)
PROBED = tuple(ATTEMPT_KINDS.index(kind) for kind in sorted(PROBES))
OUTCOMES = ("ok", "fail", "info")
OK, FAIL, INFO = range(3)
STATES = ("ACCEPTED", "OPEN", "PARTIALLY_FILLED", "FILLED", "CANCELLED", "REJECTED")

READ = [name for name in ATTEMPT_COLUMNS if name not in ("intended_ns", "error")]
# Field of an answer → column of the attempt whose value it repeats.
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
STATE_FIELDS = NAMED_FIELDS | {"status": str, "filledQty": int, "acceptedAt": int}
FOUND, NEW_ORDER, NEW_CANCEL = 200, 201, 202
INVALID_REQUEST, FORBIDDEN, NOT_FOUND = 400, 403, 404
REQUEST_TIMEOUT, CONFLICT, TOO_MANY = 408, 409, 429
SERVER_ERROR, UNAVAILABLE = 500, 503
# The reasons of refusals, as in the column `answer`.
REUSED, ID_TAKEN = (np.uint64(hashing.one(reason)) for reason in ("IdempotencyKeyReused", "OrderIdReused"))


def good(status: np.ndarray) -> np.ndarray:
    return (status >= 200) & (status < 300)


def refused(status: np.ndarray) -> np.ndarray:
    """Return which statuses are definite refusals: 4xx other than 408 and 429, which say nothing about the request."""
    return (status >= 400) & (status < 500) & (status != REQUEST_TIMEOUT) & (status != TOO_MANY)


def read_attempts(
    table: ParquetTable, storage: ColumnStorage, clients: ClientIds, reads: Columns, books: BookReads, pages: TradePages
) -> Columns:
    """Read all attempts; add the answered reads of orders to `reads`, of books to `books`, of trades to `pages`.

    `content` and `answer` are hashes of the content that was sent and that was acknowledged; for a request that must be
    refused `answer` is the hash of the refusal's reason. `attempt_id` is a hash of (operation, attempt). In `reads`,
    `answer_order`, `answer_key`, `state`, `filled` and `answer` come from the answer. An answer that names another
    client or key gets an `answer` that equals no content. Ids are still hashes.
    """
    attempts, templates, begin = Columns(storage, table.rows), JsonTemplates(REPEATED, COMPARED), 0
    for batch in table.batches(READ):
        columns = _attempts(batch, clients, templates)
        attempts.append(columns)
        reads.append(_reads(batch, columns, begin))
        found = (columns["status"] == FOUND) & ~np.isin(columns["kind"], PROBED)
        books.put(batch, np.flatnonzero((columns["op"] == BOOK) & found), begin)
        pages.put(batch, np.flatnonzero((columns["op"] == TRADES) & found), begin)
        begin += len(columns["op"])
    return attempts


def _attempts(batch: Batch, clients: ClientIds, templates: JsonTemplates) -> dict[str, np.ndarray]:
    client, name = hashing.texts(batch["client_id"]), hashing.texts(batch["idempotency_key"])
    columns = {
        "op": codes(batch["op"], OPERATIONS),
        "kind": codes(batch["kind"], ATTEMPT_KINDS),
        "outcome": codes(batch["outcome"], OUTCOMES),
        "key": _key(client, name),
        "order": hashing.texts(batch["order_id"]),
        "client": clients.number(batch["client_id"]),
        "content": order_content.number(batch, order_content.CLIENT),
        "attempt_id": hashing.rows(to_numpy(batch["op_id"]), to_numpy(batch["attempt"])),
    }
    for column in ("status", "late_status", "invoked_ns", "completed_ns", "late_ns", "retry_after_s"):
        columns[column] = to_numpy(batch[column])
    return columns | _answers(batch, columns, client, name, templates)


def _answers(
    batch: Batch, columns: dict[str, np.ndarray], client: np.ndarray, name: np.ndarray, templates: JsonTemplates
) -> dict[str, np.ndarray]:
    """Return order and content in the acknowledgements. An answer that repeats the attempt needs no parsing."""
    answer_order, answer = np.zeros_like(columns["order"]), np.zeros_like(columns["content"])
    own = np.zeros(len(answer), dtype=bool)
    acknowledged = good(columns["status"]) | good(columns["late_status"])
    asked = np.flatnonzero((columns["op"] == ORDER) & ~np.isin(columns["kind"], PROBED) & acknowledged)
    if len(asked):
        texts = decoded(batch["reply"]).take(pa.array(asked))
        repeats = templates.same(texts, batch, asked, _shapes(batch)[asked])
        as_sent, other = asked[repeats], asked[~repeats]
        own[as_sent], answer[as_sent] = True, columns["content"][as_sent]
        if len(other):
            parsed = parse(texts.filter(pa.array(~repeats)), NAMED_FIELDS)
            answer_order[other] = hashing.texts(parsed["orderId"])
            answer[other] = order_content.number(parsed, order_content.CLIENT)
            differs = _names_other(parsed["clientId"], client[other])
            differs |= _names_other(parsed["idempotencyKey"], name[other])
            answer[other] = np.where(differs, ~answer[other], answer[other])
    probes = np.flatnonzero(np.isin(columns["kind"], PROBED))
    if len(probes):
        answer[probes] = hashing.texts(parse(decoded(batch["reply"]).take(pa.array(probes)), {"error": str})["error"])
    return {"answer_order": answer_order, "answer": answer, "answers_own_order": own}


def _names_other(parsed: Any, own: np.ndarray) -> np.ndarray:
    """Return where an answer names another client or key than the attempt. It may leave them out."""
    names = hashing.texts(parsed)
    return (names != 0) & (names != own)


def _shapes(batch: Batch) -> np.ndarray:
    """Return one number for each row, equal for rows with the same empty columns."""
    shapes = np.zeros(len(batch["op"]), dtype=np.int64)
    for bit, column in enumerate(REPEATED.values()):
        shapes |= empty(batch[column]).astype(np.int64) << bit
    return shapes


def _reads(batch: Batch, sent: dict[str, np.ndarray], begin: int) -> dict[str, np.ndarray]:
    """Select the reads of orders with a definite answer: a state, or that the client has no such order."""
    answered = (sent["outcome"] == OK) | np.isin(sent["status"], (FORBIDDEN, NOT_FOUND))
    answered &= ~np.isin(sent["kind"], PROBED)
    rows = np.flatnonzero((sent["op"] == GET_ORDER) & answered & (sent["order"] != 0))
    parsed = parse(decoded(batch["reply"]).take(pa.array(rows)), STATE_FIELDS)
    answer = order_content.number(parsed, order_content.CLIENT)
    differs = _names_other(parsed["clientId"], hashing.texts(batch["client_id"])[rows])
    columns = ("order", "client", "outcome", "status", "invoked_ns", "completed_ns")
    return {column: sent[column][rows] for column in columns} | {
        "row": rows + begin,
        "answer_order": hashing.texts(parsed["orderId"]),
        "state": codes(parsed["status"], STATES),
        "filled": to_numpy(parsed["filledQty"]),
        "accepted_at": to_numpy(parsed["acceptedAt"]),
        "answer": np.where(differs, ~answer, answer),
        "answer_key": _key(hashing.texts(batch["client_id"])[rows], hashing.texts(parsed["idempotencyKey"])),
    }


def _key(client: np.ndarray, name: np.ndarray) -> np.ndarray:
    """Hash (client, key); 0 without a key."""
    return np.where(name != 0, hashing.rows(client, name), np.uint64(0))
