"""A violation of several orders is shown by the fewest that still show it, within a bound of checks."""

from __future__ import annotations

from typing import Any

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.integrity.findings.minimise import smallest
from kit.model import Finding, Status
from tests.histories import edits
from tests.histories.run_folder import judge

QUICK = settings(max_examples=60, deadline=None, derandomize=True)


def failed(name: str, tables: dict[str, Any]) -> Finding:
    found = judge(tables, name)[name]
    assert found.status is Status.FAIL, found.detail
    return found


@QUICK
@given(st.integers(1, 60), st.sets(st.integers(0, 59), min_size=1, max_size=4))
def test_nothing_can_be_taken_away_from_the_smallest_part(size, guilty):
    guilty = {number % size for number in guilty}
    assert set(smallest(range(size), lambda part: guilty <= set(part))) == guilty


@QUICK
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30))
def test_the_smallest_part_shows_the_violation_though_it_is_not_monotone(numbers):
    """A part may show it where a larger part does not."""
    things = list(enumerate(numbers))

    def shows(part: Any) -> bool:
        return sum(number for _, number in part) > 2

    found = smallest(things, shows)
    if shows(things):
        assert shows(found)
        assert not any(shows([one for one in found if one is not gone]) for gone in found)
    else:
        assert found == things


def test_the_questions_are_bounded():
    asked = []

    def shows(part: Any) -> bool:
        asked.append(part)
        return {3, 500, 900} <= set(part)

    found = smallest(range(1_000), shows, calls_max=20)
    assert len(asked) <= 20
    assert {3, 500, 900} <= set(found)


def _swap_makers(tables: dict[str, Any]) -> tuple[str, str, str]:
    """Let a taker trade with its second maker first. Returns the taker and both makers."""
    events = tables["events"]
    fills = events[events["type"] == "fill"].sort_values(["market", "seq"])
    after = fills.shift(-1)
    both = fills[(after["taker_order_id"] == fills["taker_order_id"]) & (after["seq"] == fills["seq"] + 1)]
    first = both.index[-1]
    second = fills.index[list(fills.index).index(first) + 1]
    makers = events.loc[[first, second], "maker_order_id"].tolist()
    columns = ["maker_order_id", "maker_client_id", "qty", "price"]
    swapped = events.loc[[second, first], columns].to_numpy()
    tables["events"].loc[[first, second], columns] = swapped
    return events.loc[first, "taker_order_id"], makers[0], makers[1]


def test_a_wrong_priority_is_shown_by_the_taker_and_the_two_makers(tables):
    """Of about 200 earlier orders, only these three and their trades are shown."""
    taker, passed_over, served = _swap_makers(tables)
    found = failed("price-time-replay", tables)
    steps = found.counterexample
    assert any("replay of these" in step["what"] and "alone" in step["what"] for step in steps)
    named = {word.strip(":,") for step in steps if step["source"] == "ledger" for word in step["what"].split()}
    orders = set(tables["events"]["order_id"]) - {""}
    assert {taker, passed_over} <= named & orders <= {taker, passed_over, served}
    assert len(steps) <= 20


def test_a_missing_fill_is_shown_by_the_two_orders_that_had_to_trade(tables):
    fill = edits.row(tables, "events", type="fill")
    edits.drop(tables, "events", edits.rows(tables, "events", trade_id=fill["trade_id"]).index)
    steps = failed("price-time-replay", tables).counterexample
    shown = " ".join(step["what"] for step in steps if step["source"] == "ledger")
    assert fill["taker_order_id"] in shown
    assert fill["maker_order_id"] in shown
    assert any("replay of these 2 orders alone" in step["what"] for step in steps)


def test_invented_cash_is_shown_by_the_one_client_who_has_it(tables):
    tables["positions"].loc[1, "cash"] += 5
    steps = failed("balances-sum-to-zero", tables).counterexample
    assert [step["client_id"] for step in steps] == [tables["positions"]["client_id"].iloc[1]]


def test_a_fill_that_was_posted_twice_is_the_counterexample_of_its_balance(tables):
    fill = edits.row(tables, "events", type="fill", taker_side="BUY")
    held = edits.rows(tables, "positions", client_id=fill["taker_client_id"], market=fill["market"]).index[0]
    tables["positions"].loc[held, "qty"] += fill["qty"]
    tables["positions"].loc[held, "cash"] -= fill["qty"] * fill["price"]
    steps = failed("positions-equal-fills", tables).counterexample
    trades = [step["what"] for step in steps if step["source"] == "ledger"]
    assert len(trades) == 1
    assert f"{fill['qty']} at {fill['price']}" in trades[0]


def test_fills_that_were_never_posted_are_the_counterexample_of_their_balance(tables):
    """Three consecutive fills, as a killed matcher leaves them. Only fills with the same sum are shown."""
    fills = edits.rows(tables, "events", type="fill", market="ACME")
    own = fills[(fills["taker_client_id"] == "c001") | (fills["maker_client_id"] == "c001")].set_index("seq")
    bought = (own["taker_side"] == "BUY") == (own["taker_client_id"] == "c001")
    lots = own["qty"].where(bought, -own["qty"])
    cash = -lots * own["price"]
    held = edits.rows(tables, "positions", client_id="c001", market="ACME").index[0]
    missing = own.sort_index().index[:3]
    tables["positions"].loc[held, "qty"] -= lots[missing].sum()
    tables["positions"].loc[held, "cash"] -= cash[missing].sum()
    steps = failed("positions-equal-fills", tables).counterexample
    shown = [step["seq"] for step in steps if step["source"] == "ledger"]
    assert len(shown) <= len(missing) < len(own)
    assert (abs(lots[shown].sum()), abs(cash[shown].sum())) == (abs(lots[missing].sum()), abs(cash[missing].sum()))


def test_more_trades_than_orders_are_shown_by_the_fewest_orders(tables):
    """Two orders that traded with each other three times have more trades than orders."""
    fill = edits.row(tables, "events", type="fill")
    for number in range(150):
        edits.add_event(tables, fill, trade_id=f"again-{number}")
    steps = failed("trades-within-orders", tables).counterexample
    named = {word for step in steps if step["source"] == "ledger" for word in step["what"].replace(",", "").split()}
    orders = set(tables["events"]["order_id"]) - {""}
    assert named & orders == {fill["taker_order_id"], fill["maker_order_id"]}


def test_unequal_sides_are_shown_only_by_orders_that_differ(tables):
    orders = tables["orders"]
    sold = orders[(orders["side"] == "SELL") & (orders["filled_qty"] > 0)].iloc[0]
    tables["orders"].loc[sold.name, "filled_qty"] = 0
    steps = failed("bought-equals-sold", tables).counterexample
    stored = [step["order_id"] for step in steps if step["source"] == "store"]
    assert stored == [sold["order_id"]]


def test_the_counterexample_of_a_doubled_order_is_about_one_key(tables):
    fill = edits.row(tables, "events", type="fill")
    accepted = edits.row(tables, "events", type="accepted", order_id=fill["taker_order_id"])
    edits.add_event(tables, accepted, event_id="again")
    edits.add_event(tables, fill, event_id="again", trade_id="again")
    steps = failed("no-double-fill", tables).counterexample
    sent = {step["order_id"].split("-")[0] for step in steps if step["source"] == "client"}
    assert sent in ({fill["taker_order_id"]}, {fill["maker_order_id"]})
    assert pd.Series([step["t"] for step in steps if step["t"] is not None]).is_monotonic_increasing


def test_a_gap_is_shown_by_the_events_on_either_side_of_it(tables):
    events = tables["events"]
    gone = events.index[(events["market"] == "ACME") & events["seq"].between(20, 60)]
    edits.drop(tables, "events", gone)
    steps = failed("gap-free-sequence", tables).counterexample
    assert [step["seq"] for step in steps] == [17, 18, 19, 61, 62, 63, 64]
