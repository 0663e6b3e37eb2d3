"""Wait until PaperBroker has come to rest, and read its ledger and the tables beside it.

The layout of its DynamoDB tables is written down here once more, because the kit imports nothing of PaperBroker.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from kit.aws.client_errors import ClientSource, cloud_errors
from kit.dynamodb_items import Item, plain_value, table_of
from kit.errors import EvidenceMissing
from kit.files import make_folder
from kit.files.parquet_file import read_frame, write_frame
from kit.model import LEDGER_EVENT_COLUMNS, MARK_COLUMNS, ORDER_COLUMNS, OUTBOX_COLUMNS, POSITION_COLUMNS, Deployment

READERS = 4
# The ledger of an hour at 200 orders a second is about 2 million items; more is not a game day of this kit.
ITEMS_MAX = 5_000_000
QUIESCE_POLL_S = 0.5
# The sequence numbers must stand still this many polls in a row: longer than one commit and one queue hop.
STILL_POLLS = 4
STILL_S = STILL_POLLS * QUIESCE_POLL_S
ORDER_PREFIX = "order#"
LEDGER = "ledger"
QUEUE_DEPTHS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSnapshot:
    """What the exchange itself recorded: tables with exactly the columns of `kit.model`."""

    events: pd.DataFrame
    orders: pd.DataFrame
    positions: pd.DataFrame
    outbox: pd.DataFrame
    marks: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiescence:
    """Whether the exchange came to rest: nothing unsent, nothing queued, no sequence moving.

    `sequences` is the last sequence number of each market.
    """

    quiet: bool
    waited_s: float
    outbox: int
    queued: int
    dead_letters: int
    sequences: Mapping[str, int]


def read_ledger(session: ClientSource, deployment: Deployment) -> LedgerSnapshot:
    """Read all tables with consistent reads. Raises CloudError, or EvidenceMissing above ITEMS_MAX items."""
    dynamodb, outputs = session.client("dynamodb"), deployment.outputs
    with cloud_errors(f"ledger of {deployment.stack_name}"), ThreadPoolExecutor(READERS) as pool:
        ledgers = [
            pool.submit(_query_market, dynamodb, outputs["LedgerTable"], m) for m in outputs["Markets"].split(",")
        ]
        # The Orders table holds idempotency records beside the orders.
        orders = [pool.submit(_scan, dynamodb, outputs["OrdersTable"], segment) for segment in range(READERS)]
        positions = pool.submit(_scan, dynamodb, outputs["PositionsTable"])
        outbox = pool.submit(_scan, dynamodb, outputs["OutboxTable"])
        marks = pool.submit(_scan, dynamodb, outputs["AppliedTable"])
        order_items = (item for part in orders for item in part.result() if _is_order(item))
        return LedgerSnapshot(
            events=table_of((item for part in ledgers for item in part.result()), LEDGER_EVENT_COLUMNS),
            orders=table_of(order_items, ORDER_COLUMNS),
            positions=table_of(positions.result(), POSITION_COLUMNS),
            outbox=table_of(outbox.result(), OUTBOX_COLUMNS),
            marks=table_of(marks.result(), MARK_COLUMNS),
        )


def write_ledger(snapshot: LedgerSnapshot, run_dir: Path) -> None:
    """Keep the tables as Parquet in the run's folder."""
    folder = run_dir / LEDGER
    make_folder(folder)
    for table in fields(snapshot):
        write_frame(folder / f"{table.name}.parquet", getattr(snapshot, table.name))


def read_events(run_dir: Path) -> pd.DataFrame:
    """Read the ledger's events from a run's folder. Raises EvidenceMissing for a file that is absent or damaged."""
    try:
        return read_frame(run_dir / LEDGER / "events.parquet").astype(LEDGER_EVENT_COLUMNS)
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise EvidenceMissing(f"{LEDGER}/events.parquet has not the columns of a ledger: {error}") from error


def quiesce(session: ClientSource, deployment: Deployment, timeout_s: float) -> Quiescence:
    """Wait until nothing moves any more, at most `timeout_s`."""
    started = time.monotonic()
    with cloud_errors(f"quiescence of {deployment.stack_name}"):
        last, still = _look(session, deployment), 0
        while time.monotonic() - started < timeout_s:
            time.sleep(QUIESCE_POLL_S)
            seen = _look(session, deployment)
            still = still + 1 if _empty(seen) and seen["sequences"] == last["sequences"] else 0
            last = seen
            if still >= STILL_POLLS:
                break
        dead_letters = _depth(session.client("sqs"), deployment.outputs["DeadLetterQueueUrl"])
    return Quiescence(
        quiet=still >= STILL_POLLS, waited_s=time.monotonic() - started, dead_letters=dead_letters, **last
    )


def _look(session: ClientSource, deployment: Deployment) -> dict[str, Any]:
    dynamodb, outputs = session.client("dynamodb"), deployment.outputs
    markets = _scan(dynamodb, outputs["MarketsTable"])
    return {
        "outbox": sum(page["Count"] for page in _pages(dynamodb, outputs["OutboxTable"], Select="COUNT")),
        "queued": _depth(session.client("sqs"), outputs["QueueUrl"]),
        "sequences": {str(plain_value(item["market"])): int(plain_value(item["seq"])) for item in markets},
    }


def _empty(seen: Mapping[str, Any]) -> bool:
    return seen["outbox"] == 0 and seen["queued"] == 0


def _depth(sqs: Any, url: str) -> int:
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(QUEUE_DEPTHS))["Attributes"]
    return sum(int(attributes.get(name, 0)) for name in QUEUE_DEPTHS)


def _query_market(dynamodb: Any, table: str, market: str) -> list[Item]:
    pages = dynamodb.get_paginator("query").paginate(
        TableName=table,
        ConsistentRead=True,
        KeyConditionExpression="#market = :market",
        ExpressionAttributeNames={"#market": "market"},
        ExpressionAttributeValues={":market": {"S": market}},
    )
    return _items(table, pages)


def _scan(dynamodb: Any, table: str, segment: int | None = None) -> list[Item]:
    part = {} if segment is None else {"Segment": segment, "TotalSegments": READERS}
    return _items(table, _pages(dynamodb, table, **part))


def _pages(dynamodb: Any, table: str, **options: Any) -> Iterator[dict[str, Any]]:
    return dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True, **options)


def _items(table: str, pages: Iterable[Mapping[str, Any]]) -> list[Item]:
    items: list[Item] = []
    for page in pages:
        items += page["Items"]
        if len(items) > ITEMS_MAX:
            raise EvidenceMissing(f"table {table}: more than {ITEMS_MAX} items")
    return items


def _is_order(item: Item) -> bool:
    return str(plain_value(item["pk"])).startswith(ORDER_PREFIX)
