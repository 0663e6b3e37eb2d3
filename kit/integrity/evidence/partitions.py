"""Divide a run's folder by markets or by clients into folders that are judged independently.

Markets that share an id (an order, a trade, or a key of a client) stay together: a correct ledger has none, and where a
faulty one has, the violation can only be seen with both markets. Tables are read and written in batches.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kit.errors import EvidenceMissing
from kit.integrity.arrays import hashing
from kit.integrity.arrays.columns import ColumnStorage
from kit.integrity.arrays.parquet_table import ARROW_TYPES, Batch, ParquetTable, decoded
from kit.integrity.evidence.run_folder import (
    HISTORY,
    HISTORY_TABLES,
    LEDGER,
    LEDGER_TABLES,
    PAST_HISTORY,
    SUMMARY_FILE,
    RunFolder,
)

# Table → the column by whose value its rows are divided. A table that is not named belongs to no part.
BY_MARKET: Mapping[str, str] = {
    "attempts": "symbol",
    "stream": "symbol",
    "connections": "symbol",
    "events": "market",
    "orders": "market",
    "positions": "market",
    "outbox": "market",
}
BY_CLIENT: Mapping[str, str] = {"attempts": "client_id", "events": "client_id", "orders": "client_id"}
# Table → the columns of ids of each kind that tie two markets together.
ORDERS, TRADES = 1, 2
TIES: Mapping[str, tuple[tuple[int, str], ...]] = {
    "events": (
        (ORDERS, "order_id"),
        (ORDERS, "taker_order_id"),
        (ORDERS, "maker_order_id"),
        (TRADES, "trade_id"),
    ),
    "orders": ((ORDERS, "order_id"),),
    "outbox": ((ORDERS, "order_id"),),
}
KEYED = ("events", "orders")

Assign = Callable[[str], int]


def divide_by_market(run_dir: Path, out_dir: Path, count: int, assign: Assign) -> list[Path]:
    """Write `count` folders below `out_dir`; `assign` says in which of them a market's evidence is. Returns them all.

    Raises EvidenceMissing for a table that cannot be read.
    """
    with closing(ColumnStorage()) as storage:
        tables = _tables(run_dir, storage)
        joined = _joined_markets(tables)
        return _divide(tables, out_dir, count, BY_MARKET, lambda market: assign(joined.get(market, market)))


def divide_by_client(run_dir: Path, out_dir: Path, count: int, assign: Assign) -> list[Path]:
    """Write `count` folders below `out_dir`; `assign` says in which of them a client's evidence is. Returns them all.

    Raises EvidenceMissing for a table that cannot be read.
    """
    with closing(ColumnStorage()) as storage:
        return _divide(_tables(run_dir, storage), out_dir, count, BY_CLIENT, assign)


def _tables(run_dir: Path, storage: ColumnStorage) -> Mapping[str, ParquetTable]:
    folder = RunFolder(run_dir, storage)
    for name in BY_MARKET:
        if name in folder.defects:
            raise EvidenceMissing(folder.defects[name])
    return folder.tables


def _divide(
    tables: Mapping[str, ParquetTable], out_dir: Path, count: int, columns: Mapping[str, str], assign: Assign
) -> list[Path]:
    folders = [out_dir / f"part-{number:05d}" for number in range(count)]
    rows: list[dict[str, int]] = [{} for _ in folders]
    for folder in folders:
        for name in (HISTORY, LEDGER):
            (folder / name).mkdir(parents=True)
    for name in BY_MARKET:
        types = {**HISTORY_TABLES, **LEDGER_TABLES}[name]
        paths = [_path(folder, name) for folder in folders]
        for number, written in enumerate(_write(tables[name], types, paths, columns.get(name), assign)):
            rows[number][name] = written
    for folder, written in zip(folders, rows, strict=True):
        _write_summary(folder, written)
        _write_empty_past(folder)
    return folders


def _path(folder: Path, table: str) -> Path:
    return folder / (HISTORY if table in HISTORY_TABLES else LEDGER) / f"{table}.parquet"


def _write(
    table: ParquetTable, types: Mapping[str, str], paths: list[Path], column: str | None, assign: Assign
) -> list[int]:
    """Write each row of the table to the file of its part; to none without a column. Returns the rows of each file."""
    schema = pa.schema([(name, ARROW_TYPES[kind]) for name, kind in types.items()])
    with ExitStack() as stack:
        writers = [stack.enter_context(pq.ParquetWriter(path, schema, compression="zstd")) for path in paths]
        written = [0] * len(paths)
        if column is None:
            return written
        for batch in table.batches(tuple(types)):
            whole = pa.record_batch([decoded(batch[name]) for name in types], schema=schema)
            for number, chosen in _assigned(batch[column], assign):
                part = whole.filter(pa.array(chosen))
                writers[number].write_batch(part)
                written[number] += len(part)
    return written


def _assigned(values: Any, assign: Assign) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each part that has rows of this batch, with which rows they are."""
    coded = values if isinstance(values, pa.DictionaryArray) else values.dictionary_encode()
    parts = np.array([assign(text) for text in coded.dictionary.to_pylist()], dtype=np.int64)
    of_row = parts[coded.indices.to_numpy(zero_copy_only=False)] if len(coded) else np.zeros(0, dtype=np.int64)
    for number in np.unique(of_row).tolist():
        yield number, of_row == number


def _write_empty_past(folder: Path) -> None:
    """Write what precedes the history as an empty table: the part's attempts hold those of the past already."""
    for name, where in PAST_HISTORY.items():
        schema = pa.schema([(column, ARROW_TYPES[kind]) for column, kind in HISTORY_TABLES[name].items()])
        (folder / where).parent.mkdir(exist_ok=True)
        pq.write_table(schema.empty_table(), folder / where)


def _write_summary(folder: Path, rows: Mapping[str, int]) -> None:
    """Write the summary that makes the part's history complete."""
    sent = rows["attempts"]
    counts = {"intended": sent, "sent": sent, "ok": sent, "fail": 0, "info": 0, "dropped": 0, "lag_ms_p99": 0.0}
    segments = {name: [(f"{name}.parquet", rows[name])] for name in HISTORY_TABLES}
    summary = {**counts, "segments": segments, "finished": True}
    (folder / HISTORY / SUMMARY_FILE).write_text(json.dumps(summary))


def _joined_markets(tables: Mapping[str, ParquetTable]) -> dict[str, str]:
    """Return by market the first market that it shares an id with, directly or through others."""
    markets: dict[str, int] = {}
    hashes, owners = [], []
    for name, ties in TIES.items():
        key = ("client_id", "idempotency_key") if name in KEYED else ()
        for batch in tables[name].batches(["market", *(column for _, column in ties), *key]):
            market = np.array([markets.setdefault(one, len(markets)) for one in decoded(batch["market"]).to_pylist()])
            for found in _ids(batch, ties, keyed=name in KEYED):
                known = found != 0
                hashes.append(found[known])
                owners.append(market[known].astype(np.int32))
    first = list(range(len(markets)))
    if hashes:
        for one, other in _shared(np.concatenate(hashes), np.concatenate(owners)):
            a, b = sorted((_root(first, one), _root(first, other)))
            first[b] = a
    names = list(markets)
    return {name: names[_root(first, number)] for name, number in markets.items()}


def _ids(batch: Batch, ties: tuple[tuple[int, str], ...], *, keyed: bool) -> Iterator[np.ndarray]:
    """Yield the hashes of the ids of each column, different for ids of different kinds; 0 for none."""
    for kind, column in ties:
        found = hashing.texts(batch[column])
        yield np.where(found != 0, hashing.rows(found, np.full(len(found), kind, dtype=np.uint64)), np.uint64(0))
    if keyed:
        client, key = hashing.texts(batch["client_id"]), hashing.texts(batch["idempotency_key"])
        yield np.where(key != 0, hashing.rows(client, key), np.uint64(0))


def _shared(hashes: np.ndarray, owners: np.ndarray) -> set[tuple[int, int]]:
    """Return the pairs of markets that have an id in common."""
    order = np.argsort(hashes, kind="stable")
    hashes, owners = hashes[order], owners[order]
    shared = (hashes[1:] == hashes[:-1]) & (owners[1:] != owners[:-1])
    return set(zip(owners[:-1][shared].tolist(), owners[1:][shared].tolist(), strict=True))


def _root(first: list[int], number: int) -> int:
    while first[number] != number:
        number = first[number]
    return number
