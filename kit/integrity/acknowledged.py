"""What clients were told against what the ledger holds: nothing lost, nothing made up, nothing altered."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kit.integrity.answer import Check, Wording, by_key, by_order
from kit.integrity.evidence import NO_ID, Column, Evidence, Table
from kit.integrity.payloads import parse
from kit.model import Finding, Outcome

LOST = Wording(
    name="acknowledged-never-lost",
    noun="acknowledged keys",
    hold="are in the ledger",
    broke="are not in the ledger",
)
PHANTOM = Wording(
    name="no-phantom-orders", noun="ledger orders", hold="were sent by a client", broke="were never sent by any client"
)
REFUSED = Wording(
    name="refused-has-no-effect",
    noun="keys",
    hold="are in the ledger only if some attempt may have got through",
    broke="are in the ledger although every attempt was refused",
)
AS_SENT = Wording(
    name="sequenced-as-sent",
    noun="ledger orders",
    hold="are what their client sent",
    broke="are not what their client sent",
)
AS_SEQUENCED = Wording(
    name="acknowledged-as-sequenced",
    noun="acknowledged keys",
    hold="were sequenced with the content that was acknowledged",
    broke="were acknowledged with other content than was sequenced",
)
# Name in a reply and its type → column of a ledger row.
REPLY_FIELDS = {
    "orderId": (str, "order_id"),
    "symbol": (str, "market"),
    "side": (str, "side"),
    "type": (str, "order_type"),
    "tif": (str, "tif"),
    "qty": (int, "qty"),
    "price": (int, "price"),
}
# Column of an attempt → column of a ledger row.
SENT_FIELDS = {
    "symbol": "market",
    "side": "side",
    "type": "order_type",
    "tif": "tif",
    "qty": "qty",
    "price": "price",
}


def acknowledged_mask(attempts: Table) -> Column:
    """Attempts that a client knows to have worked: a 2xx in time, or one that came after the time-out."""
    return (attempts["outcome"] == Outcome.OK) | attempts["late_status"].between(200, 299)


def acknowledged_never_lost(evidence: Evidence) -> Finding:
    """E2. {keys with a 2xx, in time or late} ⊆ {keys of accepted and rejected events}."""
    sent = evidence.sent
    told = sent.loc[acknowledged_mask(sent), "key_no"].unique()
    bad = np.setdiff1d(told, _written(evidence))

    def example(key: int) -> str:
        client, name = evidence.key_of(key)
        return f"client {client} was told that key {name} is accepted, but no ledger event carries it"

    return by_key(LOST, evidence, examined=len(told), bad=bad, example=example)


def no_phantom_orders(evidence: Evidence) -> Finding:
    """E5. {keys of accepted and rejected events} ⊆ {keys sent}; an event without a key is a phantom too."""
    rows: Table = pd.concat([evidence.accepted, evidence.rejected])
    bad = rows.loc[~rows["key_no"].isin(evidence.sent["key_no"]) | (rows["key_no"] == NO_ID), "order_no"]

    def example(order: int) -> str:
        row = rows[rows["order_no"] == order].iloc[0]
        return f"order {row['order_id']} of client {row['client_id']} at {row['market']} seq {row['seq']}"

    return by_order(PHANTOM, evidence, examined=rows["order_no"].nunique(), bad=bad.to_numpy(), example=example)


def refused_has_no_effect(evidence: Evidence) -> Finding:
    """E6. {keys whose every attempt is `fail`} ∩ {keys of accepted and rejected events} = ∅.

    One `info` attempt and the order may be in or out; that it is in at most once is `exactly-once-per-key`.
    """
    sent = evidence.sent
    open_ = sent.loc[(sent["outcome"] != Outcome.FAIL) | acknowledged_mask(sent), "key_no"]
    refused = np.setdiff1d(sent["key_no"], open_)
    bad = np.intersect1d(refused, _written(evidence))

    def example(key: int) -> str:
        client, name = evidence.key_of(key)
        statuses = sorted(set(sent.loc[sent["key_no"] == key, "status"]))
        return f"key {name} of client {client} was only ever answered {', '.join(map(str, statuses))}"

    return by_key(REFUSED, evidence, examined=sent["key_no"].nunique(), bad=bad, example=example)


def sequenced_as_sent(evidence: Evidence) -> Finding:
    """E3a. Each accepted event has market, side, type, tif, qty and price of its key's first attempt, and an order id
    that some attempt under the key carried. MARKET is IOC and has no price, whatever was sent.
    """
    sent = evidence.sent
    first = sent[sent["kind"] == "first"].drop_duplicates("key_no").set_index("key_no")
    rows = evidence.accepted[evidence.accepted["key_no"].isin(first.index)]
    wanted = _canonical(first.rename(columns=SENT_FIELDS)[list(SENT_FIELDS.values())]).loc[rows["key_no"]]
    found = _canonical(rows[list(SENT_FIELDS.values())])
    differs = (wanted.to_numpy() != found.to_numpy()).any(axis=1)
    carried = pd.MultiIndex.from_frame(sent[["key_no", "order_no"]].drop_duplicates())
    differs |= ~pd.MultiIndex.from_frame(rows[["key_no", "order_no"]]).isin(carried)
    bad = rows[differs]

    def example(order: int) -> str:
        row = bad[bad["order_no"] == order].iloc[0]
        return f"order {row['order_id']}: {_differences(row, wanted.loc[row['key_no']])}"

    examined = rows["order_no"].nunique()
    return by_order(AS_SENT, evidence, examined=examined, bad=bad["order_no"].to_numpy(), example=example)


def acknowledged_as_sequenced(evidence: Evidence) -> Finding:
    """E3b. orderId, symbol, side, type, tif, qty and price of a key's first 2xx body equal its accepted event."""
    sent = evidence.sent
    good = sent[acknowledged_mask(sent)].sort_values("completed_ns").drop_duplicates("key_no")
    replies = parse(good["reply"], {name: kind for name, (kind, _) in REPLY_FIELDS.items()})
    columns = [column for _, column in REPLY_FIELDS.values()]
    told = replies.set_axis(columns, axis=1).set_index(good["key_no"])
    rows = evidence.accepted[evidence.accepted["key_no"].isin(told.index)]
    wanted, found = _canonical(told).loc[rows["key_no"]], _canonical(rows[columns])
    bad = rows[(wanted.to_numpy() != found.to_numpy()).any(axis=1)]

    def example(key: int) -> str:
        row = bad[bad["key_no"] == key].iloc[0]
        return f"order {row['order_id']}: {_differences(row, wanted.loc[key], 'acknowledged')}"

    examined = rows["key_no"].nunique()
    return by_key(AS_SEQUENCED, evidence, examined=examined, bad=bad["key_no"].to_numpy(), example=example)


def _written(evidence: Evidence) -> np.ndarray:
    return np.union1d(evidence.accepted["key_no"], evidence.rejected["key_no"])


def _canonical(rows: Table) -> Table:
    market = rows["order_type"] == "MARKET"
    tif = rows["tif"].mask(market, "IOC")
    return rows.assign(tif=tif.mask(tif == "", "GTC"), price=rows["price"].mask(market, 0))


def _differences(row: Column, wanted: Table, verb: str = "sent") -> str:
    if isinstance(wanted, pd.DataFrame):
        wanted = wanted.iloc[0]
    told = [f"{name} {row[name]} was {verb} as {value}" for name, value in wanted.items() if row[name] != value]
    return ", ".join(told) or "no attempt carried this order id"


CHECKS = (
    Check(name=LOST.name, find=acknowledged_never_lost, needs=("attempts", "events", "run")),
    Check(name=PHANTOM.name, find=no_phantom_orders, needs=("attempts", "events", "run")),
    Check(name=REFUSED.name, find=refused_has_no_effect, needs=("attempts", "events", "run")),
    Check(name=AS_SENT.name, find=sequenced_as_sent, needs=("attempts", "events", "run")),
    Check(name=AS_SEQUENCED.name, find=acknowledged_as_sequenced, needs=("attempts", "events", "run")),
)
