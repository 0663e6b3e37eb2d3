"""Check cancels: none lost, invented or applied twice, no trade afterwards, each lot either filled or cancelled."""

from __future__ import annotations

import numpy as np

from kit.integrity.arrays.columns import Rows
from kit.integrity.arrays.grouping import firsts, paired, present, totals
from kit.integrity.evidence.client_tables import MALFORMED
from kit.integrity.evidence.evidence import Evidence, acknowledged
from kit.integrity.evidence.ledger_tables import UNKNOWN_ORDER
from kit.integrity.evidence.orders_and_fills import accepted_orders, fill_sides, filled
from kit.integrity.findings.check import Checks, Result, by_order, by_row, plural
from kit.integrity.findings.counterexample import Subject

CHECKS = Checks()


@CHECKS.add(
    "no-fill-after-cancel",
    noun="cancelled orders",
    hold="did not trade after their cancel",
    broke="traded after their cancel",
    needs=("events",),
)
def no_fill_after_cancel(evidence: Evidence) -> Result:
    """F6. Check that no order is filled after its first cancelled event, of any reason.

    An order that was accepted again after its cancel and traded counts too; it also breaks `one-event-per-order`.
    """
    cancelled, fills, sides = evidence.cancelled, evidence.fills, fill_sides(evidence)
    index = firsts(cancelled["order"], evidence.order_count)  # events are sorted: the first one has the smallest seq
    off = np.where(sides.order >= 0, index[sides.order], -1)
    seq, fill_seq = cancelled["seq"], fills["seq"]
    late = np.flatnonzero(off >= 0)
    late = late[fill_seq[sides.fill[late]] > seq[off[late]]]

    def example(order: int) -> str:
        side = late[sides.order[late] == order][0]
        fill = evidence.row("events", fills["index"][sides.fill[side]])
        return (
            f"order {evidence.order_id(order)} was cancelled at {fill['market']} seq {seq[index[order]]} "
            f"and traded {plural(fill['qty'], 'lot')} at seq {fill['seq']}"
        )

    examined = int((index >= 0).sum())
    return by_order(evidence, examined=examined, bad=sides.order[late], example=example)


@CHECKS.add(
    "cancelled-or-filled",
    noun="cancelled orders",
    hold="have each lot either filled or cancelled",
    broke="have lots both filled and cancelled",
    needs=("events",),
)
def cancelled_or_filled(evidence: Evidence) -> Result:
    """Check that each lot of a cancelled order was either filled or cancelled.

    For each order with a cancelled event: Σ filled + Σ cancelled = quantity, and each cancelled quantity > 0.
    """
    orders, cancelled, size = accepted_orders(evidence), evidence.cancelled, evidence.order_count
    order, qty = cancelled["order"], cancelled["qty"]
    there, off, done = present(order, size), totals(order, qty, size), filled(evidence)
    wrong = there & ((done + off != orders.qty) | present(order[qty <= 0], size))

    def example(number: int) -> str:
        return (
            f"order {evidence.order_id(number)} of {plural(int(orders.qty[number]), 'lot')} has {done[number]} filled "
            f"and {off[number]} cancelled"
        )

    return by_order(evidence, examined=int(there.sum()), bad=np.flatnonzero(wrong), example=example)


@CHECKS.add(
    "cancel-takes-effect-once",
    noun="sequenced cancels",
    hold="were either carried out or refused, once",
    broke="were carried out or refused more than once",
    needs=("events",),
)
def cancel_takes_effect_once(evidence: Evidence) -> Result:
    """Check that a cancel is carried out or refused once.

    For each (client, key) of a cancel: |{intake events that carried it out or refused it}| ≤ 1, and not both.
    """
    outcomes = evidence.cancel_outcomes
    outcomes = outcomes.where(outcomes["key"] >= 0)  # an event without a key breaks `no-phantom-cancels`
    key = outcomes["key"]
    first = firsts(key, evidence.key_count)[key]
    differs = (outcomes["event"] != outcomes["event"][first]) | (outcomes["type"] != outcomes["type"][first])
    bad = np.unique(key[differs])

    def rows() -> Rows:
        return outcomes.where(key == bad[0])

    def example() -> str:
        events = evidence.rows("events", rows()["index"])
        seqs = ", ".join(str(row["seq"]) for row in events)
        which = f"order {events[0]['order_id']} under key {events[0]['idempotency_key']}"
        return f"the cancel of {which} took effect at seq {seqs}"

    return by_row(
        evidence,
        examined=int(present(key, evidence.key_count).sum()),
        violations=len(bad),
        example=example,
        subject=lambda: Subject(orders=(int(rows()["order"][0]),)),
    )


@CHECKS.add(
    "acknowledged-cancel-never-lost",
    noun="acknowledged cancels",
    hold="were carried out or refused in the ledger",
    broke="are not in the ledger",
    needs=("attempts", "events", "run"),
)
def acknowledged_cancel_never_lost(evidence: Evidence) -> Result:
    """Check that every acknowledged cancel is in the ledger.

    {keys of cancels with a 2xx} ⊆ {keys of cancelled (client) and rejected cancel events}.
    """
    size = evidence.key_count
    confirmed = evidence.cancels.where(acknowledged(evidence.cancels))
    wanted, found = present(confirmed["key"], size), present(evidence.cancel_outcomes["key"], size)
    bad = confirmed["order"][~np.append(found, False)[confirmed["key"]]]

    def example(order: int) -> str:
        row = evidence.first_row("attempts", confirmed, order=order)
        who = f"client {row['client_id']}"
        return f"{who} got a 2xx for its cancel of order {row['order_id']}, but no ledger event carries it"

    return by_order(evidence, examined=int(wanted.sum()), bad=bad, example=example)


@CHECKS.add(
    "no-phantom-cancels",
    noun="sequenced cancels",
    hold="were sent by the client, for that order",
    broke="were never sent by the client, for that order",
    needs=("attempts", "events", "run"),
)
def no_phantom_cancels(evidence: Evidence) -> Result:
    """Check that every cancel in the ledger was sent by its client.

    {(key, order) of cancelled (client) and rejected cancel events} ⊆ {(key, order) of well-formed cancels sent}. An
    event without a key is a violation too.
    """
    outcomes, sent = evidence.cancel_outcomes, evidence.cancels.where(evidence.cancels["kind"] != MALFORMED)
    asked = paired(sent["key"], sent["order"])
    bad = outcomes.where((outcomes["key"] < 0) | ~np.isin(paired(outcomes["key"], outcomes["order"]), asked))

    def example(order: int) -> str:
        row = evidence.first_row("events", bad, order=order)
        what = f"the cancel of order {row['order_id']} at {row['market']} seq {row['seq']}"
        return f"{what} under key {row['idempotency_key']} of client {row['client_id']}"

    return by_order(evidence, examined=len(outcomes), bad=bad["order"], example=example)


@CHECKS.add(
    "cancels-follow-orders",
    noun="sequenced cancels",
    hold="came after their order",
    broke="were refused because their order was sequenced after them",
    needs=("events",),
)
def cancels_follow_orders(evidence: Evidence) -> Result:
    """Check that no cancel is refused as UnknownOrder if the ledger accepts its order, before or after the cancel.

    Intake accepts a cancel only after its order, so the order must be sequenced first.
    """
    outcomes, size = evidence.cancel_outcomes, evidence.order_count
    known = np.append(present(evidence.accepted["order"], size), False)  # the last entry is for no order, −1
    bad = outcomes.where((outcomes["reason"] == UNKNOWN_ORDER) & known[outcomes["order"]])

    def example(order: int) -> str:
        row = evidence.first_row("events", bad, order=order)
        there = evidence.accepted.where(evidence.accepted["order"] == order)["seq"][0]
        what = f"the cancel of order {row['order_id']} at {row['market']} seq {row['seq']}"
        return f"{what} was refused as UnknownOrder, but the order is accepted at seq {there}"

    return by_order(evidence, examined=len(outcomes), bad=bad["order"], example=example)
