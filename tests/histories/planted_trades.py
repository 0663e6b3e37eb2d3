"""Plant anomalies in the ledger: its sequence, price-time priority, fills and cancels."""

from __future__ import annotations

from typing import Any

import pandas as pd

from kit.model import LEDGER_EVENT_COLUMNS
from tests.histories import edits
from tests.histories.edits import Plants, Tables

PLANTS = Plants()


def _big_limit_fill(tables: Tables) -> dict[str, Any]:
    """A fill whose taker is a limit order."""
    limits = edits.rows(tables, "events", type="accepted", order_type="LIMIT")["order_id"]
    fills = edits.rows(tables, "events", type="fill")
    return fills[fills["taker_order_id"].isin(limits)].iloc[0].to_dict()


# Sequence and replay


@PLANTS.caught_by("gap-free-sequence")
def one_number_is_missing(tables: Tables) -> None:
    edits.drop(tables, "events", tables["events"].index[3])


@PLANTS.caught_by("gap-free-sequence")
def one_number_is_given_twice(tables: Tables) -> None:
    edits.change(tables, "events", 5, seq=tables["events"]["seq"].iloc[5] - 1)


@PLANTS.caught_by("gap-free-sequence")
def ledger_starts_late(tables: Tables) -> None:
    tables["events"] = tables["events"][tables["events"]["seq"] > 1].reset_index(drop=True)


@PLANTS.caught_by("price-time-replay")
def newer_order_is_served_first(tables: Tables) -> None:
    """Two resting orders at one price; the taker gets the second."""
    base = {"market": "ACME", "order_type": "LIMIT", "tif": "GTC", "qty": 5, "price": 10, "ts_ns": 1}
    events = tables["events"] = tables["events"].iloc[:0]
    assert events.empty
    rows = [
        {"type": "accepted", "order_id": "m1", "client_id": "a", "side": "SELL", "event_id": "1"},
        {"type": "accepted", "order_id": "m2", "client_id": "b", "side": "SELL", "event_id": "2"},
        {"type": "accepted", "order_id": "t", "client_id": "c", "side": "BUY", "event_id": "3"},
        {"type": "fill", "taker_order_id": "t", "maker_order_id": "m2", "taker_client_id": "c", "event_id": "3"},
    ]
    for seq, row in enumerate(rows, start=1):
        edits.add(tables, "events", LEDGER_EVENT_COLUMNS, base | row | {"seq": seq})


@PLANTS.caught_by("price-time-replay")
def fill_that_should_have_happened_is_missing(tables: Tables) -> None:
    newer_order_is_served_first(tables)
    edits.drop(tables, "events", 3)


@PLANTS.caught_by("price-time-replay", "fills-are-legal")
def trade_at_another_price(tables: Tables) -> None:
    row = _big_limit_fill(tables)
    index = edits.rows(tables, "events", trade_id=row["trade_id"]).index[0]
    edits.change(tables, "events", index, price=row["price"] + 7)


@PLANTS.caught_by("price-time-replay")
def cancel_is_refused_although_the_order_rests(tables: Tables) -> None:
    index = edits.rows(tables, "events", type="cancelled", reason="client").index[0]
    edits.change(tables, "events", index, type="rejected", command="cancel", reason="AlreadyDone", qty=0)


# Fills


@PLANTS.caught_by("pair-trades-once", "trade-ids-unique", "price-time-replay")
def trade_is_written_twice(tables: Tables) -> None:
    edits.add_event(tables, edits.row(tables, "events", type="fill"))


@PLANTS.caught_by("trade-ids-unique")
def trade_without_an_id(tables: Tables) -> None:
    edits.change_first(tables, "events", {"type": "fill"}, trade_id="")


@PLANTS.caught_by("fill-parties-exist")
def trade_with_an_order_that_does_not_exist(tables: Tables) -> None:
    edits.change_first(tables, "events", {"type": "fill"}, maker_order_id="ghost")


@PLANTS.caught_by("fill-parties-exist")
def trade_names_the_wrong_client(tables: Tables) -> None:
    edits.change_first(tables, "events", {"type": "fill"}, taker_client_id="c999")


@PLANTS.caught_by("fills-are-legal")
def both_orders_buy(tables: Tables) -> None:
    fill = edits.row(tables, "events", type="fill")
    side = edits.row(tables, "events", type="accepted", order_id=fill["taker_order_id"])["side"]
    edits.change_first(tables, "events", {"type": "accepted", "order_id": fill["maker_order_id"]}, side=side)


@PLANTS.caught_by("fills-are-legal")
def client_trades_with_itself(tables: Tables) -> None:
    fill = edits.row(tables, "events", type="fill")
    client = fill["taker_client_id"]
    edits.change_first(tables, "events", {"type": "accepted", "order_id": fill["maker_order_id"]}, client_id=client)
    edits.change_first(tables, "events", {"type": "fill"}, maker_client_id=client)


@PLANTS.caught_by("fills-are-legal")
def trade_at_price_zero(tables: Tables) -> None:
    """The maker's price is zero too, so that the fill is at the maker's price."""
    fill = edits.row(tables, "events", type="fill")
    edits.change_first(tables, "events", {"type": "fill"}, price=0)
    edits.change_first(tables, "events", {"type": "accepted", "order_id": fill["maker_order_id"]}, price=0)


@PLANTS.caught_by("fills-are-legal", "no-over-fill")
def trade_of_no_lots(tables: Tables) -> None:
    edits.change_first(tables, "events", {"type": "fill"}, qty=0)


@PLANTS.caught_by("trades-within-orders")
def more_trades_than_orders(tables: Tables) -> None:
    fills = edits.rows(tables, "events", type="fill")
    market = fills[fills["market"] == fills["market"].iloc[0]]
    again = [
        market.assign(seq=market["seq"] + 1000 * number, trade_id=f"{number}-" + market["trade_id"])
        for number in range(5)
    ]
    tables["events"] = pd.concat([tables["events"], *again], ignore_index=True)


# Cancels


@PLANTS.caught_by("no-fill-after-cancel")
def cancelled_order_trades(tables: Tables) -> None:
    cancelled = edits.row(tables, "events", type="cancelled", reason="client")
    fill = edits.row(tables, "events", type="fill", market=cancelled["market"])
    edits.add_event(tables, fill, maker_order_id=cancelled["order_id"], trade_id="after")


@PLANTS.caught_by("cancelled-or-filled")
def lot_is_filled_and_cancelled(tables: Tables) -> None:
    index = edits.rows(tables, "events", type="cancelled", reason="ioc").index[0]
    edits.change(tables, "events", index, qty=tables["events"]["qty"].loc[index] + 1)


@PLANTS.caught_by("cancel-takes-effect-once")
def cancel_is_carried_out_and_refused(tables: Tables) -> None:
    row = edits.row(tables, "events", type="cancelled", reason="client")
    edits.add_event(tables, row, type="rejected", command="cancel", reason="AlreadyDone", qty=0)


@PLANTS.caught_by("cancel-takes-effect-once")
def cancel_is_refused_twice(tables: Tables) -> None:
    edits.add_event(tables, edits.row(tables, "events", type="rejected", command="cancel"), event_id="again")


@PLANTS.caught_by("acknowledged-cancel-never-lost")
def acknowledged_cancel_leaves_no_trace(tables: Tables) -> None:
    key = edits.row(tables, "attempts", op="cancel", status=202)["idempotency_key"]
    edits.drop(tables, "events", edits.rows(tables, "events", idempotency_key=key).index)


@PLANTS.caught_by("no-phantom-cancels")
def cancel_without_a_request(tables: Tables) -> None:
    edits.change_first(tables, "events", {"type": "cancelled", "reason": "client"}, idempotency_key="nobody")


@PLANTS.caught_by("no-phantom-cancels")
def cancel_takes_off_another_order(tables: Tables) -> None:
    cancelled = edits.row(tables, "events", type="cancelled", reason="client")
    other = edits.rows(tables, "events", type="accepted", client_id=cancelled["client_id"])["order_id"].iloc[-1]
    edits.change_first(tables, "events", {"type": "cancelled", "reason": "client"}, order_id=other)
