"""All tables of one run side by side, in the types of their contract, with ids as numbers that compare fast.

Owns normalising and the question whether a table is evidence at all; must not know what is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from kit.model import (
    ATTEMPT_COLUMNS,
    CONNECTION_COLUMNS,
    LEDGER_EVENT_COLUMNS,
    ORDER_COLUMNS,
    OUTBOX_COLUMNS,
    POSITION_COLUMNS,
    STREAM_COLUMNS,
    FaultWindow,
    LoadStats,
)

COLUMNS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "attempts": ATTEMPT_COLUMNS,
        "stream": STREAM_COLUMNS,
        "connections": CONNECTION_COLUMNS,
        "events": LEDGER_EVENT_COLUMNS,
        "orders": ORDER_COLUMNS,
        "positions": POSITION_COLUMNS,
        "outbox": OUTBOX_COLUMNS,
    }
)
# Kinds of attempts that repeat an order under its own key and content. The other kind, probe_reuse, must be refused.
PROBE_REUSE = "probe_reuse"
# Matchers on different hosts keep time to within milliseconds; a ledger that goes back further than this is broken.
CLOCK_BACK_NS_MAX = 1_000_000_000
# Joins client and key; a control character, so that ("a", "b|c") and ("a|b", "c") stay two keys.
SEPARATOR = "\x1f"
NO_ID = -1
# A DataFrame and a Series, as the type checker is told of them: pandas' own unions (scalar, Series, DataFrame, …)
# would drown every real error.
Table = Any
Column = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The tables of one run. `defects` says by table why it is no evidence, `clocks` why its times are not.

    Added columns: `key_no` numbers (client, idempotency key), `order_no`, `taker_no`, `maker_no` number order ids;
    one numbering over all tables, -1 for none. `key_names` and `order_names` lead back.
    """

    attempts: Table
    stream: Table
    connections: Table
    events: Table
    orders: Table
    positions: Table
    outbox: Table
    # Slices of the above that most checks want.
    sent: Table  # order attempts under their own content
    accepted: Table  # ledger events, by market and seq
    rejected: Table  # ledger events that refuse an order (not a cancel)
    fills: Table
    cancelled: Table
    key_names: pd.Index
    order_names: pd.Index
    defects: Mapping[str, str] = field(default_factory=dict)
    clocks: Mapping[str, str] = field(default_factory=dict)
    fault: FaultWindow | None = None

    def key_of(self, number: int) -> tuple[str, str]:
        client, _, key = str(self.key_names[number]).partition(SEPARATOR)
        return client, key

    def order_of(self, number: int) -> str:
        return str(self.order_names[number]) if number >= 0 else ""


def gather(
    tables: Mapping[str, pd.DataFrame | None], *, fault: FaultWindow | None = None, load: LoadStats | None = None
) -> Evidence:
    """Normalise `tables` (by the names of `COLUMNS`). A table that cannot be used becomes empty and a defect."""
    defects: dict[str, str] = {}
    clean = {name: _normal(name, tables.get(name), defects) for name in COLUMNS}
    _number(clean)
    key_names, order_names = clean.pop("key_names").index, clean.pop("order_names").index
    clean["events"] = clean["events"].sort_values(["market", "seq"], kind="stable", ignore_index=True)
    attempts, events = clean["attempts"], clean["events"]
    _doubt_run(clean, defects)
    _doubt_completeness(attempts, load, defects)
    kind = events["type"]
    sent = attempts[(attempts["op"] == "order") & (attempts["kind"] != PROBE_REUSE)]
    return Evidence(
        **clean,
        sent=sent,
        accepted=events[kind == "accepted"],
        rejected=events[(kind == "rejected") & (events["command"] != "cancel")],
        fills=events[kind == "fill"],
        cancelled=events[kind == "cancelled"],
        key_names=key_names,
        order_names=order_names,
        defects=MappingProxyType(defects),
        clocks=MappingProxyType(_clocks(attempts, events)),
        fault=fault,
    )


def blank(name: str) -> Table:
    """The table `name` without rows."""
    return pd.DataFrame({column: pd.Series(dtype=_dtype(kind)) for column, kind in COLUMNS[name].items()})


def _dtype(kind: str) -> str:
    return "str" if kind == "string" else kind


def _normal(name: str, table: pd.DataFrame | None, defects: dict[str, str]) -> Table:
    if table is None:
        defects[name] = f"{name}: was not recorded"
        return blank(name)
    missing = [column for column in COLUMNS[name] if column not in table.columns]
    if missing:
        defects[name] = f"{name}: column {missing[0]} is missing"
        return blank(name)
    try:
        return pd.DataFrame({column: _typed(table[column], kind) for column, kind in COLUMNS[name].items()})
    except (TypeError, ValueError, OverflowError) as error:
        defects[name] = f"{name}: values of a wrong type ({error})"
        return blank(name)


def _typed(values: Column, kind: str) -> Column:
    values = values.reset_index(drop=True)
    if kind == "string":
        return values.fillna("").astype("str")
    # Through Int64 and not float: nanoseconds do not fit a float's 53 bits.
    return values.fillna(0).astype("int64").astype(kind)


def _number(clean: dict[str, pd.DataFrame]) -> None:
    """Add the numbered ids to the tables, and the names as two more entries."""
    keyed = ("attempts", "events", "orders")
    keys = [clean[name]["client_id"] + SEPARATOR + clean[name]["idempotency_key"] for name in keyed]
    numbers, names = pd.factorize(pd.concat(keys, ignore_index=True))
    for name, part in zip(keyed, _split(numbers, keys), strict=True):
        clean[name]["key_no"] = np.where(clean[name]["idempotency_key"] == "", NO_ID, part)
    clean["key_names"] = pd.DataFrame(index=pd.Index(names))
    places = [(name, "order_id", "order_no") for name in (*keyed, "outbox")]
    places += [("events", "taker_order_id", "taker_no"), ("events", "maker_order_id", "maker_no")]
    ids = [clean[name][column] for name, column, _ in places]
    numbers, names = pd.factorize(pd.concat(ids, ignore_index=True))
    for (name, column, added), part in zip(places, _split(numbers, ids), strict=True):
        clean[name][added] = np.where(clean[name][column] == "", NO_ID, part)
    clean["order_names"] = pd.DataFrame(index=pd.Index(names))


def _split(numbers: np.ndarray, parts: list[Column]) -> list[np.ndarray]:
    return np.split(numbers, np.cumsum([len(part) for part in parts])[:-1])


def _doubt_run(clean: Mapping[str, pd.DataFrame], defects: dict[str, str]) -> None:
    """A ledger without one key of the history is the ledger of another run: every comparison would be noise."""
    attempts, events = clean["attempts"], clean["events"]
    sent = attempts.loc[attempts["op"] == "order", "key_no"].unique()
    written = events.loc[events["type"].isin(("accepted", "rejected")), "key_no"].unique()
    if len(sent) and len(written) and not np.intersect1d(sent, written).size:
        defects["run"] = f"the ledger is of another run: none of its {len(written):,} keys is in the history"


def _doubt_completeness(attempts: Table, load: LoadStats | None, defects: dict[str, str]) -> None:
    """A history is truncated if the generator says it sent more, or if a retry stands without what it retries."""
    if "attempts" in defects or attempts.empty:
        return
    if load is not None and load.sent != len(attempts):
        defects["attempts"] = f"attempts: the generator sent {load.sent:,} but the history holds {len(attempts):,}"
        return
    orders = attempts[attempts["op"] == "order"]
    again = orders.loc[orders["kind"] != "first", "key_no"].unique()
    orphans = np.setdiff1d(again, orders.loc[orders["kind"] == "first", "key_no"])
    if orphans.size:
        defects["attempts"] = f"attempts: {orphans.size:,} keys have retries but no first attempt: it is truncated"


def _clocks(attempts: Table, events: Table) -> dict[str, str]:
    doubts = {}
    backwards = int((attempts["completed_ns"] < attempts["invoked_ns"]).sum())
    late = attempts["late_ns"]
    backwards += int(((late > 0) & (late < attempts["invoked_ns"])).sum())
    if backwards:
        doubts["attempts"] = f"attempts: the clock went backwards, {backwards:,} end before they start"
    steps = np.diff(events["ts_ns"].to_numpy())
    same = events["market"].to_numpy()[1:] == events["market"].to_numpy()[:-1]
    back = int((same & (steps < -CLOCK_BACK_NS_MAX)).sum())
    if back:
        doubts["events"] = f"events: the ledger's clock went backwards by more than 1 s, {back:,} times"
    return doubts
