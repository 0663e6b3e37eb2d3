"""Pages of trades against the ledger: whatever was answered is judged, and the story names the trade."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kit.integrity.evidence import trade_page_tables
from kit.model import Finding, Status
from tests.histories import edits
from tests.histories.run_folder import judge
from tests.histories.tables import streamed


def judged(tables: dict[str, Any], name: str = "trades-equal-ledger") -> Finding:
    return judge(tables, name)[name]


def a_page(tables: dict[str, Any], size: int = 3) -> tuple[int, dict[str, Any]]:
    """The first page of at least so many trades, and what it says."""
    replies = edits.rows(tables, "attempts", op="trades")["reply"].map(json.loads)
    return next((index, said) for index, said in replies.items() if len(said["trades"]) >= size)


def read(tables: dict[str, Any], after: int, limit: int, upto: int, *places: int) -> None:
    """A page of ACME's trades at these places of the ledger, long after everything."""
    events = tables["events"].set_index(["market", "seq"], drop=False).loc["ACME"]
    told = [json.loads(streamed(events.loc[place].to_dict())) for place in places]
    row = {"op": "trades", "symbol": "ACME", "client_id": "c001", "after": after, "limit": limit, "outcome": "ok"}
    reply = json.dumps({"symbol": "ACME", "trades": told, "next": upto})
    edits.add_attempt(tables, row | {"status": 200, "reply": reply})


def fills(tables: dict[str, Any]) -> list[int]:
    return sorted(edits.rows(tables, "events", type="fill", market="ACME")["seq"])


def test_pages_are_the_same_at_once_and_one_by_one(tables, monkeypatch):
    together = judged(tables)
    monkeypatch.setattr(trade_page_tables, "PAGES_AT_ONCE", 1)
    assert judged(tables) == together
    assert (together.status, together.measured) == (Status.PASS, 0)


def test_the_golden_history_reads_pages_of_every_kind(golden):
    """Else it would say little: empty and full ones, from the beginning and from where another led, both markets."""
    reads = edits.rows(golden, "attempts", op="trades")
    counts = reads["reply"].map(lambda reply: len(json.loads(reply)["trades"]))
    assert {0, 1, 2, 3, 4} <= set(counts)
    assert (counts == reads["limit"]).any() and (counts < reads["limit"]).any()
    assert (reads["after"] == 0).any() and (reads["after"] > 0).any()
    assert set(reads["symbol"]) == {"ACME", "BOLT"}


def test_a_page_may_stop_anywhere_and_hold_as_many_as_were_asked_for(tables):
    """Amid a command, before the limit, at the limit or at the ledger's end: it says where to go on."""
    first, second, third = fills(tables)[:3]
    end = int(edits.rows(tables, "events", market="ACME")["seq"].max())
    read(tables, 0, 9, first - 1)
    read(tables, 0, 9, first, first)
    read(tables, 0, 2, second, first, second)
    read(tables, first, 2, third - 1, second)
    read(tables, end, 9, end)
    read(tables, end + 5, 9, end + 5)
    found = judged(tables)
    assert (found.status, found.detail.split(" pages")[0]) == (Status.PASS, f"all {count(tables):,}")


def count(tables: dict[str, Any]) -> int:
    return len(edits.rows(tables, "attempts", op="trades", status=200))


@pytest.mark.parametrize(
    "reply",
    ["", "[]", "7", "{", "{}", '{"symbol":"ACME","trades":[]}', '{"symbol":"ACME","next":0}']
    + [f'{{"symbol":"ACME","trades":[],"next":{place}}}' for place in ("null", "true", "-1", '"0"', "0.5", "1e99")]
    + [f'{{"symbol":"ACME","trades":{trades},"next":0}}' for trades in ("null", "{}", '"none"')]
    + ['{"symbol":"NOPE","trades":[],"next":0}', '{"symbol":7,"trades":[],"next":0}', '{"trades":[],"next":0}'],
)
def test_an_answer_that_is_no_page_is_a_violation(reply, tables):
    """And all others, which are parsed one by one then, stay right."""
    edits.change_first(tables, "attempts", {"op": "trades", "symbol": "ACME"}, reply=reply)
    found = judged(tables)
    assert (found.status, found.measured) == (Status.FAIL, 1)
    assert "read are not a page of trades" in found.detail


@pytest.mark.parametrize("trade", [None, 7, "trade", [], {}])
def test_a_trade_that_is_none_is_a_violation(trade, tables):
    index, said = a_page(tables)
    said["trades"][1] = trade
    edits.change(tables, "attempts", index, reply=json.dumps(said))
    found = judged(tables)
    assert (found.status, found.measured) == (Status.FAIL, 1)
    assert "number 2 is seq 0, expected seq" in found.detail


@pytest.mark.parametrize("field", list(trade_page_tables.TRADE))
@pytest.mark.parametrize("value", [None, True, 1.5, 2**70, "other", -1, ["ACME"]])
def test_a_trade_with_any_field_otherwise_is_a_violation(field, value, tables):
    index, said = a_page(tables)
    said["trades"][1][field] = value
    edits.change(tables, "attempts", index, reply=json.dumps(said))
    found = judged(tables)
    assert (found.status, found.measured) == (Status.FAIL, 1)
    assert field == "seq" or f"it says {field} {value}" in found.detail


def test_what_a_trade_says_beyond_its_fields_is_nobodys_concern(tables):
    index, said = a_page(tables)
    told = [trade | {"venue": "local"} for trade in said["trades"]]
    edits.change(tables, "attempts", index, reply=json.dumps(said | {"trades": told, "more": True}, indent=1))
    assert judged(tables).status is Status.PASS


def test_a_missing_trade_is_told_by_the_read_and_the_ledger_around_it(tables):
    index, said = a_page(tables)
    gone = said["trades"].pop(1)
    edits.change(tables, "attempts", index, reply=json.dumps(said))
    found = judged(tables)
    assert f"expected seq {gone['seq']}, trade {gone['tradeId']}: order {gone['takerOrderId']}" in found.detail
    steps = found.counterexample
    assert gone["seq"] in [step["seq"] for step in steps if step["source"] == "ledger"]
    asked, answer = [step["what"] for step in steps if step["source"] == "client"]
    assert "trades of" in asked and "after" in asked
    assert answer.startswith("answer 200: ") and len(answer) < 500


def test_the_last_trade_that_is_missing_is_named(tables):
    index, said = a_page(tables)
    gone = said["trades"].pop()
    edits.change(tables, "attempts", index, reply=json.dumps(said))
    assert f"seq {gone['seq']}, trade {gone['tradeId']}" in judged(tables).detail
    assert judged(tables).detail.endswith("is missing")


def test_trades_that_a_page_far_ahead_should_have_told_are_counted(tables):
    end = int(edits.rows(tables, "events", market="ACME")["seq"].max())
    read(tables, 0, 9, end)
    found = judged(tables)
    assert (found.status, found.measured) == (Status.FAIL, 1)
    assert f"are 0, the ledger has {len(fills(tables)):,}" in found.detail


@pytest.mark.parametrize("name", ["trades-equal-ledger", "trade-pages-advance"])
def test_without_a_read_of_trades_there_is_nothing_to_check(name, tables):
    """Nor is there with reads that nobody answered."""
    attempts = tables["attempts"]
    pages = attempts["op"] == "trades"
    unanswered = attempts.assign(
        status=attempts["status"].where(~pages, 503), reply=attempts["reply"].where(~pages, "")
    )
    for left in (attempts[~pages].reset_index(drop=True), unanswered):
        found = judged(tables | {"attempts": left}, name)
        assert (found.status, found.measured) == (Status.INVALID, None)
        assert found.detail == "nothing to check: no pages of trades read in the evidence"


def test_a_page_that_leads_nowhere_is_right_until_more_is_known(tables):
    """Nobody had heard of an event when it was asked for: the ledger may have ended there."""
    started = int(tables["attempts"]["invoked_ns"].min())
    read(tables, 0, 9, 0)
    last = tables["attempts"].index[-1]
    for invoked_ns, status in ((started, Status.PASS), (tables["attempts"]["invoked_ns"][last], Status.FAIL)):
        edits.change(tables, "attempts", last, intended_ns=invoked_ns, invoked_ns=invoked_ns, completed_ns=invoked_ns)
        found = judged(tables, "trade-pages-advance")
        assert found.status is status, found.detail
    assert "have next 0, but seq" in found.detail


def test_what_a_page_showed_is_known_though_no_subscriber_heard_it(tables):
    end = int(edits.rows(tables, "events", market="ACME")["seq"].max())
    stream = tables["stream"]
    tables["stream"] = stream[(stream["symbol"] != "ACME") | (stream["seq"] < end)].reset_index(drop=True)
    read(tables, end - 1, 9, end - 1)
    assert judged(tables, "trade-pages-advance").status is Status.PASS
    read(tables, end - 1, 9, end)
    read(tables, end - 1, 9, end - 1)
    found = judged(tables, "trade-pages-advance")
    assert (found.status, found.measured) == (Status.FAIL, 1)


def test_a_place_that_the_ledger_does_not_have_is_nothing_known(tables):
    """It is wrong and found; but then not every later page is behind it."""
    end = int(edits.rows(tables, "events", market="ACME")["seq"].max())
    read(tables, end, 9, 10**6)
    read(tables, end, 9, end)
    assert judged(tables).measured == 1
    assert judged(tables, "trade-pages-advance").status is Status.PASS


def test_the_answers_of_one_market_are_held_against_no_other(tables):
    """A ledger in which one market has no fill at all."""
    events = tables["events"]
    tables["events"] = events[(events["market"] != "BOLT") | (events["type"] != "fill")].reset_index(drop=True)
    pages = edits.rows(tables, "attempts", op="trades", symbol="BOLT")
    told = sum(bool(json.loads(reply)["trades"]) for reply in pages["reply"])
    assert (judged(tables).measured or 0) >= told > 0
