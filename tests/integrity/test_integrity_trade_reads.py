"""Pages of trades are compared with the ledger whatever the answer is, and the counterexample names the trade."""

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
    """The index and the answer of the first page with at least so many trades."""
    replies = edits.rows(tables, "attempts", op="trades")["reply"].map(json.loads)
    return next((index, answer) for index, answer in replies.items() if len(answer["trades"]) >= size)


def read(tables: dict[str, Any], after: int, limit: int, next_seq: int, *seqs: int) -> None:
    """Add a read of ACME's trades at these seqs, after all other attempts."""
    events = tables["events"].set_index(["market", "seq"], drop=False).loc["ACME"]
    shown = [json.loads(streamed(events.loc[place].to_dict())) for place in seqs]
    row = {"op": "trades", "symbol": "ACME", "client_id": "c001", "after": after, "limit": limit, "outcome": "ok"}
    reply = json.dumps({"symbol": "ACME", "trades": shown, "next": next_seq})
    edits.add_attempt(tables, row | {"status": 200, "reply": reply})


def fills(tables: dict[str, Any]) -> list[int]:
    return sorted(edits.rows(tables, "events", type="fill", market="ACME")["seq"])


def test_pages_are_the_same_at_once_and_one_by_one(tables, monkeypatch):
    together = judged(tables)
    monkeypatch.setattr(trade_page_tables, "PAGES_AT_ONCE", 1)
    assert judged(tables) == together
    assert (together.status, together.measured) == (Status.PASS, 0)


def test_the_golden_history_reads_pages_of_every_kind(golden):
    """Empty and full pages, from the beginning and from the next of another page, in both markets."""
    reads = edits.rows(golden, "attempts", op="trades")
    counts = reads["reply"].map(lambda reply: len(json.loads(reply)["trades"]))
    assert {0, 1, 2, 3, 4} <= set(counts)
    assert (counts == reads["limit"]).any() and (counts < reads["limit"]).any()
    assert (reads["after"] == 0).any() and (reads["after"] > 0).any()
    assert set(reads["symbol"]) == {"ACME", "BOLT"}


def test_a_page_may_stop_anywhere_and_hold_as_many_as_were_asked_for(tables):
    """In the middle of a command, before the limit, at the limit or at the ledger's end."""
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
    """All other pages, which are then parsed one by one, stay right."""
    edits.change_first(tables, "attempts", {"op": "trades", "symbol": "ACME"}, reply=reply)
    found = judged(tables)
    assert (found.status, found.measured) == (Status.FAIL, 1)
    assert "read are not a page of trades" in found.detail


@pytest.mark.parametrize("trade", [None, 7, "trade", [], {}])
def test_a_trade_that_is_none_is_a_violation(trade, tables):
    index, answer = a_page(tables)
    answer["trades"][1] = trade
    edits.change(tables, "attempts", index, reply=json.dumps(answer))
    found = judged(tables)
    assert (found.status, found.measured) == (Status.FAIL, 1)
    assert "number 2 is seq 0, expected seq" in found.detail


@pytest.mark.parametrize("field", list(trade_page_tables.TRADE))
@pytest.mark.parametrize("value", [None, True, 1.5, 2**70, "other", -1, ["ACME"]])
def test_a_trade_with_any_field_otherwise_is_a_violation(field, value, tables):
    index, answer = a_page(tables)
    answer["trades"][1][field] = value
    edits.change(tables, "attempts", index, reply=json.dumps(answer))
    found = judged(tables)
    assert (found.status, found.measured) == (Status.FAIL, 1)
    assert field == "seq" or f"it says {field} {value}" in found.detail


def test_further_fields_of_a_trade_are_ignored(tables):
    index, answer = a_page(tables)
    shown = [trade | {"venue": "local"} for trade in answer["trades"]]
    edits.change(tables, "attempts", index, reply=json.dumps(answer | {"trades": shown, "more": True}, indent=1))
    assert judged(tables).status is Status.PASS


def test_a_missing_trade_is_shown_by_the_read_and_the_ledger_around_it(tables):
    index, answer = a_page(tables)
    gone = answer["trades"].pop(1)
    edits.change(tables, "attempts", index, reply=json.dumps(answer))
    found = judged(tables)
    assert f"expected seq {gone['seq']}, trade {gone['tradeId']}: order {gone['takerOrderId']}" in found.detail
    steps = found.counterexample
    assert gone["seq"] in [step["seq"] for step in steps if step["source"] == "ledger"]
    asked, answer = [step["what"] for step in steps if step["source"] == "client"]
    assert "trades of" in asked and "after" in asked
    assert answer.startswith("answer 200: ") and len(answer) < 500


def test_the_last_trade_that_is_missing_is_named(tables):
    index, answer = a_page(tables)
    gone = answer["trades"].pop()
    edits.change(tables, "attempts", index, reply=json.dumps(answer))
    assert f"seq {gone['seq']}, trade {gone['tradeId']}" in judged(tables).detail
    assert judged(tables).detail.endswith("is missing")


def test_trades_that_a_page_far_ahead_should_have_shown_are_counted(tables):
    end = int(edits.rows(tables, "events", market="ACME")["seq"].max())
    read(tables, 0, 9, end)
    found = judged(tables)
    assert (found.status, found.measured) == (Status.FAIL, 1)
    assert f"are 0, the ledger has {len(fills(tables)):,}" in found.detail


@pytest.mark.parametrize("name", ["trades-equal-ledger", "trade-pages-advance"])
def test_without_a_read_of_trades_there_is_nothing_to_check(name, tables):
    """The same holds if no read was answered."""
    attempts = tables["attempts"]
    pages = attempts["op"] == "trades"
    unanswered = attempts.assign(
        status=attempts["status"].where(~pages, 503), reply=attempts["reply"].where(~pages, "")
    )
    for left in (attempts[~pages].reset_index(drop=True), unanswered):
        found = judged(tables | {"attempts": left}, name)
        assert (found.status, found.measured) == (Status.INVALID, None)
        assert found.detail == "nothing to check: no pages of trades read in the evidence"


def test_a_page_that_does_not_advance_is_right_until_more_is_known(tables):
    """No event was known when it was requested, so that the ledger may have ended there."""
    started = int(tables["attempts"]["invoked_ns"].min())
    read(tables, 0, 9, 0)
    last = tables["attempts"].index[-1]
    for invoked_ns, status in ((started, Status.PASS), (tables["attempts"]["invoked_ns"][last], Status.FAIL)):
        edits.change(tables, "attempts", last, intended_ns=invoked_ns, invoked_ns=invoked_ns, completed_ns=invoked_ns)
        found = judged(tables, "trade-pages-advance")
        assert found.status is status, found.detail
    assert "have next 0, but seq" in found.detail


def test_what_a_page_showed_is_known_though_no_subscriber_received_it(tables):
    end = int(edits.rows(tables, "events", market="ACME")["seq"].max())
    stream = tables["stream"]
    tables["stream"] = stream[(stream["symbol"] != "ACME") | (stream["seq"] < end)].reset_index(drop=True)
    read(tables, end - 1, 9, end - 1)
    assert judged(tables, "trade-pages-advance").status is Status.PASS
    read(tables, end - 1, 9, end)
    read(tables, end - 1, 9, end - 1)
    found = judged(tables, "trade-pages-advance")
    assert (found.status, found.measured) == (Status.FAIL, 1)


def test_a_seq_that_the_ledger_does_not_have_is_not_known_progress(tables):
    """The page itself is wrong, but later pages are not behind it."""
    end = int(edits.rows(tables, "events", market="ACME")["seq"].max())
    read(tables, end, 9, 10**6)
    read(tables, end, 9, end)
    assert judged(tables).measured == 1
    assert judged(tables, "trade-pages-advance").status is Status.PASS


def test_pages_are_compared_with_their_own_market_only(tables):
    """One market has no fill at all."""
    events = tables["events"]
    tables["events"] = events[(events["market"] != "BOLT") | (events["type"] != "fill")].reset_index(drop=True)
    pages = edits.rows(tables, "attempts", op="trades", symbol="BOLT")
    shown = sum(bool(json.loads(reply)["trades"]) for reply in pages["reply"])
    assert (judged(tables).measured or 0) >= shown > 0
