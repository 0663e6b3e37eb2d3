"""The proof of price-time priority: correct markets have one, and a market that a replay refutes has none."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.integrity.checks.price_time import Row, replay
from kit.integrity.evidence.ledger_tables import ACCEPTED, AT_MARKET, BUYS, CANCELLED, FILL, NO_REASON, REFUSED, RESTS
from kit.integrity.matching.priority_proof import proven
from kit.integrity.matching.reference_book import FILLS_MAX, Book

ORDERS_MAX = 40
NOBODY = -1
CHANGES = 8  # tried one by one in each market
SEEDS = st.integers(0, 1_000_000)
QUICK = settings(max_examples=200, deadline=None, derandomize=True)


def market(draw: random.Random) -> list[Row]:
    """A correct market: orders, and cancels of some of them and of unknown orders."""
    book, rows, owners = Book(ORDERS_MAX), [], []
    for _ in range(draw.randint(2, ORDERS_MAX - 1)):
        client, bits = draw.randint(NOBODY, 2), 0
        if not owners or draw.random() < 0.7:
            bits = draw.choice((0, BUYS)) | draw.choice((0, AT_MARKET, RESTS, RESTS, RESTS))
            made = book.order(len(owners), client, bits, draw.randint(1, 5), draw.randint(5, 9))
            owners.append(client)
        else:
            order = draw.choice((NOBODY, ORDERS_MAX - 1, *range(len(owners))))
            made = book.cancel(order) or book.refuse(order, client)
        rows += [(outcome, client, bits) for outcome in made]
    return rows


def changed(draw: random.Random, rows: list[Row]) -> list[Row]:
    """The rows with one of them left out, repeated, moved, or with another number."""
    rows, place = rows.copy(), draw.randrange(len(rows))
    (outcome, client, bits), action = rows[place], draw.randrange(5)
    if action == 0:
        del rows[place]
    elif action == 1:
        rows.insert(draw.randint(0, len(rows)), rows[place])
    elif action == 2:
        rows.insert(draw.randrange(len(rows)), rows.pop(place))
    elif action == 3:
        rows[place] = (outcome, draw.randint(NOBODY, 2), draw.randint(0, 7))
    else:
        numbers = list(outcome)
        numbers[draw.choice((1, 2, 3, 4))] += draw.choice((-1, 1))
        rows[place] = (_recorded(numbers), client, bits)
    return rows


def _recorded(numbers: list[int]) -> Any:
    """The numbers as a ledger row can hold them."""
    kind, order, second, price, qty = numbers
    order = max(order, NOBODY)
    if kind == ACCEPTED:
        return kind, order, 0, price, qty
    if kind == FILL:
        return kind, order, max(second, NOBODY), price, qty
    return kind, order, second % (NO_REASON + 1), 0, qty if kind == CANCELLED else 0


def columns(rows: list[Row]) -> dict[str, np.ndarray]:
    kind, order, second, price, qty = (np.array(column) for column in zip(*(row[0] for row in rows), strict=True))
    client, bits = (np.array([row[n] for row in rows]) for n in (1, 2))
    made = {"type": kind, "order": order, "price": price, "qty": qty, "client": client, "bits": bits}
    made["maker"] = np.where(kind == FILL, second, NOBODY)
    made["reason"] = np.where((kind == CANCELLED) | (kind == REFUSED), second, NO_REASON)
    return made


@QUICK
@given(SEEDS)
def test_a_correct_market_is_proven(seed):
    assert proven(columns(market(random.Random(seed))), ORDERS_MAX)


@QUICK
@given(SEEDS)
def test_no_market_that_a_replay_refutes_is_proven(seed):
    draw = random.Random(seed)
    rows = market(draw)
    for _ in range(CHANGES):
        other = changed(draw, rows)
        if other and proven(columns(other), ORDERS_MAX):
            assert replay(other, ORDERS_MAX) is None


def test_a_command_of_too_many_trades_is_not_proven():
    """The rejection that the rules require is not proven either, because that takes a replay."""
    rows: list[Row] = [((ACCEPTED, order, 0, 10, 1), 0, RESTS) for order in range(FILLS_MAX + 1)]
    for lots in (FILLS_MAX, FILLS_MAX + 1):
        taker = FILLS_MAX + 1
        took = [((FILL, taker, order, 10, 1), 1, 0) for order in range(lots)]
        taken = [*rows, ((ACCEPTED, taker, 0, 10, lots), 1, BUYS), *took]
        assert proven(columns(taken), ORDERS_MAX) is (replay(taken, ORDERS_MAX) is None) is (lots == FILLS_MAX)
