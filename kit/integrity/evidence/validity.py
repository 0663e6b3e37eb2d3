"""Find out whether the recorded tables are valid evidence: of one run, complete, and with plausible clocks.

A violation that is an artefact of bad evidence would be worse than no answer, so bad evidence makes checks INVALID.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from kit.integrity.arrays import hashing
from kit.integrity.arrays.columns import Columns
from kit.integrity.arrays.grouping import firsts, paired, present
from kit.integrity.arrays.parquet_table import ParquetTable
from kit.integrity.evidence.client_tables import CANCEL, FIRST, MALFORMED, OPENING, ORDER, TAKEN_ORDER_ID
from kit.integrity.evidence.ledger_tables import ACCEPTED, REJECTED
from kit.model import NS_PER_S, LoadStats

# Matchers on different hosts agree within milliseconds. A ledger clock that goes back further than this is broken.
CLOCK_BACK_NS_MAX = NS_PER_S
# The greatest difference between the clocks of the generator and of the exchange.
CLOCK_SKEW_NS_MAX = NS_PER_S
# Messages that are parsed to tell the stream of another run from one with an error in every message.
SAMPLE_MAX = 200

Tables = Mapping[str, Columns]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """How many attempts the history must have: what the generator counted, and those that were sent before the load."""

    by_load: LoadStats | None
    before: int


def find_defects(
    tables: Tables,
    recorded: Mapping[str, ParquetTable],
    keys: int,
    sent: Sent,
    defects: dict[str, str],
) -> dict[str, str]:
    """Add what is wrong with whole tables to `defects`. Returns what is wrong with their clocks, by table."""
    _check_words(tables, defects)
    _check_same_run(tables, keys, defects)
    _check_stream(tables, recorded, defects)
    _check_history(tables["attempts"], keys, sent, defects)
    return _clock_defects(tables, keys)


def _check_words(tables: Tables, defects: dict[str, str]) -> None:
    """Reject tables with a word that the contract does not know."""
    for name, columns in (("attempts", ("op", "kind", "outcome")), ("events", ("type",)), ("orders", ("state",))):
        for column in columns:
            unknown = int((tables[name][column] < 0).sum())
            if unknown and name not in defects:
                what = "status" if column == "state" else column
                defects[name] = f"{name}: {unknown:,} rows have a {what} that the contract does not know"


def _check_same_run(tables: Tables, keys: int, defects: dict[str, str]) -> None:
    """Reject a ledger that belongs to another run: none of its keys is in the history."""
    attempts, events = tables["attempts"], tables["events"]
    sent = present(attempts["key"][attempts["op"] == ORDER], keys)
    written = present(events["key"][_has_key(events)], keys)
    stored = present(tables["orders"]["key"], keys)
    if sent.any() and written.any() and not (sent & written).any():
        defects["run"] = f"the ledger belongs to another run: none of its {written.sum():,} keys is in the history"
    if stored.any() and written.any() and not (stored & written).any():
        defects.setdefault(
            "orders", f"orders: belong to another run, none of their {stored.sum():,} keys is in the ledger"
        )


def _has_key(events: Columns) -> np.ndarray:
    kind = events["type"]
    return (kind == ACCEPTED) | (kind == REJECTED)


def _check_stream(tables: Tables, recorded: Mapping[str, ParquetTable], defects: dict[str, str]) -> None:
    stream, connections, events = tables["stream"], tables["connections"], tables["events"]
    if not len(stream) or "stream" in defects:
        return
    if "connections" not in defects and len(connections):
        received = pd.unique(paired(stream["subscriber"], stream["symbol"]))
        silent = np.setdiff1d(received, paired(connections["subscriber"], connections["symbol"]))
        if len(silent):
            defects["connections"] = f"connections: {len(silent)} subscribers received messages without a connection"
    if len(events) and not stream["same"].any() and not _any_event_known(recorded["stream"], events, len(stream)):
        defects["stream"] = f"stream: belongs to another run, none of its {len(stream):,} messages has a ledger event"


def _any_event_known(table: ParquetTable, events: Columns, size: int) -> bool:
    """Return whether any of the first messages names an event of this ledger."""
    named = []
    for row in table.at(range(min(size, SAMPLE_MAX))):
        try:
            named.append(str(json.loads(row["event"])["eventId"]))
        except (ValueError, KeyError, TypeError):
            continue
    return bool(np.isin(hashing.texts(pa.array(named, pa.string())), events["event"]).any())


def _check_history(attempts: Columns, keys: int, expected: Sent, defects: dict[str, str]) -> None:
    """Reject a truncated history: the generator sent more, or a retry has no first attempt."""
    if "attempts" in defects or not len(attempts):
        return
    load, held = expected.by_load, len(attempts) - expected.before
    if load is not None and load.sent != held:
        defects["attempts"] = f"attempts: the generator sent {load.sent:,} but the history holds {held:,}"
        return
    once = np.sort(attempts["attempt_id"])
    twice = int((once[1:] == once[:-1]).sum())
    if twice:
        defects["attempts"] = f"attempts: {twice:,} are recorded more than once"
        return
    keyed = (attempts["op"] == ORDER) | (attempts["op"] == CANCEL)
    keyed &= ~np.isin(attempts["kind"], (TAKEN_ORDER_ID, MALFORMED))
    key, first = attempts["key"], np.isin(attempts["kind"], OPENING)
    orphans = present(key[keyed & ~first], keys) & ~present(key[keyed & first], keys)
    if orphans.any():
        defects["attempts"] = f"attempts: {orphans.sum():,} keys have retries but no first attempt: it is truncated"


def _clock_defects(tables: Tables, keys: int) -> dict[str, str]:
    attempts, events, defects = tables["attempts"], tables["events"], {}
    invoked, late = attempts["invoked_ns"], attempts["late_ns"]
    backwards = int((attempts["completed_ns"] < invoked).sum()) + int(((late > 0) & (late < invoked)).sum())
    if backwards:
        defects["attempts"] = f"attempts: the clock went backwards, {backwards:,} end before they start"
    elif len(invoked) and invoked.min() <= 0:
        defects["attempts"] = f"attempts: {int((invoked <= 0).sum()):,} have no time"
    back = int(((np.diff(events["market"]) == 0) & (np.diff(events["ts_ns"]) < -CLOCK_BACK_NS_MAX)).sum())
    early = _before_sent(attempts, events, keys)
    if back:
        defects["events"] = f"events: the ledger's clock went backwards by more than 1 s, {back:,} times"
    elif early:
        defects["events"] = (
            f"events: the clocks disagree, {early:,} orders were sequenced over 1 s before they were sent"
        )
    return defects | _stream_clock_defects(tables["connections"], tables["stream"])


def _stream_clock_defects(connections: Columns, stream: Columns) -> dict[str, str]:
    """Check that connections are dialled, then opened, then closed, and that every message has a time."""
    defects, opened, closed = {}, connections["opened_ns"], connections["closed_ns"]
    since = np.maximum(connections["dialed_ns"], opened)
    backwards = int((((opened > 0) & (opened < connections["dialed_ns"])) | ((closed > 0) & (closed < since))).sum())
    timeless = int((stream["received_ns"] <= 0).sum())
    if backwards:
        defects["connections"] = f"connections: the clock went backwards, {backwards:,} end before they start"
    if timeless:
        defects["stream"] = f"stream: {timeless:,} messages have no time"
    return defects


def _before_sent(attempts: Columns, events: Columns, keys: int) -> int:
    orders = attempts.where((attempts["op"] == ORDER) & (attempts["kind"] == FIRST))
    index = firsts(orders["key"], keys)
    accepted = events.where(events["type"] == ACCEPTED)
    key, ts = accepted["key"], accepted["ts_ns"]
    known = (key >= 0) & (index[key] >= 0) if len(index) else np.zeros(len(key), dtype=bool)
    return int((ts[known] < orders["invoked_ns"][index[key[known]]] - CLOCK_SKEW_NS_MAX).sum())
