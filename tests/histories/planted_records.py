"""Plant anomalies in stored orders and balances, the stream, reads of orders and the outbox."""

from __future__ import annotations

import json

import pandas as pd

from kit.model import ORDER_COLUMNS
from tests.histories import edits
from tests.histories.edits import Plants, Tables

PLANTS = Plants()


# Conservation


@PLANTS.caught_by("order-state-equals-fills")
def stored_quantity_is_off_by_one(tables: Tables) -> None:
    edits.change_first(tables, "orders", {"status": "FILLED"}, filled_qty=0)


@PLANTS.caught_by("order-state-equals-fills")
def stored_status_is_wrong(tables: Tables) -> None:
    edits.change_first(tables, "orders", {"status": "FILLED"}, status="CANCELLED")


@PLANTS.caught_by("order-state-equals-fills")
def sequenced_order_is_not_stored(tables: Tables) -> None:
    edits.drop(tables, "orders", 0)


@PLANTS.caught_by("positions-equal-fills", "balances-sum-to-zero")
def invented_lot(tables: Tables) -> None:
    edits.change(tables, "positions", 0, qty=tables["positions"]["qty"].iloc[0] + 1)


@PLANTS.caught_by("positions-equal-fills", "balances-sum-to-zero")
def invented_cash(tables: Tables) -> None:
    edits.change(tables, "positions", 1, cash=tables["positions"]["cash"].iloc[1] - 1)


@PLANTS.caught_by("positions-equal-fills")
def balance_is_missing(tables: Tables) -> None:
    held = tables["positions"]
    edits.drop(tables, "positions", held[held["qty"] != 0].index[0])


@PLANTS.caught_by("bought-equals-sold", "order-state-equals-fills")
def only_the_buyer_is_filled(tables: Tables) -> None:
    filled = edits.row(tables, "orders", status="FILLED", side="SELL")
    edits.change_first(tables, "orders", {"order_id": filled["order_id"]}, filled_qty=0)


# The past


@PLANTS.caught_by("past-unchanged", "gap-free-sequence")
def event_of_the_past_is_lost(tables: Tables) -> None:
    edits.drop(tables, "events", _row_of_past(tables, 3))


@PLANTS.caught_by("past-unchanged")
def event_of_the_past_is_altered(tables: Tables) -> None:
    """No other check compares when an event was committed."""
    index = _row_of_past(tables, 3)
    edits.change(tables, "events", index, ts_ns=tables["events"]["ts_ns"].loc[index] + 1)


@PLANTS.caught_by("one-event-per-order", "exactly-once-per-key", "no-double-fill")
def matcher_applies_the_past_again(tables: Tables) -> None:
    """A matcher that starts again takes the events that it reads for new ones."""
    past, events = tables["past"], tables["events"]
    last = events.groupby("market")["seq"].max()
    again = past.assign(
        seq=past["seq"] + past["market"].map(last), event_id="again-" + past["event_id"], ts_ns=events["ts_ns"].max()
    )
    tables["events"] = pd.concat([events, again], ignore_index=True)


def _row_of_past(tables: Tables, number: int) -> int:
    row, events = tables["past"].iloc[number], tables["events"]
    return int(events.index[(events["market"] == row["market"]) & (events["seq"] == row["seq"])][0])


# Stream


@PLANTS.caught_by("stream-equals-ledger")
def message_differs_from_the_ledger(tables: Tables) -> None:
    event = json.loads(tables["stream"]["event"].iloc[4]) | {"qty": 999}
    edits.change(tables, "stream", 4, event=json.dumps(event))


@PLANTS.caught_by("stream-equals-ledger")
def message_is_no_json(tables: Tables) -> None:
    edits.change(tables, "stream", 4, event="{")


@PLANTS.caught_by("stream-equals-ledger", "stream-in-order")
def message_of_an_event_that_the_ledger_lacks(tables: Tables) -> None:
    last = tables["stream"].iloc[-1].to_dict()
    event = json.loads(last["event"]) | {"seq": last["seq"] + 5}
    row = last | {"seq": last["seq"] + 5, "event": json.dumps(event)}
    tables["stream"] = pd.concat([tables["stream"], pd.DataFrame([row])], ignore_index=True)


@PLANTS.caught_by("stream-equals-ledger", "stream-in-order")
def message_is_missing(tables: Tables) -> None:
    edits.drop(tables, "stream", 6)


@PLANTS.caught_by("stream-equals-ledger")
def open_stream_goes_silent(tables: Tables) -> None:
    """The subscriber stays connected for another hour and receives nothing."""
    stream = tables["stream"]
    tables["stream"] = stream[stream["seq"] < 10].reset_index(drop=True)
    dials = tables["connections"]
    tables["connections"] = dials.drop_duplicates("symbol").assign(closed_ns=dials["opened_ns"] + 3_600 * 10**9)


@PLANTS.caught_by("stream-in-order")
def message_comes_twice(tables: Tables) -> None:
    stream = tables["stream"]
    again = stream.iloc[[2]].assign(received_ns=stream["received_ns"].iloc[2] + 1)
    tables["stream"] = pd.concat([stream, again], ignore_index=True)


@PLANTS.caught_by("stream-in-order")
def message_comes_again_after_a_reconnect(tables: Tables) -> None:
    last = tables["stream"].iloc[[-1]]
    again = last.assign(connection=last["connection"] + 1, received_ns=last["received_ns"] + 1000)
    tables["stream"] = pd.concat([tables["stream"], again], ignore_index=True)


# Reads


@PLANTS.caught_by("read-your-writes")
def acknowledged_order_is_not_found(tables: Tables) -> None:
    order = json.loads(edits.row(tables, "attempts", op="order", outcome="ok")["reply"])["orderId"]
    edits.add_read(tables, order, status=404, outcome="fail", reply="{}")


@PLANTS.caught_by("read-your-writes")
def another_order_is_read(tables: Tables) -> None:
    order = json.loads(edits.row(tables, "attempts", op="order", outcome="ok")["reply"])["orderId"]
    edits.add_read(tables, order, reply=json.dumps({"orderId": "other", "status": "OPEN", "filledQty": 0}))


@PLANTS.caught_by("reads-as-ordered")
def order_is_read_with_another_quantity(tables: Tables) -> None:
    read = edits.row(tables, "attempts", op="get_order", status=200)
    body = json.loads(read["reply"])
    edits.add_read(tables, read["order_id"], reply=json.dumps(body | {"qty": body["qty"] + 1}))


@PLANTS.caught_by("monotone-reads")
def filled_quantity_goes_back(tables: Tables) -> None:
    filled = edits.row(tables, "orders", status="FILLED")
    for status, lots in (("FILLED", int(filled["filled_qty"])), ("OPEN", 0)):
        edits.add_read(
            tables,
            filled["order_id"],
            reply=json.dumps({"orderId": filled["order_id"], "status": status, "filledQty": lots}),
        )


@PLANTS.caught_by("monotone-reads")
def final_status_changes_into_another(tables: Tables) -> None:
    order = edits.row(tables, "orders", status="CANCELLED")["order_id"]
    for status in ("CANCELLED", "FILLED"):
        edits.add_read(tables, order, reply=json.dumps({"orderId": order, "status": status, "filledQty": 0}))


@PLANTS.caught_by("monotone-reads")
def client_read_more_than_is_stored(tables: Tables) -> None:
    order = edits.row(tables, "orders", status="OPEN")["order_id"]
    edits.add_read(tables, order, reply=json.dumps({"orderId": order, "status": "PARTIALLY_FILLED", "filledQty": 1}))


# Quiescence


@PLANTS.caught_by("accepted-equals-sequenced")
def stored_order_was_never_sequenced(tables: Tables) -> None:
    row = {**tables["orders"].iloc[0].to_dict(), "order_id": "stuck", "idempotency_key": "stuck"}
    edits.add(tables, "orders", ORDER_COLUMNS, row)


@PLANTS.caught_by("outbox-empty")
def event_stays_in_the_outbox(tables: Tables) -> None:
    row = tables["orders"].iloc[0]
    left = {"market": row["market"], "event_id": "e1", "order_id": row["order_id"], "accepted_ns": row["accepted_ns"]}
    tables["outbox"] = pd.DataFrame([left])
