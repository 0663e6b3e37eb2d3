"""Anomalies of what is shown: streams, orders and books that were read, where the ledger itself is right."""

from __future__ import annotations

import json
from typing import Any

from tests.histories import edits
from tests.histories.edits import Plants, Tables

PLANTS = Plants()


# What subscribers hear


@PLANTS.caught_by("stream-equals-ledger")
def message_tells_the_wrong_clients_of_a_trade(tables: Tables) -> None:
    stream = tables["stream"]
    index = stream.index[stream["event"].str.contains('"type": "fill"')][0]
    event = json.loads(stream["event"][index])
    swapped = {"takerClientId": event["makerClientId"], "makerClientId": event["takerClientId"]}
    edits.change(tables, "stream", index, event=json.dumps(event | swapped))


@PLANTS.caught_by("stream-equals-ledger")
def message_is_of_another_market(tables: Tables) -> None:
    stream = tables["stream"]
    index = stream.index[stream["symbol"] == "ACME"][0]
    edits.change(tables, "stream", index, event=stream["event"][index].replace("ACME", "BOLT"))


# What clients read


@PLANTS.caught_by("reads-equal-ledger")
def read_shows_what_was_over_before_it_was_sent(tables: Tables) -> None:
    """The order's first state, long after a subscriber heard that it was filled; no other read of it is needed."""
    row = edits.row(tables, "orders", status="FILLED")
    edits.add_read(tables, row["order_id"], reply=_state(row, "OPEN", 0))


@PLANTS.caught_by("reads-equal-ledger")
def read_shows_a_state_that_never_was(tables: Tables) -> None:
    row = edits.row(tables, "orders", status="OPEN")
    edits.add_read(tables, row["order_id"], reply=_state(row, "CANCELLED", 0))


def _state(row: dict[str, Any], status: str, filled: int) -> str:
    names = {"symbol": "market", "side": "side", "type": "order_type", "tif": "tif", "qty": "qty", "price": "price"}
    said = {name: row[column] for name, column in names.items()}
    return json.dumps(said | {"orderId": row["order_id"], "status": status, "filledQty": filled})


def _book(tables: Tables) -> tuple[int, dict[str, Any]]:
    """The last book that was read with a level on either side, and what its answer says."""
    books = edits.rows(tables, "attempts", op="book")
    full = [index for index, reply in books["reply"].items() if json.loads(reply)["bids"] and json.loads(reply)["asks"]]
    return full[-1], json.loads(books["reply"][full[-1]])


@PLANTS.caught_by("book-equals-ledger")
def book_shows_a_lot_too_many(tables: Tables) -> None:
    index, said = _book(tables)
    said["bids"][0][1] += 1
    edits.change(tables, "attempts", index, reply=json.dumps(said))


@PLANTS.caught_by("book-equals-ledger")
def book_shows_an_order_too_few(tables: Tables) -> None:
    index, said = _book(tables)
    said["asks"][0][2] -= 1
    edits.change(tables, "attempts", index, reply=json.dumps(said))


@PLANTS.caught_by("book-equals-ledger")
def book_hides_its_best_price(tables: Tables) -> None:
    index, said = _book(tables)
    edits.change(tables, "attempts", index, reply=json.dumps(said | {"asks": said["asks"][1:]}))


@PLANTS.caught_by("book-equals-ledger")
def book_has_its_sides_mixed_up(tables: Tables) -> None:
    index, said = _book(tables)
    edits.change(tables, "attempts", index, reply=json.dumps(said | {"asks": said["bids"], "bids": said["asks"]}))


@PLANTS.caught_by("book-equals-ledger")
def book_is_of_another_market(tables: Tables) -> None:
    index, said = _book(tables)
    other = {"ACME": "BOLT", "BOLT": "ACME"}[said["symbol"]]
    edits.change(tables, "attempts", index, reply=json.dumps(said | {"symbol": other}))


@PLANTS.caught_by("book-equals-ledger")
def book_is_ahead_of_the_ledger(tables: Tables) -> None:
    index, said = _book(tables)
    edits.change(tables, "attempts", index, reply=json.dumps(said | {"seq": 10**6}))


@PLANTS.caught_by("monotone-books")
def book_is_read_again_as_it_was_before(tables: Tables) -> None:
    """Right for its place of the ledger, which others had long seen pass."""
    index, _ = _book(tables)
    edits.add_attempt(tables, tables["attempts"].loc[index].to_dict() | {"op_id": len(tables["attempts"])})


# What is nobody else's business


@PLANTS.caught_by("strangers-refused")
def stranger_is_shown_an_order(tables: Tables) -> None:
    index = edits.rows(tables, "attempts", op="get_order", status=403).index[0]
    order = edits.row(tables, "orders", order_id=tables["attempts"]["order_id"][index])
    reply = _state(order, order["status"], order["filled_qty"])
    edits.change(tables, "attempts", index, status=200, outcome="ok", reply=reply)


@PLANTS.caught_by("strangers-refused")
def stranger_is_told_that_its_cancel_is_on_its_way(tables: Tables) -> None:
    index = edits.rows(tables, "attempts", op="cancel", status=403).index[0]
    edits.change(tables, "attempts", index, status=202, outcome="ok", reply="{}")


@PLANTS.caught_by("strangers-refused")
def cancel_of_a_stranger_who_heard_nothing_is_carried_out(tables: Tables) -> None:
    """Under a key of its own: everything else fits it."""
    event = edits.rows(tables, "events", type="cancelled", reason="client").index[0]
    order, market = tables["events"]["order_id"][event], tables["events"]["market"][event]
    owner = edits.row(tables, "orders", order_id=order)["client_id"]
    stranger = next(client for client in tables["orders"]["client_id"] if client != owner)
    edits.change(tables, "events", event, client_id=stranger, idempotency_key="stranger")
    asked = {"op": "cancel", "client_id": stranger, "idempotency_key": "stranger", "order_id": order}
    edits.add_attempt(tables, asked | {"symbol": market, "outcome": "info", "error": "timeout"})
