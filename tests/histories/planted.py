"""One planted anomaly each: golden tables in, the same tables with one thing wrong out, and who must notice.

A plant is a small edit of the golden history, so that the check is not helped by anything else being odd.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pandas as pd

from kit.model import ATTEMPT_COLUMNS, LEDGER_EVENT_COLUMNS, ORDER_COLUMNS

Tables = dict[str, Any]
Plant = Callable[[Tables], None]

PLANTS: list[tuple[Plant, tuple[str, ...]]] = []


def caught_by(*names: str) -> Callable[[Plant], Plant]:
    """Each of the named checks must fail on what the plant makes."""

    def add(plant: Plant) -> Plant:
        PLANTS.append((plant, names))
        return plant

    return add


def _add(tables: Tables, name: str, columns: dict[str, str], row: dict[str, Any]) -> None:
    full = {column: row.get(column, "" if kind == "string" else 0) for column, kind in columns.items()}
    more = pd.DataFrame({column: pd.Series([full[column]], dtype=kind) for column, kind in columns.items()})
    tables[name] = pd.concat([tables[name], more], ignore_index=True)


def _event(tables: Tables, row: dict[str, Any], **changes: Any) -> None:
    """Append a ledger event at the end of its market."""
    events = tables["events"]
    market = events[events["market"] == (changes | row)["market"]]
    end = {"seq": market["seq"].max() + 1, "ts_ns": market["ts_ns"].max() + 1000}
    _add(tables, "events", LEDGER_EVENT_COLUMNS, {**row, **end, **changes})


def _rows(tables: Tables, name: str, **wanted: Any) -> Any:
    table = tables[name]
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table


def _row(tables: Tables, name: str, **wanted: Any) -> dict[str, Any]:
    return _rows(tables, name, **wanted).iloc[0].to_dict()


def _change(tables: Tables, name: str, index: int, **values: Any) -> None:
    for column, value in values.items():
        tables[name].loc[index, column] = value


def _change_first(tables: Tables, name: str, where: dict[str, Any], **values: Any) -> None:
    _change(tables, name, _rows(tables, name, **where).index[0], **values)


def _drop(tables: Tables, name: str, index: Any) -> None:
    tables[name] = tables[name].drop(index=index).reset_index(drop=True)


def _big_limit_fill(tables: Tables) -> dict[str, Any]:
    """A fill whose taker is a limit order."""
    limits = _rows(tables, "events", type="accepted", order_type="LIMIT")["order_id"]
    fills = _rows(tables, "events", type="fill")
    return fills[fills["taker_order_id"].isin(limits)].iloc[0].to_dict()


# Keys


@caught_by("exactly-once-per-key", "one-event-per-order", "no-double-fill", "no-over-fill")
def accepted_and_filled_twice(tables: Tables) -> None:
    fill = _row(tables, "events", type="fill")
    _event(tables, _row(tables, "events", type="accepted", order_id=fill["taker_order_id"]), event_id="again")
    _event(tables, fill, event_id="again", trade_id="again")


@caught_by("no-double-fill", "exactly-once-per-key")
def retry_under_a_new_order_id_is_filled_again(tables: Tables) -> None:
    fill = _row(tables, "events", type="fill")
    accepted = _row(tables, "events", type="accepted", order_id=fill["taker_order_id"])
    _event(tables, accepted, event_id="again", order_id="again")
    _event(tables, fill, event_id="again", trade_id="again", taker_order_id="again")


@caught_by("exactly-once-per-key")
def stored_twice_under_one_key(tables: Tables) -> None:
    _add(tables, "orders", ORDER_COLUMNS, {**tables["orders"].iloc[0].to_dict(), "order_id": "again"})


def _answered_twice(tables: Tables) -> Any:
    """The ok attempts of an order that was answered at least twice."""
    good = _rows(tables, "attempts", op="order", outcome="ok")
    good = good[good["kind"] != "probe_reuse"]
    return good[good["idempotency_key"] == good["idempotency_key"].value_counts().index[0]]


@caught_by("idempotent-replies")
def retry_is_answered_with_another_order(tables: Tables) -> None:
    row = _answered_twice(tables).iloc[-1]
    body = json.loads(row["reply"]) | {"orderId": "other"}
    _change(tables, "attempts", row.name, reply=json.dumps(body))


@caught_by("idempotent-replies")
def retry_is_refused_although_the_first_was_accepted(tables: Tables) -> None:
    row = _answered_twice(tables).iloc[-1]
    _change(tables, "attempts", row.name, status=409, outcome="fail", reply="{}")


@caught_by("idempotent-replies")
def late_answer_is_about_another_order(tables: Tables) -> None:
    attempts = tables["attempts"]
    answered = attempts[(attempts["op"] == "order") & (attempts["outcome"] == "ok")]["idempotency_key"]
    late = attempts[(attempts["late_status"] > 0) & attempts["idempotency_key"].isin(answered)].iloc[0]
    _change(tables, "attempts", late.name, reply=json.dumps(json.loads(late["reply"]) | {"orderId": "other"}))


@caught_by("reused-key-refused")
def reused_key_is_accepted(tables: Tables) -> None:
    _change_first(tables, "attempts", {"kind": "probe_reuse", "status": 409}, status=201, outcome="ok")


# Acknowledged


@caught_by("acknowledged-never-lost", "gap-free-sequence", "accepted-equals-sequenced", "order-state-equals-fills")
def acknowledged_order_is_not_in_the_ledger(tables: Tables) -> None:
    acked = _rows(tables, "attempts", op="order", outcome="ok")["idempotency_key"]
    events = _rows(tables, "events", type="accepted")
    market_end = tables["events"].groupby("market")["seq"].transform("max")
    lost = events[events["idempotency_key"].isin(acked) & (events["seq"] < market_end[events.index])]
    _drop(tables, "events", lost.index[0])


@caught_by("acknowledged-never-lost")
def late_acknowledgement_is_not_in_the_ledger(tables: Tables) -> None:
    attempts = tables["attempts"]
    late = attempts[(attempts["late_status"] == 201) & (attempts["op"] == "order")]
    key = late["idempotency_key"].iloc[0]
    _drop(tables, "events", _rows(tables, "events", type="accepted", idempotency_key=key).index)
    # The late answer is then all that its client ever heard.
    index = attempts[(attempts["idempotency_key"] == key) & (attempts["outcome"] == "ok")].index
    tables["attempts"].loc[index, "outcome"] = "info"
    tables["attempts"].loc[index, "status"] = 0


@caught_by("no-phantom-orders")
def order_that_nobody_sent(tables: Tables) -> None:
    row = _row(tables, "events", type="accepted")
    _event(tables, row, event_id="ghost", order_id="ghost", idempotency_key="ghost")


@caught_by("no-phantom-orders")
def order_without_a_key(tables: Tables) -> None:
    _event(tables, _row(tables, "events", type="accepted"), event_id="ghost", order_id="ghost", idempotency_key="")


@caught_by("refused-has-no-effect")
def refused_order_is_in_the_ledger(tables: Tables) -> None:
    row = _row(tables, "events", type="accepted")
    attempts = tables["attempts"]
    mine = (attempts["client_id"] == row["client_id"]) & (attempts["idempotency_key"] == row["idempotency_key"])
    for column, value in {"outcome": "fail", "status": 0, "error": "refused", "late_status": 0, "reply": ""}.items():
        tables["attempts"].loc[mine, column] = value


@caught_by("sequenced-as-sent", "acknowledged-as-sequenced")
def sequenced_with_another_quantity(tables: Tables) -> None:
    acked = _rows(tables, "attempts", op="order", outcome="ok")["idempotency_key"]
    events = _rows(tables, "events", type="accepted")
    row = events[events["idempotency_key"].isin(acked)].iloc[0]
    _change(tables, "events", row.name, qty=row["qty"] + 1)


@caught_by("sequenced-as-sent")
def sequenced_under_an_order_id_that_was_never_sent(tables: Tables) -> None:
    _change_first(tables, "events", {"type": "accepted"}, order_id="other")


@caught_by("acknowledged-as-sequenced")
def acknowledged_at_another_price(tables: Tables) -> None:
    row = _rows(tables, "attempts", op="order", outcome="ok", type="LIMIT").iloc[0]
    body = json.loads(row["reply"]) | {"price": 1}
    for index in _rows(tables, "attempts", idempotency_key=row["idempotency_key"], outcome="ok").index:
        _change(tables, "attempts", index, reply=json.dumps(body))


@caught_by("acknowledged-as-sequenced")
def acknowledged_with_a_body_that_is_no_json(tables: Tables) -> None:
    _change_first(tables, "attempts", {"op": "order", "outcome": "ok"}, reply="<html>")


# Sequence and replay


@caught_by("gap-free-sequence")
def one_number_is_missing(tables: Tables) -> None:
    _drop(tables, "events", tables["events"].index[3])


@caught_by("gap-free-sequence")
def one_number_is_given_twice(tables: Tables) -> None:
    _change(tables, "events", 5, seq=tables["events"]["seq"].iloc[5] - 1)


@caught_by("gap-free-sequence")
def ledger_starts_late(tables: Tables) -> None:
    tables["events"] = tables["events"][tables["events"]["seq"] > 1].reset_index(drop=True)


@caught_by("price-time-replay")
def younger_order_is_served_first(tables: Tables) -> None:
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
        _add(tables, "events", LEDGER_EVENT_COLUMNS, base | row | {"seq": seq})


@caught_by("price-time-replay")
def fill_that_should_have_happened_is_missing(tables: Tables) -> None:
    younger_order_is_served_first(tables)
    _drop(tables, "events", 3)


@caught_by("price-time-replay", "fills-are-legal")
def trade_at_another_price(tables: Tables) -> None:
    row = _big_limit_fill(tables)
    index = _rows(tables, "events", trade_id=row["trade_id"]).index[0]
    _change(tables, "events", index, price=row["price"] + 7)


@caught_by("price-time-replay")
def cancel_is_refused_although_the_order_rests(tables: Tables) -> None:
    index = _rows(tables, "events", type="cancelled", reason="client").index[0]
    _change(tables, "events", index, type="rejected", command="cancel", reason="AlreadyDone", qty=0)


# Fills


@caught_by("pair-trades-once", "trade-ids-unique", "price-time-replay")
def trade_is_written_twice(tables: Tables) -> None:
    _event(tables, _row(tables, "events", type="fill"))


@caught_by("trade-ids-unique")
def trade_without_an_id(tables: Tables) -> None:
    _change_first(tables, "events", {"type": "fill"}, trade_id="")


@caught_by("fill-parties-exist")
def trade_with_an_order_that_does_not_exist(tables: Tables) -> None:
    _change_first(tables, "events", {"type": "fill"}, maker_order_id="ghost")


@caught_by("fill-parties-exist")
def trade_names_the_wrong_client(tables: Tables) -> None:
    _change_first(tables, "events", {"type": "fill"}, taker_client_id="c999")


@caught_by("fills-are-legal")
def both_orders_buy(tables: Tables) -> None:
    fill = _row(tables, "events", type="fill")
    side = _row(tables, "events", type="accepted", order_id=fill["taker_order_id"])["side"]
    _change_first(tables, "events", {"type": "accepted", "order_id": fill["maker_order_id"]}, side=side)


@caught_by("fills-are-legal")
def client_trades_with_itself(tables: Tables) -> None:
    fill = _row(tables, "events", type="fill")
    client = fill["taker_client_id"]
    _change_first(tables, "events", {"type": "accepted", "order_id": fill["maker_order_id"]}, client_id=client)
    _change_first(tables, "events", {"type": "fill"}, maker_client_id=client)


@caught_by("fills-are-legal", "no-over-fill")
def trade_of_no_lots(tables: Tables) -> None:
    _change_first(tables, "events", {"type": "fill"}, qty=0)


@caught_by("trades-within-orders")
def more_trades_than_orders(tables: Tables) -> None:
    fills = _rows(tables, "events", type="fill")
    market = fills[fills["market"] == fills["market"].iloc[0]]
    again = [market.assign(seq=market["seq"] + 1000 * lap, trade_id=f"{lap}-" + market["trade_id"]) for lap in range(5)]
    tables["events"] = pd.concat([tables["events"], *again], ignore_index=True)


# Cancels


@caught_by("no-fill-after-cancel")
def cancelled_order_trades(tables: Tables) -> None:
    cancelled = _row(tables, "events", type="cancelled", reason="client")
    fill = _row(tables, "events", type="fill", market=cancelled["market"])
    _event(tables, fill, maker_order_id=cancelled["order_id"], trade_id="after")


@caught_by("cancelled-or-filled")
def lot_is_filled_and_cancelled(tables: Tables) -> None:
    index = _rows(tables, "events", type="cancelled", reason="ioc").index[0]
    _change(tables, "events", index, qty=tables["events"]["qty"].loc[index] + 1)


@caught_by("cancel-takes-effect-once")
def cancel_is_carried_out_and_refused(tables: Tables) -> None:
    row = _row(tables, "events", type="cancelled", reason="client")
    _event(tables, row, type="rejected", command="cancel", reason="AlreadyDone", qty=0)


@caught_by("cancel-takes-effect-once")
def cancel_is_refused_twice(tables: Tables) -> None:
    _event(tables, _row(tables, "events", type="rejected", command="cancel"), event_id="again")


@caught_by("acknowledged-cancel-never-lost")
def acknowledged_cancel_leaves_no_trace(tables: Tables) -> None:
    key = _row(tables, "attempts", op="cancel", status=202)["idempotency_key"]
    _drop(tables, "events", _rows(tables, "events", idempotency_key=key).index)


# Conservation


@caught_by("order-state-equals-fills")
def stored_quantity_is_off_by_one(tables: Tables) -> None:
    _change_first(tables, "orders", {"status": "FILLED"}, filled_qty=0)


@caught_by("order-state-equals-fills")
def stored_status_is_wrong(tables: Tables) -> None:
    _change_first(tables, "orders", {"status": "FILLED"}, status="CANCELLED")


@caught_by("order-state-equals-fills")
def sequenced_order_is_not_stored(tables: Tables) -> None:
    _drop(tables, "orders", 0)


@caught_by("positions-equal-fills", "balances-sum-to-zero")
def lot_from_nowhere(tables: Tables) -> None:
    _change(tables, "positions", 0, qty=tables["positions"]["qty"].iloc[0] + 1)


@caught_by("positions-equal-fills", "balances-sum-to-zero")
def cash_from_nowhere(tables: Tables) -> None:
    _change(tables, "positions", 1, cash=tables["positions"]["cash"].iloc[1] - 1)


@caught_by("positions-equal-fills")
def balance_is_missing(tables: Tables) -> None:
    held = tables["positions"]
    _drop(tables, "positions", held[held["qty"] != 0].index[0])


# Stream


@caught_by("stream-equals-ledger")
def message_differs_from_the_ledger(tables: Tables) -> None:
    event = json.loads(tables["stream"]["event"].iloc[4]) | {"qty": 999}
    _change(tables, "stream", 4, event=json.dumps(event))


@caught_by("stream-equals-ledger")
def message_is_no_json(tables: Tables) -> None:
    _change(tables, "stream", 4, event="{")


@caught_by("stream-equals-ledger", "stream-in-order")
def message_of_an_event_that_the_ledger_lacks(tables: Tables) -> None:
    last = tables["stream"].iloc[-1].to_dict()
    event = json.loads(last["event"]) | {"seq": last["seq"] + 5}
    row = last | {"seq": last["seq"] + 5, "event": json.dumps(event)}
    tables["stream"] = pd.concat([tables["stream"], pd.DataFrame([row])], ignore_index=True)


@caught_by("stream-equals-ledger", "stream-in-order")
def message_is_missing(tables: Tables) -> None:
    _drop(tables, "stream", 6)


@caught_by("stream-equals-ledger")
def open_stream_goes_silent(tables: Tables) -> None:
    """The subscriber listens for an hour more and hears nothing of what the ledger holds."""
    stream = tables["stream"]
    tables["stream"] = stream[stream["seq"] < 10].reset_index(drop=True)
    dials = tables["connections"]
    tables["connections"] = dials.drop_duplicates("symbol").assign(closed_ns=dials["opened_ns"] + 3_600 * 10**9)


@caught_by("stream-in-order")
def message_comes_twice(tables: Tables) -> None:
    stream = tables["stream"]
    again = stream.iloc[[2]].assign(received_ns=stream["received_ns"].iloc[2] + 1)
    tables["stream"] = pd.concat([stream, again], ignore_index=True)


@caught_by("stream-in-order")
def message_comes_again_after_a_reconnect(tables: Tables) -> None:
    last = tables["stream"].iloc[[-1]]
    again = last.assign(connection=last["connection"] + 1, received_ns=last["received_ns"] + 1000)
    tables["stream"] = pd.concat([tables["stream"], again], ignore_index=True)


# Reads


def _read(tables: Tables, after: str, **fields: Any) -> None:
    """One more GET of the order that `after` names, at the end of the history."""
    now = int(tables["attempts"]["completed_ns"].max()) + 10**9
    row = {"op": "get_order", "kind": "first", "order_id": after, "outcome": "ok", "status": 200}
    times = {"intended_ns": now, "invoked_ns": now, "completed_ns": now + 1000}
    _add(tables, "attempts", ATTEMPT_COLUMNS, row | times | fields)


@caught_by("read-your-writes")
def acknowledged_order_is_not_found(tables: Tables) -> None:
    order = json.loads(_row(tables, "attempts", op="order", outcome="ok")["reply"])["orderId"]
    _read(tables, order, status=404, outcome="fail", reply="{}")


@caught_by("read-your-writes")
def another_order_is_read(tables: Tables) -> None:
    order = json.loads(_row(tables, "attempts", op="order", outcome="ok")["reply"])["orderId"]
    _read(tables, order, reply=json.dumps({"orderId": "other", "status": "OPEN", "filledQty": 0}))


@caught_by("monotone-reads")
def filled_quantity_goes_back(tables: Tables) -> None:
    filled = _row(tables, "orders", status="FILLED")
    for status, lots in (("FILLED", int(filled["filled_qty"])), ("OPEN", 0)):
        _read(
            tables,
            filled["order_id"],
            reply=json.dumps({"orderId": filled["order_id"], "status": status, "filledQty": lots}),
        )


@caught_by("monotone-reads")
def end_changes_into_another_end(tables: Tables) -> None:
    order = _row(tables, "orders", status="CANCELLED")["order_id"]
    for status in ("CANCELLED", "FILLED"):
        _read(tables, order, reply=json.dumps({"orderId": order, "status": status, "filledQty": 0}))


@caught_by("monotone-reads")
def client_read_more_than_is_stored(tables: Tables) -> None:
    order = _row(tables, "orders", status="OPEN")["order_id"]
    _read(tables, order, reply=json.dumps({"orderId": order, "status": "PARTIALLY_FILLED", "filledQty": 1}))


# Quiescence


@caught_by("accepted-equals-sequenced")
def stored_order_was_never_sequenced(tables: Tables) -> None:
    row = {**tables["orders"].iloc[0].to_dict(), "order_id": "stuck", "idempotency_key": "stuck"}
    _add(tables, "orders", ORDER_COLUMNS, row)


@caught_by("outbox-empty")
def event_stays_in_the_outbox(tables: Tables) -> None:
    row = tables["orders"].iloc[0]
    left = {"market": row["market"], "event_id": "e1", "order_id": row["order_id"], "accepted_ns": row["accepted_ns"]}
    tables["outbox"] = pd.DataFrame([left])
