"""The replay of hand-made ledgers: priority, self-trade, IOC, the fill limit, cancels, and its speed."""

from __future__ import annotations

import time
from typing import Any

import pandas as pd
import pytest

from kit.integrity.checks.price_time import replay as run_model
from kit.integrity.checks.price_time import rows_of
from kit.integrity.matching.reference_book import FILLS_MAX
from kit.model import LEDGER_EVENT_COLUMNS, Finding, Status
from tests.histories.run_folder import evidence_of, judge


def ledger(*rows: dict[str, Any]) -> pd.DataFrame:
    base = {"market": "ACME", "ts_ns": 1}
    full = [base | row | {"seq": seq} for seq, row in enumerate(rows, start=1)]
    return pd.DataFrame(
        {
            name: pd.Series([row.get(name, "" if kind == "string" else 0) for row in full], dtype=kind)
            for name, kind in LEDGER_EVENT_COLUMNS.items()
        }
    )


def accepted(order: str, client: str, side: str, qty: int, price: int, **more: Any) -> dict[str, Any]:
    row = {"type": "accepted", "order_id": order, "client_id": client, "side": side, "qty": qty, "price": price}
    return row | {"order_type": "LIMIT", "tif": "GTC", "event_id": f"e-{order}"} | more


def fill(taker: str, maker: str, qty: int, price: int) -> dict[str, Any]:
    return {"type": "fill", "taker_order_id": taker, "maker_order_id": maker, "qty": qty, "price": price}


def cancelled(order: str, qty: int, reason: str) -> dict[str, Any]:
    return {"type": "cancelled", "order_id": order, "qty": qty, "reason": reason}


def replay(*rows: dict[str, Any]) -> Finding:
    return judge({"events": ledger(*rows)}, "price-time-replay")["price-time-replay"]


def test_best_price_first_then_the_oldest():
    found = replay(
        accepted("s1", "a", "SELL", 2, 11),
        accepted("s2", "b", "SELL", 2, 10),
        accepted("s3", "a", "SELL", 2, 10),
        accepted("t", "c", "BUY", 5, 11),
        fill("t", "s2", 2, 10),
        fill("t", "s3", 2, 10),
        fill("t", "s1", 1, 11),
    )
    assert found.status is Status.PASS


def test_the_newer_order_at_one_price_must_wait():
    found = replay(
        accepted("s1", "a", "SELL", 2, 10),
        accepted("s2", "b", "SELL", 2, 10),
        accepted("t", "c", "BUY", 2, 10),
        fill("t", "s2", 2, 10),
    )
    assert found.status is Status.FAIL
    assert "at ACME seq 4 a trade of order t with order s1, 2 at 10, must follow" in found.detail


def test_a_missing_fill_at_the_end_is_noticed():
    found = replay(accepted("s1", "a", "SELL", 2, 10), accepted("t", "c", "BUY", 2, 10))
    assert found.status is Status.FAIL
    assert "ends after seq 2, but then a trade of order t" in found.detail


def test_a_fill_that_no_command_explains_is_noticed():
    found = replay(accepted("s1", "a", "SELL", 2, 10), fill("t", "s1", 2, 10))
    assert found.status is Status.FAIL
    assert "a new command must follow" in found.detail


@pytest.mark.parametrize(("kind", "tif"), [("MARKET", "IOC"), ("LIMIT", "IOC")])
def test_what_cannot_rest_is_cancelled(kind, tif):
    taker = accepted("t", "c", "BUY", 5, 10, order_type=kind, tif=tif)
    sold = accepted("s1", "a", "SELL", 2, 10)
    assert replay(sold, taker, fill("t", "s1", 2, 10), cancelled("t", 3, "ioc")).status is Status.PASS
    assert replay(sold, taker, fill("t", "s1", 2, 10)).status is Status.FAIL


def test_a_taker_that_meets_its_own_order_stops():
    found = replay(
        accepted("s1", "a", "SELL", 1, 10),
        accepted("s2", "c", "SELL", 1, 10),
        accepted("t", "c", "BUY", 5, 10),
        fill("t", "s1", 1, 10),
        cancelled("t", 4, "self_trade"),
    )
    assert found.status is Status.PASS


def test_a_command_of_too_many_fills_is_rejected_whole_and_changes_nothing():
    """All makers, at their own or at shared prices, keep their priority for the next taker."""
    count = FILLS_MAX + 1
    makers = [accepted(f"s{i}", "a", "SELL", 1, 10 + i // 3) for i in range(count)]
    rejected = accepted("t", "c", "BUY", count, 99) | {
        "type": "rejected",
        "command": "order",
        "reason": "MatchLimitExceeded",
    }
    after = [accepted("u", "c", "BUY", 3, 99), *(fill("u", f"s{i}", 1, 10) for i in range(3))]
    assert replay(*makers, rejected, *after).status is Status.PASS
    assert replay(*makers[1:], rejected).status is Status.FAIL


def test_a_cancel_takes_the_rest_off_the_book():
    rows = [accepted("s1", "a", "SELL", 5, 10), accepted("t", "c", "BUY", 2, 10), fill("t", "s1", 2, 10)]
    assert replay(*rows, cancelled("s1", 3, "client"), accepted("u", "c", "BUY", 1, 10)).status is Status.PASS
    assert replay(*rows, cancelled("s1", 5, "client")).status is Status.FAIL


@pytest.mark.parametrize(
    ("order", "client", "reason"),
    [("nobody", "a", "UnknownOrder"), ("s1", "b", "NotOwner"), ("t", "c", "AlreadyDone")],
)
def test_a_cancel_is_refused_for_its_reason(order, client, reason):
    rows = [accepted("s1", "a", "SELL", 5, 10), accepted("t", "c", "BUY", 2, 10), fill("t", "s1", 2, 10)]
    refusal = {"type": "rejected", "command": "cancel", "order_id": order, "client_id": client, "reason": reason}
    assert replay(*rows, refusal).status is Status.PASS
    assert replay(*rows, refusal | {"reason": "MatchLimitExceeded"}).status is Status.FAIL


def test_an_order_that_was_accepted_twice_rests_in_the_book_twice():
    found = replay(
        accepted("s1", "a", "SELL", 2, 10),
        accepted("s1", "a", "SELL", 2, 10, event_id="again"),
        accepted("t", "c", "BUY", 3, 10),
        fill("t", "s1", 2, 10),
        fill("t", "s1", 1, 10),
        cancelled("s1", 1, "client"),
    )
    assert found.status is Status.PASS


def test_markets_are_counted_one_by_one():
    bad = ledger(accepted("s1", "a", "SELL", 2, 10), fill("t", "s1", 2, 10))
    good = ledger(accepted("s2", "a", "SELL", 2, 10)).assign(market="BOLT")
    found = judge({"events": pd.concat([bad, good])}, "price-time-replay")["price-time-replay"]
    assert (found.measured, found.detail[:13]) == (1, "1 of 2 market")


@pytest.mark.slow
def test_the_model_replays_a_million_commands_in_seconds():
    """250 to 390 thousand commands a second on two shared cores. Far less means that it no longer takes linear time."""
    count = 200_000
    rows = []
    for i in range(count // 2):
        rows += [accepted(f"s{i}", "a", "SELL", 1, 10 + i % 7), accepted(f"t{i}", "c", "BUY", 1, 17)]
        rows.append(fill(f"t{i}", f"s{i}", 1, 10 + i % 7))
    with evidence_of({"events": ledger(*rows)}) as evidence:
        started = time.perf_counter()
        assert run_model(rows_of(evidence, slice(None)), evidence.order_count) is None
        assert count / (time.perf_counter() - started) > 100_000
