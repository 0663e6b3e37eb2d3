"""Which events a subscriber must have received, by how it ended, and when a wait is its server's fault."""

from __future__ import annotations

from typing import Any

from kit.model import PLANNED_RECONNECT, Status
from tests.histories import edits, planted_visits
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


def test_subscriber_that_is_still_reading_at_the_end_is_judged_up_to_its_last_message(tables):
    """It has fallen behind, and the load ended before it had caught up. It was not told anything wrong."""
    stream, dials = tables["stream"], tables["connections"].drop_duplicates("symbol")
    tables["stream"] = stream[stream["seq"] <= LEFT_AT_SEQ].reset_index(drop=True)
    newest = tables["stream"]["seq"] == LEFT_AT_SEQ
    tables["stream"].loc[newest, "received_ns"] += HOUR_NS
    tables["connections"] = dials.assign(closed_ns=0, close_code=0)
    assert judge(tables, "stream-equals-ledger")["stream-equals-ledger"].status is Status.PASS
    tables["stream"].loc[newest, "received_ns"] -= HOUR_NS
    tables["connections"] = dials.assign(closed_ns=dials["opened_ns"] + HOUR_NS, close_code=1006)
    assert judge(tables, "stream-equals-ledger")["stream-equals-ledger"].status is Status.FAIL


def on_time(tables: dict[str, Any]) -> Status:
    return judge(tables, "stream-on-time")["stream-on-time"].status


def last_message_late(tables: dict[str, Any], late_s: int) -> int:
    """Let the last message of a market come late; return when it came."""
    stream = tables["stream"]
    last = stream[stream["symbol"] == "ACME"].index[-1]
    received_ns = int(stream["received_ns"][last]) + late_s * 10**9
    edits.change(tables, "stream", last, received_ns=received_ns)
    return received_ns


def test_a_wait_during_which_the_load_generator_stood_still_is_not_the_servers(tables):
    """A request that was sent before the wait got its answer after it, and the generator did nothing in between."""
    received_ns = last_message_late(tables, 11)
    assert on_time(tables) is Status.FAIL
    attempts = tables["attempts"]
    edits.change(tables, "attempts", attempts["completed_ns"].idxmax(), completed_ns=received_ns + 1_000)
    assert on_time(tables) is Status.PASS


def answers_during_the_wait(tables: dict[str, Any], took_s: float, **answer: Any) -> None:
    """Let reads be answered every two seconds while a message that comes 11 s late is due."""
    received_ns, attempts = last_message_late(tables, 11), tables["attempts"]
    reads = attempts.index[attempts["op"].isin(["get_order", "book", "trades"]) & (attempts["status"] == 200)]
    for index, before_s in zip(reads, (0, 2, 4, 6, 8, 10), strict=False):
        done_ns = received_ns - before_s * 10**9
        sent_ns = done_ns - int(took_s * 1e9)
        times = {"intended_ns": sent_ns, "invoked_ns": sent_ns, "completed_ns": done_ns}
        edits.change(tables, "attempts", index, **times, **answer)


def test_a_wait_while_requests_were_answered_quickly_is_the_servers(tables):
    answers_during_the_wait(tables, 0.01)
    assert on_time(tables) is Status.FAIL


def test_a_wait_while_most_requests_were_slow_or_failed_is_not_the_streams(tables):
    answers_during_the_wait(tables, 1.5)
    assert on_time(tables) is Status.PASS


def test_a_wait_while_most_requests_were_refused_for_overload_is_not_the_streams(tables):
    answers_during_the_wait(tables, 0.01, status=503, outcome="info")
    assert on_time(tables) is Status.PASS


def delayed(tables: dict[str, Any], *, commits: bool) -> None:
    """From one event on let messages come 11 s later, and the commits of what follows that event too if `commits`."""
    events, stream = tables["events"], tables["stream"]
    own = events[events["market"] == "ACME"].sort_values("seq")
    seq = int(own.loc[own["ts_ns"] != own["ts_ns"].shift(-1), "seq"].iloc[-3])
    after = (events["market"] == "ACME") & (events["seq"] > seq)
    events.loc[after, "ts_ns"] += 11 * 10**9 if commits else 0
    stream.loc[(stream["symbol"] == "ACME") & (stream["seq"] >= seq), "received_ns"] += 11 * 10**9


def test_an_event_whose_commit_took_long_is_not_late(tables):
    """The event carries the time of the plan. The market stood still until its commit was done."""
    delayed(tables, commits=True)
    assert on_time(tables) is Status.PASS


def test_an_event_that_is_told_long_after_the_next_commits_is_late(tables):
    delayed(tables, commits=False)
    assert on_time(tables) is Status.FAIL


def places(tables: dict[str, Any], *codes: int, **more: int) -> Status:
    planted_visits.visit(tables, *codes, **more)
    return judge(tables, "subscribers-find-places")["subscribers-find-places"].status


def test_a_zone_that_sends_its_subscribers_away_is_no_leak(tables):
    """Half of the visitors come to a task without market data, for a while."""
    assert places(tables, *[PLANNED_RECONNECT, planted_visits.TRY_ELSEWHERE] * 60) is Status.PASS


def test_streams_that_end_with_their_task_or_after_seconds_were_not_refused(tables):
    """Its connections are reset, or closed as it drains; one without market data for 6 s closes its streams."""
    assert places(tables, *[1006] * 60, *[1012] * 60) is Status.PASS
    assert places(tables, *[planted_visits.TRY_ELSEWHERE] * 60, lasts_ns=6 * 10**9) is Status.PASS


def test_a_few_visitors_may_be_sent_away_in_a_row(tables):
    codes = [PLANNED_RECONNECT] * 40 + [planted_visits.TRY_ELSEWHERE] * 20 + [PLANNED_RECONNECT] * 40
    assert places(tables, *codes) is Status.PASS


def test_visitors_need_not_receive_a_markets_events(tables):
    planted_visits.visit(tables, *[PLANNED_RECONNECT] * 3, *[1006] * 3)
    assert judge(tables, "stream-equals-ledger")["stream-equals-ledger"].status is Status.PASS
