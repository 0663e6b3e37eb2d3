"""Three books that must agree: the ledger's fills, the stored state of orders, the stored balances."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kit.integrity.answer import Check, Wording, by_order, by_row
from kit.integrity.counterexample import STEPS_MAX, Step, Story, event_words
from kit.integrity.evidence import Column, Evidence, Table
from kit.integrity.fills import legs
from kit.model import Finding

STATE = Wording(
    name="order-state-equals-fills",
    noun="orders",
    hold="are stored as the ledger says",
    broke="are stored otherwise than the ledger says",
)
BALANCES = Wording(
    name="positions-equal-fills",
    noun="balances",
    hold="equal the sum of their client's fills",
    broke="differ from the sum of their client's fills",
)
ZERO = Wording(
    name="balances-sum-to-zero",
    noun="markets",
    hold="have balances that sum to zero over all clients",
    broke="have balances that do not sum to zero over all clients",
)
NOT_STORED = "not stored"


def order_state_equals_fills(evidence: Evidence) -> Finding:
    """C1a. For each order of ledger or store: stored filledQty = Σ fills, and the stored status is the one that its
    events give: REJECTED, CANCELLED, FILLED, PARTIALLY_FILLED, OPEN; ACCEPTED while not sequenced.
    """
    ledger, stored = _ledger_state(evidence), _stored_state(evidence)
    both = ledger.join(stored, how="outer", suffixes=("", "_stored"))
    both["filled"] = both["filled"].fillna(0).astype("int64")
    both["status"] = both["status"].fillna("ACCEPTED")
    both["status_stored"] = both["status_stored"].fillna(NOT_STORED)
    both["filled_stored"] = both["filled_stored"].fillna(0).astype("int64")
    # A resting order may be kept as ACCEPTED: the contract does not say when it becomes OPEN.
    same = (both["status"] == both["status_stored"]) | (
        (both["status"] == "OPEN") & (both["status_stored"] == "ACCEPTED")
    )
    bad = both[~same | (both["filled"] != both["filled_stored"])]

    def example(order: int) -> str:
        row = bad.loc[order]
        return (
            f"order {evidence.order_of(order)} is stored as {row['status_stored']} with {row['filled_stored']} lots "
            f"filled, the ledger says {row['status']} with {row['filled']}"
        )

    return by_order(STATE, evidence, examined=len(both), bad=bad.index.to_numpy(), example=example)


def _ledger_state(evidence: Evidence) -> Table:
    """filled and status by order number, from the events alone."""
    accepted = evidence.accepted.drop_duplicates("order_no").set_index("order_no")
    rejected = evidence.rejected["order_no"].unique()
    numbers = np.union1d(accepted.index, rejected)
    filled = legs(evidence).groupby("order_no")["qty"].sum().reindex(numbers, fill_value=0)
    qty = accepted["qty"].reindex(numbers, fill_value=0)
    status = np.select(
        [
            np.isin(numbers, evidence.cancelled["order_no"]),
            ~np.isin(numbers, accepted.index),
            (filled >= qty).to_numpy(),
            (filled > 0).to_numpy(),
        ],
        ["CANCELLED", "REJECTED", "FILLED", "PARTIALLY_FILLED"],
        default="OPEN",
    )
    return pd.DataFrame(
        {"filled": filled.to_numpy(), "status": pd.Series(status, dtype="str").to_numpy()}, index=numbers
    )


def _stored_state(evidence: Evidence) -> Table:
    rows = evidence.orders.drop_duplicates("order_no").set_index("order_no")
    return rows[["filled_qty", "status"]].rename(columns={"filled_qty": "filled_stored", "status": "status_stored"})


def positions_equal_fills(evidence: Evidence) -> Finding:
    """C1b. For each (client, market): qty = Σ bought − Σ sold, cash = Σ sold · price − Σ bought · price."""
    wanted = _postings(evidence).groupby(["client_id", "market"])[["qty", "cash"]].sum()
    stored = evidence.positions.groupby(["client_id", "market"])[["qty", "cash"]].sum()
    both = wanted.join(stored, how="outer", suffixes=("", "_stored")).fillna(0).astype("int64")
    bad = both[(both["qty"] != both["qty_stored"]) | (both["cash"] != both["cash_stored"])]

    def example() -> str:
        client, market = bad.index[0]
        row = bad.iloc[0]
        return (
            f"client {client} holds {row['qty_stored']} lots of {market} and {row['cash_stored']} of cash, "
            f"its fills sum to {row['qty']} and {row['cash']}"
        )

    def subject() -> Story:
        client, market = bad.index[0]
        return Story(steps=tuple(_client_steps(evidence, client, market, bad.iloc[0])))

    return by_row(
        BALANCES,
        evidence,
        examined=len(both),
        violations=len(bad),
        example=example,
        subject=subject,
    )


def balances_sum_to_zero(evidence: Evidence) -> Finding:
    """C2. Per market, over the stored balances of all clients: Σ qty = 0 and Σ cash = 0."""
    sums = evidence.positions.groupby("market")[["qty", "cash"]].sum()
    bad = sums[(sums != 0).any(axis=1)]

    def example() -> str:
        row = bad.iloc[0]
        return f"in {bad.index[0]} {row['qty']} lots and {row['cash']} of cash came from nowhere"

    def subject() -> Story:
        rows = evidence.positions[evidence.positions["market"] == bad.index[0]].head(STEPS_MAX)
        return Story(steps=tuple(_balance_step(row) for row in rows.to_dict("records")))

    return by_row(ZERO, evidence, examined=len(sums), violations=len(bad), example=example, subject=subject)


def _postings(evidence: Evidence) -> Table:
    """client_id, market, qty and cash of both sides of every fill."""
    fills = evidence.fills
    sign = np.where(fills["taker_side"] == "BUY", 1, -1)
    lots, cash = fills["qty"] * sign, -fills["qty"] * fills["price"] * sign
    sides = [
        pd.DataFrame({"client_id": fills[client], "market": fills["market"], "qty": way * lots, "cash": way * cash})
        for client, way in (("taker_client_id", 1), ("maker_client_id", -1))
    ]
    return pd.concat(sides, ignore_index=True)


def _client_steps(evidence: Evidence, client: str, market: str, row: Column) -> list[Step]:
    fills = evidence.fills
    own = (fills["taker_client_id"] == client) | (fills["maker_client_id"] == client)
    steps: list[Step] = [
        {
            "t": fill["ts_ns"] / 1e9,
            "what": f"ledger {market} seq {fill['seq']}: {event_words(fill)}",
            "source": "ledger",
            "seq": fill["seq"],
        }
        for fill in fills[own & (fills["market"] == market)].to_dict("records")
    ]
    stored = {"client_id": client, "market": market, "qty": row["qty_stored"], "cash": row["cash_stored"]}
    return [*steps, _balance_step(stored)]


def _balance_step(row: dict) -> Step:
    what = f"stored at the end: client {row['client_id']} {row['qty']} lots of {row['market']}, cash {row['cash']}"
    return {"t": None, "what": what, "source": "store", "client_id": row["client_id"]}


CHECKS = (
    Check(name=STATE.name, find=order_state_equals_fills, needs=("events", "orders")),
    Check(name=BALANCES.name, find=positions_equal_fills, needs=("events", "positions")),
    Check(name=ZERO.name, find=balances_sum_to_zero, needs=("positions",)),
)
