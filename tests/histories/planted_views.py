"""Plant anomalies in what clients are shown: streams, and reads of orders, books and trades. The ledger is right."""

from __future__ import annotations

import json
from typing import Any

from tests.histories import edits
from tests.histories.edits import Plants, Tables

PLANTS = Plants()


# Streams


@PLANTS.caught_by("stream-equals-ledger")
def message_names_the_wrong_clients_of_a_trade(tables: Tables) -> None:
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


# Reads of orders and books


@PLANTS.caught_by("reads-equal-ledger")
def read_shows_a_state_that_was_outdated_before_it_was_sent(tables: Tables) -> None:
    """The order's first state, long after a subscriber received its fill. No other read is needed to find it."""
    row = edits.row(tables, "orders", status="FILLED")
    edits.add_read(tables, row["order_id"], reply=_state(row, "OPEN", 0))


@PLANTS.caught_by("reads-equal-ledger")
def read_shows_a_state_that_never_existed(tables: Tables) -> None:
    row = edits.row(tables, "orders", status="OPEN")
    edits.add_read(tables, row["order_id"], reply=_state(row, "CANCELLED", 0))


def _state(row: dict[str, Any], status: str, filled: int) -> str:
    names = {"symbol": "market", "side": "side", "type": "order_type", "tif": "tif", "qty": "qty", "price": "price"}
    answer = {name: row[column] for name, column in names.items()}
    return json.dumps(answer | {"orderId": row["order_id"], "status": status, "filledQty": filled})


def _book(tables: Tables) -> tuple[int, dict[str, Any]]:
    """The last read of a book with levels on both sides, and its answer."""
    books = edits.rows(tables, "attempts", op="book")
    full = [index for index, reply in books["reply"].items() if json.loads(reply)["bids"] and json.loads(reply)["asks"]]
    return full[-1], json.loads(books["reply"][full[-1]])


@PLANTS.caught_by("book-equals-ledger")
def book_shows_a_lot_too_many(tables: Tables) -> None:
    index, answer = _book(tables)
    answer["bids"][0][1] += 1
    edits.change(tables, "attempts", index, reply=json.dumps(answer))


@PLANTS.caught_by("book-equals-ledger")
def book_shows_an_order_too_few(tables: Tables) -> None:
    index, answer = _book(tables)
    answer["asks"][0][2] -= 1
    edits.change(tables, "attempts", index, reply=json.dumps(answer))


@PLANTS.caught_by("book-equals-ledger")
def book_hides_its_best_price(tables: Tables) -> None:
    index, answer = _book(tables)
    edits.change(tables, "attempts", index, reply=json.dumps(answer | {"asks": answer["asks"][1:]}))


@PLANTS.caught_by("book-equals-ledger")
def book_has_its_sides_mixed_up(tables: Tables) -> None:
    index, answer = _book(tables)
    edits.change(tables, "attempts", index, reply=json.dumps(answer | {"asks": answer["bids"], "bids": answer["asks"]}))


@PLANTS.caught_by("book-equals-ledger")
def book_is_of_another_market(tables: Tables) -> None:
    index, answer = _book(tables)
    other = {"ACME": "BOLT", "BOLT": "ACME"}[answer["symbol"]]
    edits.change(tables, "attempts", index, reply=json.dumps(answer | {"symbol": other}))


@PLANTS.caught_by("book-equals-ledger")
def book_is_ahead_of_the_ledger(tables: Tables) -> None:
    index, answer = _book(tables)
    edits.change(tables, "attempts", index, reply=json.dumps(answer | {"seq": 10**6}))


@PLANTS.caught_by("monotone-books")
def book_is_read_again_as_it_was_before(tables: Tables) -> None:
    """The book is right for its seq, but a later seq was known long before."""
    index, _ = _book(tables)
    edits.add_attempt(tables, tables["attempts"].loc[index].to_dict() | {"op_id": len(tables["attempts"])})


# Trades, page by page


def _page(tables: Tables) -> tuple[int, dict[str, Any]]:
    """A page with trades, after which more trades follow, and its answer."""
    fills, found = edits.rows(tables, "events", type="fill"), []
    last = fills.groupby("market")["seq"].max()
    for index, reply in edits.rows(tables, "attempts", op="trades")["reply"].items():
        answer = json.loads(reply)
        if len(answer["trades"]) > 1 and answer["next"] < last[answer["symbol"]]:
            found.append((index, answer))
    return found[-1]


def _change_page(tables: Tables, index: int, answer: dict[str, Any], **changes: Any) -> None:
    """Change the page's answer, and raise its limit if it then shows more trades."""
    changed = answer | changes
    limit = max(int(tables["attempts"]["limit"][index]), len(changed["trades"]))
    edits.change(tables, "attempts", index, reply=json.dumps(changed), limit=limit)


def _change_last_trade(tables: Tables, **changes: Any) -> None:
    """Change the last trade of a page."""
    index, answer = _page(tables)
    *others, trade = answer["trades"]
    _change_page(tables, index, answer, trades=[*others, trade | changes])


@PLANTS.caught_by("trades-equal-ledger")
def page_lacks_a_trade(tables: Tables) -> None:
    index, answer = _page(tables)
    _change_page(tables, index, answer, trades=answer["trades"][1:])


@PLANTS.caught_by("trades-equal-ledger")
def page_lacks_the_trades_before_its_end(tables: Tables) -> None:
    """Its next is after a trade that it does not show."""
    index, answer = _page(tables)
    later = edits.rows(tables, "events", type="fill", market=answer["symbol"])["seq"]
    _change_page(tables, index, answer, next=int(later[later > answer["next"]].min()))


@PLANTS.caught_by("trades-equal-ledger")
def page_shows_an_invented_trade(tables: Tables) -> None:
    index, answer = _page(tables)
    _change_page(tables, index, answer, trades=[*answer["trades"], answer["trades"][-1] | {"tradeId": "ghost"}])


@PLANTS.caught_by("trades-equal-ledger")
def page_shows_another_trade_instead_of_one(tables: Tables) -> None:
    _change_last_trade(tables, seq=10**6, tradeId="ghost")


@PLANTS.caught_by("trades-equal-ledger")
def page_shows_a_trade_twice(tables: Tables) -> None:
    index, answer = _page(tables)
    _change_page(tables, index, answer, trades=[answer["trades"][0], *answer["trades"]])


@PLANTS.caught_by("trades-equal-ledger")
def page_shows_a_trade_twice_and_omits_another(tables: Tables) -> None:
    index, answer = _page(tables)
    _change_page(tables, index, answer, trades=[answer["trades"][0], answer["trades"][0], *answer["trades"][2:]])


@PLANTS.caught_by("trades-equal-ledger")
def page_shows_its_trades_out_of_order(tables: Tables) -> None:
    index, answer = _page(tables)
    _change_page(tables, index, answer, trades=answer["trades"][::-1])


@PLANTS.caught_by("trades-equal-ledger")
def page_shows_another_price(tables: Tables) -> None:
    _, answer = _page(tables)
    _change_last_trade(tables, price=answer["trades"][-1]["price"] + 1)


@PLANTS.caught_by("trades-equal-ledger")
def page_shows_another_quantity(tables: Tables) -> None:
    _, answer = _page(tables)
    _change_last_trade(tables, qty=answer["trades"][-1]["qty"] + 1)


@PLANTS.caught_by("trades-equal-ledger")
def page_shows_another_order(tables: Tables) -> None:
    _, answer = _page(tables)
    _change_last_trade(tables, takerOrderId=answer["trades"][-1]["makerOrderId"])


@PLANTS.caught_by("trades-equal-ledger")
def page_shows_the_wrong_clients_of_a_trade(tables: Tables) -> None:
    _, answer = _page(tables)
    trade = answer["trades"][-1]
    _change_last_trade(tables, takerClientId=trade["makerClientId"], makerClientId=trade["takerClientId"])


@PLANTS.caught_by("trades-equal-ledger")
def page_shows_the_wrong_side(tables: Tables) -> None:
    _, answer = _page(tables)
    _change_last_trade(tables, takerSide={"BUY": "SELL", "SELL": "BUY"}[answer["trades"][-1]["takerSide"]])


@PLANTS.caught_by("trades-equal-ledger")
def page_shows_the_trades_of_another_market(tables: Tables) -> None:
    index, answer = _page(tables)
    other = {"ACME": "BOLT", "BOLT": "ACME"}[answer["symbol"]]
    pages = [json.loads(reply) for reply in edits.rows(tables, "attempts", op="trades", symbol=other)["reply"]]
    _change_page(tables, index, answer, trades=[page for page in pages if page["trades"]][-1]["trades"])


@PLANTS.caught_by("trades-equal-ledger")
def page_is_of_another_market(tables: Tables) -> None:
    index, answer = _page(tables)
    _change_page(tables, index, answer, symbol={"ACME": "BOLT", "BOLT": "ACME"}[answer["symbol"]])


@PLANTS.caught_by("trades-equal-ledger")
def page_is_longer_than_was_asked_for(tables: Tables) -> None:
    index, answer = _page(tables)
    edits.change(tables, "attempts", index, limit=len(answer["trades"]) - 1)


@PLANTS.caught_by("trades-equal-ledger")
def page_has_a_next_beyond_the_ledger(tables: Tables) -> None:
    index, answer = _page(tables)
    _change_page(tables, index, answer, next=10**6)


@PLANTS.caught_by("trades-equal-ledger")
def page_has_a_next_before_its_start(tables: Tables) -> None:
    """The reader would get the same trades again."""
    index, answer = _page(tables)
    end = int(edits.rows(tables, "events", market=answer["symbol"])["seq"].max())
    edits.change(tables, "attempts", index, after=end)
    _change_page(tables, index, answer, trades=[], next=end - 1)


@PLANTS.caught_by("trade-pages-advance")
def page_does_not_advance(tables: Tables) -> None:
    """The page is empty and its next is its start, so that no trade is missing."""
    index, answer = _page(tables)
    row = tables["attempts"].loc[index].to_dict() | {"op_id": len(tables["attempts"]), "after": 0}
    edits.add_attempt(tables, row | {"reply": json.dumps(answer | {"trades": [], "next": 0})})


# Unauthorized clients


def _other_client(tables: Tables, owner: str) -> str:
    """Another client with orders of its own."""
    return next(client for client in tables["orders"]["client_id"] if client != owner)


@PLANTS.caught_by("unauthorized-refused")
def unauthorized_client_is_shown_an_order(tables: Tables) -> None:
    order = tables["orders"].iloc[-1].to_dict()
    reply = _state(order, order["status"], order["filled_qty"])
    edits.add_read(tables, order["order_id"], client_id=_other_client(tables, order["client_id"]), reply=reply)


@PLANTS.caught_by("unauthorized-refused")
def unauthorized_cancel_is_acknowledged(tables: Tables) -> None:
    order = tables["orders"].iloc[-1].to_dict()
    asked = {"op": "cancel", "client_id": _other_client(tables, order["client_id"]), "idempotency_key": "unauthorized"}
    changed = {"status": 202, "outcome": "ok", "reply": "{}"}
    edits.add_attempt(tables, asked | changed | {"order_id": order["order_id"], "symbol": order["market"]})


@PLANTS.caught_by("unauthorized-refused")
def unauthorized_cancel_without_an_answer_is_carried_out(tables: Tables) -> None:
    """The cancel has a key of its own, so that only the client is wrong."""
    event = edits.rows(tables, "events", type="cancelled", reason="client").index[0]
    order, market = tables["events"]["order_id"][event], tables["events"]["market"][event]
    owner = edits.row(tables, "orders", order_id=order)["client_id"]
    other = _other_client(tables, owner)
    edits.change(tables, "events", event, client_id=other, idempotency_key="unauthorized")
    asked = {"op": "cancel", "client_id": other, "idempotency_key": "unauthorized", "order_id": order}
    edits.add_attempt(tables, asked | {"symbol": market, "outcome": "info", "error": "timeout"})
