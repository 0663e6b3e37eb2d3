"""Anomalies of what is shown: streams; orders, books and trades that were read. The ledger is right."""

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


# Trades, page by page


def _page(tables: Tables) -> tuple[int, dict[str, Any]]:
    """A page with trades, after which more trades follow, and what its answer says."""
    fills, found = edits.rows(tables, "events", type="fill"), []
    last = fills.groupby("market")["seq"].max()
    for index, reply in edits.rows(tables, "attempts", op="trades")["reply"].items():
        said = json.loads(reply)
        if len(said["trades"]) > 1 and said["next"] < last[said["symbol"]]:
            found.append((index, said))
    return found[-1]


def _retell(tables: Tables, index: int, said: dict[str, Any], **changes: Any) -> None:
    """Let the page answer with these changes, and ask for as many trades as it then tells, if they are more."""
    told = said | changes
    limit = max(int(tables["attempts"]["limit"][index]), len(told["trades"]))
    edits.change(tables, "attempts", index, reply=json.dumps(told), limit=limit)


def _retell_trade(tables: Tables, **changes: Any) -> None:
    """Let the last trade of a page be told with these changes."""
    index, said = _page(tables)
    *others, trade = said["trades"]
    _retell(tables, index, said, trades=[*others, trade | changes])


@PLANTS.caught_by("trades-equal-ledger")
def page_lacks_a_trade(tables: Tables) -> None:
    index, said = _page(tables)
    _retell(tables, index, said, trades=said["trades"][1:])


@PLANTS.caught_by("trades-equal-ledger")
def page_lacks_the_trades_before_its_end(tables: Tables) -> None:
    """It goes on after a trade that it does not tell."""
    index, said = _page(tables)
    later = edits.rows(tables, "events", type="fill", market=said["symbol"])["seq"]
    _retell(tables, index, said, next=int(later[later > said["next"]].min()))


@PLANTS.caught_by("trades-equal-ledger")
def page_tells_a_trade_that_never_was(tables: Tables) -> None:
    index, said = _page(tables)
    _retell(tables, index, said, trades=[*said["trades"], said["trades"][-1] | {"tradeId": "ghost"}])


@PLANTS.caught_by("trades-equal-ledger")
def page_tells_another_trade_in_the_place_of_one(tables: Tables) -> None:
    _retell_trade(tables, seq=10**6, tradeId="ghost")


@PLANTS.caught_by("trades-equal-ledger")
def page_tells_a_trade_twice(tables: Tables) -> None:
    index, said = _page(tables)
    _retell(tables, index, said, trades=[said["trades"][0], *said["trades"]])


@PLANTS.caught_by("trades-equal-ledger")
def page_tells_a_trade_twice_and_another_not(tables: Tables) -> None:
    index, said = _page(tables)
    _retell(tables, index, said, trades=[said["trades"][0], said["trades"][0], *said["trades"][2:]])


@PLANTS.caught_by("trades-equal-ledger")
def page_tells_its_trades_out_of_order(tables: Tables) -> None:
    index, said = _page(tables)
    _retell(tables, index, said, trades=said["trades"][::-1])


@PLANTS.caught_by("trades-equal-ledger")
def page_tells_another_price(tables: Tables) -> None:
    _, said = _page(tables)
    _retell_trade(tables, price=said["trades"][-1]["price"] + 1)


@PLANTS.caught_by("trades-equal-ledger")
def page_tells_another_quantity(tables: Tables) -> None:
    _, said = _page(tables)
    _retell_trade(tables, qty=said["trades"][-1]["qty"] + 1)


@PLANTS.caught_by("trades-equal-ledger")
def page_tells_another_order(tables: Tables) -> None:
    _, said = _page(tables)
    _retell_trade(tables, takerOrderId=said["trades"][-1]["makerOrderId"])


@PLANTS.caught_by("trades-equal-ledger")
def page_tells_the_wrong_clients_of_a_trade(tables: Tables) -> None:
    _, said = _page(tables)
    trade = said["trades"][-1]
    _retell_trade(tables, takerClientId=trade["makerClientId"], makerClientId=trade["takerClientId"])


@PLANTS.caught_by("trades-equal-ledger")
def page_tells_the_wrong_side(tables: Tables) -> None:
    _, said = _page(tables)
    _retell_trade(tables, takerSide={"BUY": "SELL", "SELL": "BUY"}[said["trades"][-1]["takerSide"]])


@PLANTS.caught_by("trades-equal-ledger")
def page_tells_the_trades_of_another_market(tables: Tables) -> None:
    index, said = _page(tables)
    other = {"ACME": "BOLT", "BOLT": "ACME"}[said["symbol"]]
    pages = [json.loads(reply) for reply in edits.rows(tables, "attempts", op="trades", symbol=other)["reply"]]
    _retell(tables, index, said, trades=[page for page in pages if page["trades"]][-1]["trades"])


@PLANTS.caught_by("trades-equal-ledger")
def page_is_of_another_market(tables: Tables) -> None:
    index, said = _page(tables)
    _retell(tables, index, said, symbol={"ACME": "BOLT", "BOLT": "ACME"}[said["symbol"]])


@PLANTS.caught_by("trades-equal-ledger")
def page_is_longer_than_was_asked_for(tables: Tables) -> None:
    index, said = _page(tables)
    edits.change(tables, "attempts", index, limit=len(said["trades"]) - 1)


@PLANTS.caught_by("trades-equal-ledger")
def page_leads_beyond_the_ledger(tables: Tables) -> None:
    index, said = _page(tables)
    _retell(tables, index, said, next=10**6)


@PLANTS.caught_by("trades-equal-ledger")
def page_leads_back(tables: Tables) -> None:
    """To where its reader has been; he would be told everything again."""
    index, said = _page(tables)
    end = int(edits.rows(tables, "events", market=said["symbol"])["seq"].max())
    edits.change(tables, "attempts", index, after=end)
    _retell(tables, index, said, trades=[], next=end - 1)


@PLANTS.caught_by("trade-pages-advance")
def page_leads_nowhere(tables: Tables) -> None:
    """Right as far as it goes: no trade is missing between a place and itself."""
    index, said = _page(tables)
    row = tables["attempts"].loc[index].to_dict() | {"op_id": len(tables["attempts"]), "after": 0}
    edits.add_attempt(tables, row | {"reply": json.dumps(said | {"trades": [], "next": 0})})


# What is nobody else's business


def _stranger(tables: Tables, owner: str) -> str:
    """Another client that has orders of its own."""
    return next(client for client in tables["orders"]["client_id"] if client != owner)


@PLANTS.caught_by("unauthorized-refused")
def stranger_is_shown_an_order(tables: Tables) -> None:
    order = tables["orders"].iloc[-1].to_dict()
    reply = _state(order, order["status"], order["filled_qty"])
    edits.add_read(tables, order["order_id"], client_id=_stranger(tables, order["client_id"]), reply=reply)


@PLANTS.caught_by("unauthorized-refused")
def stranger_is_told_that_its_cancel_is_on_its_way(tables: Tables) -> None:
    order = tables["orders"].iloc[-1].to_dict()
    asked = {"op": "cancel", "client_id": _stranger(tables, order["client_id"]), "idempotency_key": "stranger"}
    told = {"status": 202, "outcome": "ok", "reply": "{}"}
    edits.add_attempt(tables, asked | told | {"order_id": order["order_id"], "symbol": order["market"]})


@PLANTS.caught_by("unauthorized-refused")
def cancel_of_a_stranger_who_heard_nothing_is_carried_out(tables: Tables) -> None:
    """Under a key of its own: everything else fits it."""
    event = edits.rows(tables, "events", type="cancelled", reason="client").index[0]
    order, market = tables["events"]["order_id"][event], tables["events"]["market"][event]
    owner = edits.row(tables, "orders", order_id=order)["client_id"]
    stranger = _stranger(tables, owner)
    edits.change(tables, "events", event, client_id=stranger, idempotency_key="stranger")
    asked = {"op": "cancel", "client_id": stranger, "idempotency_key": "stranger", "order_id": order}
    edits.add_attempt(tables, asked | {"symbol": market, "outcome": "info", "error": "timeout"})
