"""Cancels: none lost, none answered twice, no trade afterwards, and an order's lots end one way only."""

from __future__ import annotations

import numpy as np

from kit.integrity.acknowledged import acknowledged_mask
from kit.integrity.answer import Check, Wording, by_order, by_row, plural
from kit.integrity.counterexample import Story
from kit.integrity.evidence import Evidence, Table
from kit.integrity.fills import accepted_orders, legs
from kit.model import Finding

AFTER = Wording(
    name="no-fill-after-cancel",
    noun="cancelled orders",
    hold="did not trade after their cancel",
    broke="traded after their cancel",
)
EITHER = Wording(
    name="cancelled-or-filled",
    noun="cancelled orders",
    hold="have each lot either filled or cancelled",
    broke="have lots both filled and cancelled",
)
ANSWERED = Wording(
    name="cancel-takes-effect-once",
    noun="sequenced cancels",
    hold="were either carried out or refused, once",
    broke="were carried out or refused more than once",
)
LOST = Wording(
    name="acknowledged-cancel-never-lost",
    noun="acknowledged cancels",
    hold="were carried out or refused in the ledger",
    broke="left no trace in the ledger",
)


def no_fill_after_cancel(evidence: Evidence) -> Finding:
    """F6. No fill of an order has a greater seq than its cancelled event (of any reason, the acknowledged cancels of
    clients among them). An order that was accepted again after its cancel is `one-event-per-order`, and counts here.
    """
    last = evidence.cancelled.groupby("order_no")["seq"].min()
    sides = legs(evidence)
    sides = sides[sides["order_no"].isin(last.index)]
    bad = sides[sides["seq"].to_numpy() > last.loc[sides["order_no"]].to_numpy()]

    def example(order: int) -> str:
        row = bad[bad["order_no"] == order].iloc[0]
        return (
            f"order {evidence.order_of(order)} was cancelled at {row['market']} seq {last[order]} "
            f"and traded {plural(row['qty'], 'lot')} at seq {row['seq']}"
        )

    return by_order(AFTER, evidence, examined=len(last), bad=bad["order_no"].to_numpy(), example=example)


def cancelled_or_filled(evidence: Evidence) -> Finding:
    """For each accepted order with a cancelled event: Σ filled + Σ cancelled = quantity, each cancelled part > 0."""
    orders, cancelled = accepted_orders(evidence), evidence.cancelled
    cancelled = cancelled[cancelled["order_no"] >= 0]
    off = cancelled.groupby("order_no")["qty"].agg(["sum", "min"])
    numbers = off.index.to_numpy()
    filled = legs(evidence).groupby("order_no")["qty"].sum().reindex(numbers, fill_value=0).to_numpy()
    wrong = (filled + off["sum"].to_numpy() != orders.qty[numbers]) | (off["min"].to_numpy() <= 0)
    at = dict(zip(numbers.tolist(), filled.tolist(), strict=True))

    def example(order: int) -> str:
        return (
            f"order {evidence.order_of(order)} of {plural(orders.qty[order], 'lot')} has {at[order]} filled "
            f"and {off['sum'][order]} cancelled"
        )

    return by_order(EITHER, evidence, examined=len(off), bad=numbers[wrong], example=example)


def cancel_takes_effect_once(evidence: Evidence) -> Finding:
    """Per (client, key) of a cancel: |{intake events that carried out or refused it}| ≤ 1, and never both."""
    outcomes = _outcomes(evidence)
    per_key = outcomes.groupby("key_no").agg(events=("event_id", "nunique"), ways=("type", "nunique"))
    bad = per_key[(per_key["events"] > 1) | (per_key["ways"] > 1)]

    def rows() -> Table:
        return outcomes[outcomes["key_no"] == bad.index[0]]

    def example() -> str:
        first = rows().iloc[0]
        seqs = ", ".join(map(str, rows()["seq"]))
        return f"the cancel of order {first['order_id']} under key {first['idempotency_key']} took effect at seq {seqs}"

    return by_row(
        ANSWERED,
        evidence,
        examined=len(per_key),
        violations=len(bad),
        example=example,
        subject=lambda: Story(orders=(int(rows()["order_no"].iloc[0]),)),
    )


def acknowledged_cancel_never_lost(evidence: Evidence) -> Finding:
    """{keys of cancels with a 2xx} ⊆ {keys of cancelled (client) and rejected cancel events}."""
    attempts = evidence.attempts
    cancels = attempts[(attempts["op"] == "cancel") & acknowledged_mask(attempts)].drop_duplicates("key_no")
    bad = cancels[~cancels["key_no"].isin(_outcomes(evidence)["key_no"])]

    def example(order: int) -> str:
        row = bad[bad["order_no"] == order].iloc[0]
        who = f"client {row['client_id']}"
        return (
            f"{who} was told that its cancel of order {evidence.order_of(order)} is on its way, but nothing came of it"
        )

    return by_order(LOST, evidence, examined=len(cancels), bad=np.unique(bad["order_no"]), example=example)


def _outcomes(evidence: Evidence) -> Table:
    """Ledger events by which clients' cancels were carried out or refused."""
    events = evidence.events
    done = (events["type"] == "cancelled") & (events["reason"] == "client")
    refused = (events["type"] == "rejected") & (events["command"] == "cancel")
    return events[(done | refused) & (events["key_no"] >= 0)]


CHECKS = (
    Check(name=AFTER.name, find=no_fill_after_cancel, needs=("events",)),
    Check(name=EITHER.name, find=cancelled_or_filled, needs=("events",)),
    Check(name=ANSWERED.name, find=cancel_takes_effect_once, needs=("events",)),
    Check(name=LOST.name, find=acknowledged_cancel_never_lost, needs=("attempts", "events", "run")),
)
