"""Plant anomalies that keep all totals: two values are swapped, or one is slightly changed."""

from __future__ import annotations

import json
from typing import Any

from tests.histories import edits
from tests.histories.edits import Plants, Tables

PLANTS = Plants()


def _acknowledged(tables: Tables) -> Any:
    """The order attempts with a 2xx."""
    return edits.rows(tables, "attempts", op="order", outcome="ok")


def _answer(tables: Tables, key: str, **fields: Any) -> None:
    """Every answer under the key says these fields."""
    attempts = tables["attempts"]
    mine = attempts[(attempts["idempotency_key"] == key) & attempts["reply"].str.startswith('{"orderId"')]
    for index, reply in mine["reply"].items():
        edits.change(tables, "attempts", index, reply=json.dumps(json.loads(reply) | fields))


# Answers


@PLANTS.caught_by("acknowledged-as-sequenced")
def answers_of_two_clients_change_places(tables: Tables) -> None:
    acked = _acknowledged(tables).drop_duplicates("client_id")
    for own, other in ((0, 1), (1, 0)):
        named = json.loads(acked["reply"].iloc[other])["orderId"]
        _answer(tables, acked["idempotency_key"].iloc[own], orderId=named)


@PLANTS.caught_by("acknowledged-as-sequenced")
def answer_names_another_client(tables: Tables) -> None:
    _answer(tables, _acknowledged(tables)["idempotency_key"].iloc[0], clientId="c999")


@PLANTS.caught_by("acknowledged-as-sequenced")
def answer_names_another_key(tables: Tables) -> None:
    _answer(tables, _acknowledged(tables)["idempotency_key"].iloc[0], idempotencyKey="k999")


@PLANTS.caught_by("reads-as-ordered")
def read_names_another_client(tables: Tables) -> None:
    read = edits.row(tables, "attempts", op="get_order", status=200)
    edits.add_read(tables, read["order_id"], reply=json.dumps(json.loads(read["reply"]) | {"clientId": "c999"}))


@PLANTS.caught_by("reused-key-refused")
def reused_key_at_another_price_is_taken_for_a_retry(tables: Tables) -> None:
    row = edits.row(tables, "attempts", op="order", kind="reuse_key", status=409)
    first = edits.row(tables, "attempts", idempotency_key=row["idempotency_key"], kind="first")
    content = {"qty": first["qty"], "price": first["price"] + 1, "order_id": first["order_id"]}
    edits.change_first(tables, "attempts", {"op_id": row["op_id"]}, status=200, outcome="ok", reply="{}", **content)


@PLANTS.caught_by("reused-key-refused")
def reused_key_is_refused_for_its_order_id(tables: Tables) -> None:
    where = {"kind": "reuse_key", "status": 409}
    edits.change_first(tables, "attempts", where, reply=json.dumps({"error": "OrderIdReused"}))


REFUSED_AS_REUSED = {"status": 409, "outcome": "fail", "reply": json.dumps({"error": "IdempotencyKeyReused"})}


@PLANTS.caught_by("unused-key-not-refused")
def order_is_refused_because_of_the_key_of_another_client(tables: Tables) -> None:
    row = edits.row(tables, "attempts", op="order", kind="first", outcome="ok")
    theirs = {"client_id": f"{row['client_id']}-other", "order_id": "theirs", "qty": row["qty"] + 1}
    edits.add_attempt(tables, row | theirs | {"op_id": len(tables["attempts"])} | REFUSED_AS_REUSED)


@PLANTS.caught_by("unused-key-not-refused")
def cancel_is_refused_because_of_the_key_of_another_client(tables: Tables) -> None:
    row = edits.row(tables, "attempts", op="cancel", status=202)
    theirs = {"client_id": f"{row['client_id']}-other", "op_id": len(tables["attempts"])}
    edits.add_attempt(tables, row | theirs | REFUSED_AS_REUSED)


@PLANTS.caught_by("unused-key-not-refused", "idempotent-replies")
def retry_is_taken_for_other_content(tables: Tables) -> None:
    probed = edits.rows(tables, "attempts", kind="reuse_key")["idempotency_key"]
    attempts = edits.rows(tables, "attempts", op="order", kind="first", outcome="ok")
    row = attempts[~attempts["idempotency_key"].isin(probed)].iloc[0].to_dict()
    again = {"kind": "retry", "op_id": len(tables["attempts"])}
    edits.add_attempt(tables, row | again | REFUSED_AS_REUSED)


@PLANTS.caught_by("idempotent-replies")
def cancel_is_answered_otherwise_the_second_time(tables: Tables) -> None:
    row = edits.row(tables, "attempts", op="cancel", status=202)
    other = json.dumps(json.loads(row["reply"]) | {"orderId": "other"})
    edits.add_attempt(tables, row | {"attempt": 2, "kind": "retry", "status": 200, "reply": other})


@PLANTS.caught_by("idempotent-replies")
def acknowledged_cancel_is_refused_the_second_time(tables: Tables) -> None:
    row = edits.row(tables, "attempts", op="cancel", status=202)
    edits.add_attempt(tables, row | {"attempt": 2, "kind": "retry", "status": 404, "outcome": "fail", "reply": "{}"})


# What was sequenced


@PLANTS.caught_by("sequenced-as-sent")
def time_in_force_is_ignored(tables: Tables) -> None:
    edits.change_first(tables, "events", {"type": "accepted", "order_type": "LIMIT", "tif": "IOC"}, tif="GTC")


@PLANTS.caught_by("sequenced-as-sent")
def order_goes_to_another_market(tables: Tables) -> None:
    """Intake, ledger and answer agree, but the client sent another market."""
    key = edits.row(tables, "events", type="accepted", market="ACME")["idempotency_key"]
    attempts = tables["attempts"]
    attempts.loc[(attempts["idempotency_key"] == key) & (attempts["op"] == "order"), "symbol"] = "BOLT"


@PLANTS.caught_by("fills-are-legal", "price-time-replay")
def taker_and_maker_change_places(tables: Tables) -> None:
    fill = edits.row(tables, "events", type="fill")
    way = {"taker": "maker", "maker": "taker"}
    swapped = {f"{a}_{what}": fill[f"{b}_{what}"] for a, b in way.items() for what in ("order_id", "client_id")}
    side = "SELL" if fill["taker_side"] == "BUY" else "BUY"
    edits.change_first(tables, "events", {"trade_id": fill["trade_id"]}, taker_side=side, **swapped)


@PLANTS.caught_by("price-time-replay")
def trade_is_credited_to_another_maker(tables: Tables) -> None:
    fill = edits.row(tables, "events", type="fill")
    accepted = edits.rows(tables, "events", type="accepted", market=fill["market"])
    others = accepted[~accepted["order_id"].isin([fill["maker_order_id"], fill["taker_order_id"]])]
    other = others.iloc[0]
    parties = {"maker_order_id": other["order_id"], "maker_client_id": other["client_id"]}
    edits.change_first(tables, "events", {"trade_id": fill["trade_id"]}, **parties)


@PLANTS.caught_by("fills-are-legal")
def trade_belongs_to_another_event(tables: Tables) -> None:
    edits.change_first(tables, "events", {"type": "fill"}, event_id="other")


@PLANTS.caught_by("price-time-replay", "order-state-equals-fills")
def market_order_rests(tables: Tables) -> None:
    """What is left of it is not cancelled."""
    off = edits.rows(tables, "events", type="cancelled", reason="ioc", order_type="MARKET")
    edits.drop(tables, "events", off.index[0])
    edits.renumber(tables)


@PLANTS.caught_by("price-time-replay", "order-state-equals-fills")
def rest_of_an_order_is_lost_and_marked_cancelled(tables: Tables) -> None:
    """A GTC order that traded in part is treated as IOC."""
    off = edits.row(tables, "events", type="cancelled", reason="client")
    edits.change_first(tables, "events", {"type": "cancelled", "event_id": off["event_id"]}, reason="ioc")
    order = edits.row(tables, "orders", status="OPEN")
    edits.add_event(tables, off, order_id=order["order_id"], market=order["market"], reason="ioc", qty=order["qty"])


@PLANTS.caught_by("gap-free-sequence")
def sequence_starts_again_after_a_restart(tables: Tables) -> None:
    events = tables["events"]
    half = events.groupby("market")["seq"].transform("max") // 2
    events["seq"] = events["seq"].where(events["seq"] <= half, events["seq"] - half)


@PLANTS.caught_by("no-phantom-cancels")
def client_cancel_without_a_key(tables: Tables) -> None:
    edits.change_first(tables, "events", {"type": "cancelled", "reason": "client"}, idempotency_key="")


@PLANTS.caught_by("cancels-follow-orders")
def cancel_is_sequenced_before_its_order(tables: Tables) -> None:
    """It is refused as UnknownOrder, which a replay of the ledger expects too."""
    fields = {"type": "rejected", "command": "cancel", "reason": "UnknownOrder", "qty": 0}
    off = edits.row(tables, "events", type="cancelled", reason="client")
    edits.drop(tables, "events", edits.rows(tables, "events", event_id=off["event_id"]).index)
    edits.renumber(tables)
    events = tables["events"]
    mine = events["market"] == off["market"]
    events.loc[mine, "seq"] += 1
    first = events[mine & (events["seq"] == 2)].iloc[0]
    edits.add_event(tables, off, **fields, seq=1, ts_ns=first["ts_ns"])


# What is kept


@PLANTS.caught_by("stored-as-sequenced")
def stored_at_another_price(tables: Tables) -> None:
    row = edits.row(tables, "orders", order_type="LIMIT")
    edits.change_first(tables, "orders", {"order_id": row["order_id"]}, price=row["price"] + 1)


@PLANTS.caught_by("stored-as-sequenced")
def stored_for_another_client(tables: Tables) -> None:
    edits.change(tables, "orders", 0, client_id="c999")


@PLANTS.caught_by("positions-equal-fills")
def balances_of_two_clients_change_places(tables: Tables) -> None:
    held = edits.rows(tables, "positions", market="ACME")
    one, other = held[held["qty"] != 0].drop_duplicates("qty").index[:2]
    clients = tables["positions"]["client_id"]
    names = {"one": clients[other], "other": clients[one]}
    edits.change(tables, "positions", one, client_id=names["one"])
    edits.change(tables, "positions", other, client_id=names["other"])


@PLANTS.caught_by("positions-equal-fills")
def lot_moves_from_one_client_to_another(tables: Tables) -> None:
    """The sum over all clients stays zero."""
    held = edits.rows(tables, "positions", market="ACME")
    for index, lots in zip(held.index[:2], (1, -1), strict=True):
        edits.change(tables, "positions", index, qty=held["qty"][index] + lots)
