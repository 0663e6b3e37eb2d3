"""Plant anomalies in orders and their acknowledgements: keys, lost, invented and altered orders."""

from __future__ import annotations

import json
from typing import Any

from kit.model import ORDER_COLUMNS
from tests.histories import edits
from tests.histories.edits import Plants, Tables

PLANTS = Plants()


# Keys


@PLANTS.caught_by("exactly-once-per-key", "one-event-per-order", "no-double-fill", "no-over-fill")
def accepted_and_filled_twice(tables: Tables) -> None:
    fill = edits.row(tables, "events", type="fill")
    edits.add_event(
        tables, edits.row(tables, "events", type="accepted", order_id=fill["taker_order_id"]), event_id="again"
    )
    edits.add_event(tables, fill, event_id="again", trade_id="again")


@PLANTS.caught_by("no-double-fill", "exactly-once-per-key")
def retry_under_a_new_order_id_is_filled_again(tables: Tables) -> None:
    fill = edits.row(tables, "events", type="fill")
    accepted = edits.row(tables, "events", type="accepted", order_id=fill["taker_order_id"])
    edits.add_event(tables, accepted, event_id="again", order_id="again")
    edits.add_event(tables, fill, event_id="again", trade_id="again", taker_order_id="again")


@PLANTS.caught_by("exactly-once-per-key")
def stored_twice_under_one_key(tables: Tables) -> None:
    edits.add(tables, "orders", ORDER_COLUMNS, {**tables["orders"].iloc[0].to_dict(), "order_id": "again"})


def _answered_twice(tables: Tables) -> Any:
    """The ok attempts of an order that was answered at least twice."""
    good = edits.rows(tables, "attempts", op="order", outcome="ok")
    good = good[good["kind"] != "reuse_key"]
    return good[good["idempotency_key"] == good["idempotency_key"].value_counts().index[0]]


@PLANTS.caught_by("idempotent-replies")
def retry_is_answered_with_another_order(tables: Tables) -> None:
    row = _answered_twice(tables).iloc[-1]
    body = json.loads(row["reply"]) | {"orderId": "other"}
    edits.change(tables, "attempts", row.name, reply=json.dumps(body))


@PLANTS.caught_by("idempotent-replies")
def retry_is_refused_although_the_first_was_accepted(tables: Tables) -> None:
    row = _answered_twice(tables).iloc[-1]
    edits.change(tables, "attempts", row.name, status=409, outcome="fail", reply="{}")


@PLANTS.caught_by("idempotent-replies")
def late_answer_is_about_another_order(tables: Tables) -> None:
    attempts = tables["attempts"]
    answered = attempts[(attempts["op"] == "order") & (attempts["outcome"] == "ok")]["idempotency_key"]
    late = attempts[(attempts["late_status"] > 0) & attempts["idempotency_key"].isin(answered)].iloc[0]
    edits.change(tables, "attempts", late.name, reply=json.dumps(json.loads(late["reply"]) | {"orderId": "other"}))


@PLANTS.caught_by("reused-key-refused")
def reused_key_is_accepted(tables: Tables) -> None:
    where = {"op": "order", "kind": "reuse_key", "status": 409}
    edits.change_first(tables, "attempts", where, status=201, outcome="ok")


@PLANTS.caught_by("reused-key-refused")
def reused_key_of_a_cancel_is_accepted(tables: Tables) -> None:
    where = {"op": "cancel", "kind": "reuse_key", "status": 409}
    edits.change_first(tables, "attempts", where, status=200, outcome="ok", reply="{}")


# Acknowledged


@PLANTS.caught_by(
    "acknowledged-never-lost", "gap-free-sequence", "accepted-equals-sequenced", "order-state-equals-fills"
)
def acknowledged_order_is_not_in_the_ledger(tables: Tables) -> None:
    acked = edits.rows(tables, "attempts", op="order", outcome="ok")["idempotency_key"]
    events = edits.rows(tables, "events", type="accepted")
    market_end = tables["events"].groupby("market")["seq"].transform("max")
    lost = events[events["idempotency_key"].isin(acked) & (events["seq"] < market_end[events.index])]
    edits.drop(tables, "events", lost.index[0])


@PLANTS.caught_by("acknowledged-never-lost")
def late_acknowledgement_is_not_in_the_ledger(tables: Tables) -> None:
    attempts = tables["attempts"]
    late = attempts[(attempts["late_status"] == 201) & (attempts["op"] == "order")]
    key = late["idempotency_key"].iloc[0]
    edits.drop(tables, "events", edits.rows(tables, "events", type="accepted", idempotency_key=key).index)
    # Only the late answer acknowledges the order then.
    index = attempts[(attempts["idempotency_key"] == key) & (attempts["outcome"] == "ok")].index
    tables["attempts"].loc[index, "outcome"] = "info"
    tables["attempts"].loc[index, "status"] = 0


@PLANTS.caught_by("no-phantom-orders")
def order_without_a_client(tables: Tables) -> None:
    row = edits.row(tables, "events", type="accepted")
    edits.add_event(tables, row, event_id="ghost", order_id="ghost", idempotency_key="ghost")


@PLANTS.caught_by("no-phantom-orders")
def order_without_a_key(tables: Tables) -> None:
    edits.add_event(
        tables, edits.row(tables, "events", type="accepted"), event_id="ghost", order_id="ghost", idempotency_key=""
    )


@PLANTS.caught_by("refused-has-no-effect")
def refused_order_is_in_the_ledger(tables: Tables) -> None:
    row = edits.row(tables, "events", type="accepted")
    attempts = tables["attempts"]
    mine = (attempts["client_id"] == row["client_id"]) & (attempts["idempotency_key"] == row["idempotency_key"])
    for column, value in {"outcome": "fail", "status": 0, "error": "refused", "late_status": 0, "reply": ""}.items():
        tables["attempts"].loc[mine, column] = value


@PLANTS.caught_by("sequenced-as-sent", "acknowledged-as-sequenced")
def sequenced_with_another_quantity(tables: Tables) -> None:
    acked = edits.rows(tables, "attempts", op="order", outcome="ok")["idempotency_key"]
    events = edits.rows(tables, "events", type="accepted")
    row = events[events["idempotency_key"].isin(acked)].iloc[0]
    edits.change(tables, "events", row.name, qty=row["qty"] + 1)


@PLANTS.caught_by("sequenced-as-sent")
def sequenced_under_an_order_id_that_was_never_sent(tables: Tables) -> None:
    edits.change_first(tables, "events", {"type": "accepted"}, order_id="other")


@PLANTS.caught_by("acknowledged-as-sequenced")
def acknowledged_at_another_price(tables: Tables) -> None:
    row = edits.rows(tables, "attempts", op="order", outcome="ok", type="LIMIT").iloc[0]
    body = json.loads(row["reply"]) | {"price": 1}
    for index in edits.rows(tables, "attempts", idempotency_key=row["idempotency_key"], outcome="ok").index:
        edits.change(tables, "attempts", index, reply=json.dumps(body))


@PLANTS.caught_by("acknowledged-as-sequenced")
def acknowledged_with_a_body_that_is_no_json(tables: Tables) -> None:
    edits.change_first(tables, "attempts", {"op": "order", "outcome": "ok"}, reply="<html>")


# Unknown outcomes


def _unknown(tables: Tables) -> Any:
    """The accepted event of an order whose outcome its client does not know."""
    attempts = tables["attempts"]
    sent = attempts[(attempts["op"] == "order") & (attempts["kind"] != "reuse_key")]
    answered = sent[(sent["outcome"] == "ok") | sent["late_status"].between(200, 299)]
    unknown = sent[(sent["outcome"] == "info") & ~sent["idempotency_key"].isin(answered["idempotency_key"])]
    events = edits.rows(tables, "events", type="accepted")
    return events[events["idempotency_key"].isin(unknown["idempotency_key"])].iloc[0].to_dict()


@PLANTS.caught_by("unknown-outcome-at-most-once", "exactly-once-per-key")
def unknown_order_is_sequenced_twice(tables: Tables) -> None:
    edits.add_event(tables, _unknown(tables), event_id="again", order_id="again")


@PLANTS.caught_by("unknown-outcome-at-most-once", "order-state-equals-fills")
def unknown_order_is_sequenced_but_not_stored(tables: Tables) -> None:
    key = _unknown(tables)["idempotency_key"]
    edits.drop(tables, "orders", edits.rows(tables, "orders", idempotency_key=key).index)


@PLANTS.caught_by("accepted-orders-legal")
def limit_order_without_a_price(tables: Tables) -> None:
    edits.change_first(tables, "events", {"type": "accepted", "order_type": "LIMIT"}, price=0)


@PLANTS.caught_by("accepted-orders-legal")
def order_of_no_lots(tables: Tables) -> None:
    edits.change_first(tables, "events", {"type": "accepted"}, qty=0)
