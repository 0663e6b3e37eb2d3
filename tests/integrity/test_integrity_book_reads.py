"""Books that were read are compared with the ledger at any requested depth, but not in the middle of a command."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kit.integrity.matching import book_depth
from kit.model import Finding, Status
from tests.histories import edits, execution
from tests.histories.run_folder import judge


def judged(tables: dict[str, Any]) -> Finding:
    return judge(tables, "book-equals-ledger")["book-equals-ledger"]


def test_books_are_the_same_side_by_side_and_one_by_one(tables, monkeypatch):
    together = judged(tables)
    monkeypatch.setattr(book_depth, "CELLS_MAX", 1)
    assert judged(tables) == together
    assert together.status is Status.PASS
    assert together.measured == 0


@pytest.mark.parametrize(("depths", "status"), [((3,), Status.PASS), ((1, 2, 3), Status.FAIL)])
def test_where_no_depth_was_recorded_the_deepest_book_decides(depths, status, tables):
    """A book with fewer levels than the deepest book is wrong if there were more."""
    attempts = tables["attempts"]
    books = attempts["op"] == "book"
    kept = attempts[~books | attempts["depth"].isin(depths)].reset_index(drop=True)
    tables["attempts"] = kept.assign(depth=kept["depth"].where(kept["op"] != "book", 0))
    assert judged(tables).status is status


def test_a_book_read_in_the_middle_of_a_command_is_skipped(tables):
    """An order that trades makes two events or more, and no book is right between them."""
    events = tables["events"]
    fill = edits.row(tables, "events", type="fill")
    assert (
        events[(events["market"] == fill["market"]) & (events["seq"] == fill["seq"] - 1)]["event_id"].iloc[0]
        == (fill["event_id"])
    )
    before = judged(tables).detail
    said = {"symbol": fill["market"], "seq": int(fill["seq"]) - 1, "bids": [[1, 1, 1]], "asks": []}
    row = {"op": "book", "symbol": fill["market"], "outcome": "ok", "status": 200, "reply": json.dumps(said)}
    edits.add_attempt(tables, row)
    assert judged(tables).detail == before


@pytest.mark.parametrize("reply", ["", "[]", '{"symbol":"ACME","seq":true,"bids":[],"asks":[]}', '{"symbol":"ACME"}'])
def test_an_answer_that_is_no_book_is_a_violation(reply, tables):
    edits.change_first(tables, "attempts", {"op": "book", "symbol": "ACME"}, reply=reply)
    found = judged(tables)
    assert (found.status, found.measured) == (Status.FAIL, 1)
    assert "read is not a book" in found.detail


def test_orders_are_not_counted_where_one_was_accepted_twice(golden):
    """The lots at each price are still compared."""
    tables: Any = execution.play(execution.random_steps(seed=7, count=700), without_idempotency=True)
    assert judged(tables).status is Status.PASS
