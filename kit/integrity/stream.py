"""What subscribers were sent against the ledger: the same events, in order, each once, across reconnects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kit.integrity.answer import Check, Wording, by_row
from kit.integrity.counterexample import Step, Story
from kit.integrity.evidence import Evidence, Table
from kit.integrity.payloads import parse
from kit.model import Finding

# A subscriber that is connected must have an event this long after the ledger's time for it.
SETTLE_NS = 10_000_000_000
# Field of a message and its type → column of a ledger event.
FIELDS = {
    "type": (str, "type"),
    "eventId": (str, "event_id"),
    "orderId": (str, "order_id"),
    "clientId": (str, "client_id"),
    "side": (str, "side"),
    "qty": (int, "qty"),
    "price": (int, "price"),
    "reason": (str, "reason"),
    "tradeId": (str, "trade_id"),
    "takerOrderId": (str, "taker_order_id"),
    "makerOrderId": (str, "maker_order_id"),
}

EQUAL = Wording(
    name="stream-equals-ledger",
    noun="streamed events",
    hold="are the ledger's, and none is missing over the subscribed range",
    broke="differ from the ledger or are missing",
)
IN_ORDER = Wording(
    name="stream-in-order",
    noun="streamed events",
    hold="came in order, without a gap and without a repeat",
    broke="came twice, out of order or after a gap",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Ledger events of `symbol` that `subscriber` should have received and did not."""

    subscriber: str
    symbol: str
    seqs: np.ndarray


def stream_equals_ledger(evidence: Evidence) -> Finding:
    """W1, W2. Each message equals the ledger event of its (market, seq); and each ledger event within a subscriber's
    range was received. The range starts after its first `after` and ends with its last message, or where later with
    the last event `SETTLE_NS` before it stopped listening. `measured` counts wrong and missing events.
    """
    wrong, missing = _wrong(evidence), list(_missing(evidence))
    absent = sum(len(one.seqs) for one in missing)

    def example() -> str:
        if len(wrong):
            row = wrong.iloc[0]
            return f"subscriber {row['subscriber']} got {row['symbol']} seq {row['seq']} with other content"
        one = missing[0]
        return f"subscriber {one.subscriber} never got {one.symbol} seq {one.seqs[0]}"

    def subject() -> Story:
        if len(wrong):
            row = wrong.iloc[0]
            return _around(evidence, str(row["subscriber"]), str(row["symbol"]), int(row["seq"]))
        return _around(evidence, missing[0].subscriber, missing[0].symbol, int(missing[0].seqs[0]))

    return by_row(
        EQUAL,
        evidence,
        examined=len(evidence.stream),
        violations=len(wrong) + absent,
        example=example,
        subject=subject,
    )


def _wrong(evidence: Evidence) -> Table:
    seen = evidence.stream.drop_duplicates(["symbol", "seq", "event"])
    # Not in the ledger at all shows as the empty event, which no message equals.
    columns = [column for _, column in FIELDS.values()]
    ledger = evidence.events.drop_duplicates(["market", "seq"])[["market", "seq", *columns]]
    keys = seen[["symbol", "seq"]].rename(columns={"symbol": "market"})
    wanted = keys.merge(ledger, on=["market", "seq"], how="left")
    found = parse(seen["event"], {name: kind for name, (kind, _) in FIELDS.items()} | {"seq": int, "market": str})
    differs = wanted["type"].isna().to_numpy(copy=True)
    for name, (_, column) in FIELDS.items():
        differs |= found[name].to_numpy() != wanted[column].to_numpy()
    differs |= (found["seq"].to_numpy() != keys["seq"].to_numpy()) | (found["market"].to_numpy() != keys["market"])
    return seen[differs]


def _missing(evidence: Evidence) -> Iterator[Missing]:
    ledger = dict(iter(evidence.events.groupby("market")))
    got = dict(iter(evidence.stream.groupby(["subscriber", "symbol"])))
    end_ns = _last_ns(evidence)
    for (subscriber, symbol), dials in evidence.connections.groupby(["subscriber", "symbol"]):
        opened = dials[dials["opened_ns"] > 0].sort_values("dialed_ns")
        if opened.empty or symbol not in ledger:
            continue
        rows = ledger[symbol]
        seqs, ts = rows["seq"].to_numpy(), rows["ts_ns"].to_numpy()
        received = got[subscriber, symbol]["seq"].to_numpy() if (subscriber, symbol) in got else np.empty(0, "int64")
        until_ns = int(opened["closed_ns"].iloc[-1]) or end_ns
        due = (seqs <= received.max(initial=0)) | (ts <= until_ns - SETTLE_NS)
        due &= seqs > dials["after_seq"].min()
        absent = np.setdiff1d(seqs[due], received)
        if absent.size:
            yield Missing(subscriber=str(subscriber), symbol=str(symbol), seqs=absent)


def _last_ns(evidence: Evidence) -> int:
    """The last moment at which any subscriber is known to have been listening."""
    ends = [
        evidence.stream["received_ns"],
        evidence.connections["opened_ns"],
        evidence.connections["closed_ns"],
    ]
    return max(int(column.max()) for column in ends if len(column))


def stream_in_order(evidence: Evidence) -> Finding:
    """W3. Per subscriber and market, in order of receipt over all its connections: the first seq is its `after` + 1
    and each next is one more; so nothing is repeated or skipped where it reconnects. `measured` counts breaks.
    """
    rows = evidence.stream.reset_index().sort_values(
        ["subscriber", "symbol", "connection", "received_ns", "index"], kind="stable"
    )
    start = evidence.connections.groupby(["subscriber", "symbol"])["after_seq"].min()
    before = rows.groupby(["subscriber", "symbol"])["seq"].shift(1)
    first = before.isna()
    where = pd.MultiIndex.from_frame(rows.loc[first, ["subscriber", "symbol"]])
    before = before.mask(first).fillna(-1).astype("int64")
    before[first] = start.reindex(where, fill_value=0).to_numpy()
    bad = rows[rows["seq"] != before + 1]

    def example() -> str:
        row = bad.iloc[0]
        expected = int(before[bad.index[0]]) + 1
        return (
            f"subscriber {row['subscriber']} got {row['symbol']} seq {row['seq']} where {expected} was next "
            f"(connection {row['connection']})"
        )

    def subject() -> Story:
        row = bad.iloc[0]
        return _around(evidence, str(row["subscriber"]), str(row["symbol"]), int(row["seq"]))

    return by_row(IN_ORDER, evidence, examined=len(rows), violations=len(bad), example=example, subject=subject)


def _around(evidence: Evidence, subscriber: str, symbol: str, seq: int) -> Story:
    """The ledger around `seq`, what the subscriber got of it, and its connections."""
    stream, dials = evidence.stream, evidence.connections
    near = stream[(stream["subscriber"] == subscriber) & (stream["symbol"] == symbol)]
    near = near[near["seq"].between(seq - 2, seq + 2)]
    steps = [
        _step(row["received_ns"], f"{subscriber} receives {symbol} seq {row['seq']}: {row['event'][:160]}", row["seq"])
        for row in near.head(8).to_dict("records")
    ]
    own = dials[(dials["subscriber"] == subscriber) & (dials["symbol"] == symbol)].head(6)
    for row in own.to_dict("records"):
        steps.append(_step(row["dialed_ns"], f"{subscriber} connects (after={row['after_seq']})"))
        if row["closed_ns"]:
            steps.append(_step(row["closed_ns"], f"{subscriber} loses its connection ({row['close_code']})"))
    return Story(stretch=(symbol, seq - 1, seq + 1), steps=tuple(steps))


def _step(ns: int, what: str, seq: int = 0) -> Step:
    return {"t": ns / 1e9, "what": what, "source": "stream", "seq": seq}


CHECKS = (
    Check(
        name=EQUAL.name,
        find=stream_equals_ledger,
        needs=("stream", "connections", "events"),
        timed=True,
    ),
    Check(name=IN_ORDER.name, find=stream_in_order, needs=("stream", "connections")),
)
