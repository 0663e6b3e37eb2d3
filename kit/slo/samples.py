"""Select samples from the history: latencies, errors, times to first fill, and how long streams were lost."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from kit.model import (
    ATTEMPT_COLUMNS,
    CONNECTION_COLUMNS,
    LEDGER_EVENT_COLUMNS,
    NS_PER_MS,
    NS_PER_S,
    PLANNED_RECONNECT,
    PROBES,
    STREAM_COLUMNS,
    VISITOR,
    Outcome,
    Phase,
)

# DataFrame and Series. The unions in pandas' own types would hide every real error.
Table = Any
Column = Any

PERCENTILES = (50, 95, 99)
NORMAL_CLOSURE = 1000
# Answers that an overloaded machine may cause: a time-out, a rate limit, a target that is gone or hangs.
OVERLOADED = (408, 429, 502, 503, 504)
COLUMNS = {
    "attempts": ATTEMPT_COLUMNS,
    "stream": STREAM_COLUMNS,
    "connections": CONNECTION_COLUMNS,
    "events": LEDGER_EVENT_COLUMNS,
}


def defect(name: str, table: Table) -> str:
    """Say why the table cannot be used to measure times; empty if it can."""
    if table is None:
        return f"{name}: was not recorded"
    missing = [column for column in COLUMNS[name] if column not in table.columns]
    if missing:
        return f"{name}: column {missing[0]} is missing"
    if table.empty:
        return f"{name}: no rows were recorded"
    if name == "attempts":
        backwards = (table["completed_ns"] < table["invoked_ns"]) | (table["invoked_ns"] < table["intended_ns"])
        if backwards.any():
            return f"attempts: the clock went backwards, {int(backwards.sum()):,} end before they start"
    return ""


def percentile(values: Any, share: int) -> float:
    """Return the smallest sample that at least `share` percent do not exceed: a value that a client really saw."""
    return float(np.percentile(np.asarray(values, dtype="float64"), share, method="inverted_cdf"))


def within(table: Table, column: str, phase: Phase) -> Table:
    """Select the rows whose time in `column` (ns) lies in the phase."""
    return table[(table[column] >= phase.start * NS_PER_S) & (table[column] < phase.end * NS_PER_S)]


def first_orders(attempts: Table) -> Table:
    return attempts[(attempts["op"] == "order") & (attempts["kind"] == "first")]


def first_attempts(attempts: Table, operations: Collection[str]) -> Table:
    return attempts[attempts["op"].isin(operations) & (attempts["kind"] == "first")]


def latency_ms(attempts: Table) -> Column:
    """Return the time from the intended send to the answer, or to the time-out if no answer came.

    A late answer counts as an answer.
    """
    return (np.maximum(attempts["completed_ns"], attempts["late_ns"]) - attempts["intended_ns"]) / NS_PER_MS


def operations(attempts: Table) -> Table:
    """Make one row per order with all its attempts: intended_ns, invoked_ns, done_ns, ok, denied.

    `done_ns` is the first 2xx, late ones included; without any it is the end of the last attempt, so that a lost order
    takes at least that long. `denied`: some answer to it was a denial.
    """
    orders = attempts[(attempts["op"] == "order") & ~attempts["kind"].isin(PROBES)]
    by = ["client_id", "idempotency_key"]
    first: Table = orders[orders["kind"] == "first"].groupby(by)[["intended_ns", "invoked_ns"]].min()
    in_time = orders["outcome"] == Outcome.OK
    late = orders["late_status"].between(200, 299)
    good = orders[in_time | late].assign(
        done_ns=np.where(in_time, orders["completed_ns"], orders["late_ns"])[in_time | late]
    )
    done = good.groupby(by)["done_ns"].min().reindex(first.index)
    last = orders.groupby(by)["completed_ns"].max().reindex(first.index)
    denied = first.index.isin(pd.MultiIndex.from_frame(orders.loc[is_denial(orders), by]))
    return first.assign(ok=done.notna(), done_ns=done.fillna(last).astype("int64"), denied=denied).reset_index()


def is_error(attempts: Table) -> Column:
    """Find attempts without an answer (time-out, reset, refused, …) or with a 5xx."""
    return (attempts["status"] == 0) | (attempts["status"] >= 500)


def is_denial(attempts: Table) -> Column:
    """Find answers, late ones included, that deny for another reason than overload.

    No build answers 400, 404, 409 or 500 because the CPU is busy.
    """
    status = attempts["late_status"].where(attempts["late_status"] != 0, attempts["status"])
    return (status >= 400) & ~status.isin(OVERLOADED)


def first_fills(attempts: Table, stream: Table, events: Table) -> Table:
    """Measure orders that traded on arrival: `t` (intended, epoch s) and `ms` from first send to first fill.

    Makers are not counted: an order in the book waits for the market and not for the system. The time of a fill is when
    a subscriber first received it, by the client's clock; without one it is the ledger's.
    """
    fills = events[events["type"] == "fill"]
    fills = fills.sort_values("seq").drop_duplicates("taker_order_id")[["market", "seq", "ts_ns", "taker_order_id"]]
    seen = stream.groupby(["symbol", "seq"])["received_ns"].min().rename("seen_ns").reset_index()
    fills = fills.merge(seen, left_on=["market", "seq"], right_on=["symbol", "seq"], how="left")
    accepted = events[events["type"] == "accepted"].drop_duplicates("order_id")
    names = accepted[["order_id", "client_id", "idempotency_key"]]
    fills = fills.merge(names, left_on="taker_order_id", right_on="order_id")
    sent = first_orders(attempts)[["client_id", "idempotency_key", "intended_ns", "invoked_ns"]]
    both = fills.merge(sent, on=["client_id", "idempotency_key"])
    filled_ns = both["seen_ns"].where(both["seen_ns"].notna(), both["ts_ns"]).astype("int64")
    t, ms = both["intended_ns"] / NS_PER_S, (filled_ns - both["invoked_ns"]) / NS_PER_MS
    return pd.DataFrame({"t": t, "ms": ms}).sort_values("t", ignore_index=True)


def deliveries(stream: Table, events: Table) -> Table:
    """Measure ledger events that a subscriber received: `t` (commit, epoch s) and `ms` to the first one that had it.

    Subscribers that resume a stream get older events again or late; the one that stays connected does not.
    """
    seen = stream.groupby(["symbol", "seq"])["received_ns"].min().rename("seen_ns").reset_index()
    both = events[["market", "seq", "ts_ns"]].merge(seen, left_on=["market", "seq"], right_on=["symbol", "seq"])
    t, ms = both["ts_ns"] / NS_PER_S, (both["seen_ns"] - both["ts_ns"]) / NS_PER_MS
    return pd.DataFrame({"t": t, "ms": ms}).sort_values("t", ignore_index=True)


def reconnects(connections: Table, end: float) -> Table:
    """Make one row per lost stream: subscriber, symbol, lost_ns, ms until the next open one, `back`.

    A subscriber that never came back counts until `end` (epoch s). One that left on purpose and came back, or closed by
    itself and dialled no more, was not lost. Visitors leave and do not resume.
    """
    stays = ~connections["subscriber"].str.endswith(VISITOR)
    rows = connections[stays].sort_values(["subscriber", "symbol", "dialed_ns"], kind="stable")
    opened = rows[rows["opened_ns"] > 0]
    group = opened.groupby(["subscriber", "symbol"])
    lost = opened.assign(next_ns=group["opened_ns"].shift(-1))
    last_dial = rows.groupby(["subscriber", "symbol"])["dialed_ns"].max()
    where = pd.MultiIndex.from_frame(lost[["subscriber", "symbol"]])
    tried = last_dial.reindex(where).to_numpy() > lost["dialed_ns"].to_numpy()
    came_back, code = lost["next_ns"].notna(), lost["close_code"]
    cut_off = (code != PLANNED_RECONNECT) & (came_back | tried | (code != NORMAL_CLOSURE))
    kept_out = (code == PLANNED_RECONNECT) & tried & ~came_back
    lost = lost[(lost["closed_ns"] > 0) & (cut_off | kept_out)]
    back = lost["next_ns"].notna()
    until = lost["next_ns"].fillna(end * NS_PER_S)
    ms = ((until - lost["closed_ns"]) / NS_PER_MS).clip(lower=0.0)
    return pd.DataFrame(
        {
            "subscriber": lost["subscriber"],
            "symbol": lost["symbol"],
            "lost_ns": lost["closed_ns"],
            "ms": ms,
            "back": back,
        }
    )


def per_second(attempts: Table) -> Table:
    """Make one row for every second of intended sends.

    Columns: t (epoch s), sent, ok, fail, info, errors (counts of attempts), p50_ms, p95_ms, p99_ms (of first attempts
    of orders; NaN in a second without any).
    """
    names = ["sent", "ok", "fail", "info", "errors", *(f"p{share}_ms" for share in PERCENTILES)]
    if attempts.empty:
        return pd.DataFrame({name: pd.Series(dtype="float64") for name in ["t", *names]})
    second = attempts["intended_ns"] // NS_PER_S
    every = pd.RangeIndex(int(second.min()), int(second.max()) + 1)
    counts = {outcome.value: (attempts["outcome"] == outcome) for outcome in Outcome}
    flags: Table = pd.DataFrame({"sent": True, **counts, "errors": is_error(attempts)})
    table = flags.astype("int64").groupby(second).sum().reindex(every, fill_value=0)
    firsts = first_orders(attempts)
    grouped = latency_ms(firsts).groupby(firsts["intended_ns"] // NS_PER_S)
    for share in PERCENTILES:
        table[f"p{share}_ms"] = grouped.agg(percentile, share).reindex(every) if len(firsts) else np.nan
    return table.rename_axis("t").reset_index()[["t", *names]]
