"""Which events a subscriber must have received, by how it ended."""

from __future__ import annotations

from typing import Any

from kit.model import PLANNED_RECONNECT, Status
from tests.histories.run_folder import judge

HOUR_NS = 3_600 * 10**9
LEFT_AT_SEQ = 10


def cut_off(tables: dict[str, Any], close_code: int) -> Any:
    """Judge the stream if each subscriber ended long after seq `LEFT_AT_SEQ`, its last message."""
    stream, dials = tables["stream"], tables["connections"].drop_duplicates("symbol")
    tables["stream"] = stream[stream["seq"] <= LEFT_AT_SEQ].reset_index(drop=True)
    tables["connections"] = dials.assign(closed_ns=dials["opened_ns"] + HOUR_NS, close_code=close_code)
    return judge(tables, "stream-equals-ledger")["stream-equals-ledger"]


def test_subscriber_that_left_on_purpose_is_judged_up_to_its_last_message(tables):
    """A new subscriber reads the ledger to a seq that it chose when it came, and is not told what came later."""
    assert cut_off(tables, PLANNED_RECONNECT).status is Status.PASS


def test_subscriber_that_lost_its_connection_must_have_what_came_before(tables):
    """Events that were in the ledger long before the loss are missing."""
    assert cut_off(tables, 1006).status is Status.FAIL


def test_subscriber_that_left_and_was_kept_out_must_have_what_came_before(tables):
    """It dialled again and got no connection, so it did not leave for good."""
    dials = tables["connections"].drop_duplicates("symbol")
    again = dials.assign(dialed_ns=dials["opened_ns"] + 2 * HOUR_NS, opened_ns=0, closed_ns=0, connection=9)
    tables["connections"] = dials
    stream = tables["stream"]
    tables["stream"] = stream[stream["seq"] <= LEFT_AT_SEQ].reset_index(drop=True)
    left = dials.assign(closed_ns=dials["opened_ns"] + HOUR_NS, close_code=PLANNED_RECONNECT)
    tables["connections"] = type(left)({column: [*left[column], *again[column]] for column in left}).astype(left.dtypes)
    assert judge(tables, "stream-equals-ledger")["stream-equals-ledger"].status is Status.FAIL
