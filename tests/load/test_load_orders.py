"""Operation i is a function of plan and i, and the mix makes a market."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from kit.load import LoadPlan, resubmissions
from kit.load.ledger_cursor import LedgerCursors
from kit.load.orders import (
    KEY_LENGTH_MAX,
    LARGE_ORDER_CLIENT,
    LARGE_QTY_MAX,
    LARGE_RATIO,
    LIMIT_REACH,
    PASSIVE_RATIO,
    PASSIVE_REACH,
    QTY_MAX,
    SHARED_KEY_BACK,
    SIMILAR_KEY_BACK,
    TRADES_LIMITS,
    Draws,
    Operation,
    OrderFlow,
)
from kit.load.schedule import arrivals_ns
from kit.model import BOOK, CANCEL, NS_PER_MS, ORDER, TRADES

PLAN = LoadPlan(api_url="http://x", markets=("ACME", "BOLT"), seed=7)
N = 4_000


def test_same_seed_same_operations() -> None:
    """Operations can be told in any order, one without the other."""
    forwards = [OrderFlow(PLAN).operation(i) for i in range(500)]
    flow = OrderFlow(PLAN)
    assert [flow.operation(i) for i in reversed(range(500))] == forwards[::-1]
    other = OrderFlow(replace(PLAN, seed=8))
    assert [other.operation(i) for i in range(500)] != forwards


def test_mulberry32_gives_the_published_numbers() -> None:
    """The generator is mulberry32 itself, so that a JavaScript client can draw the same."""
    draws = Draws(0, 0)
    draws._state = 1
    assert [round(draws.unit(), 10) for _ in range(3)] == [0.6270739406, 0.0027357212, 0.5274470400]


def test_draws_of_neighbours_look_independent() -> None:
    """First draws over i are uniform and uncorrelated, for one purpose and between purposes."""
    first = np.array([Draws(7, i).unit() for i in range(N)])
    other = np.array([Draws(7, i, 2).unit() for i in range(N)])
    assert abs(first.mean() - 0.5) < 0.02
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.05
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.05


def test_mix_follows_the_ratios() -> None:
    """Shares of cancels, reads of books and of trades, MARKET and IOC are those of the plan; both sides come alike."""
    flow = OrderFlow(PLAN)
    operations = [flow.operation(i) for i in range(N)]
    kinds = Counter(operation.op for operation in operations)
    assert abs(kinds[CANCEL] / N - PLAN.cancel_ratio) < 0.02
    assert abs(kinds[BOOK] / N - PLAN.book_ratio) < 0.01
    assert abs(kinds[TRADES] / N - PLAN.trades_ratio) < 0.005
    orders = [operation for operation in operations if operation.op == ORDER]
    assert abs(sum(order.side == "BUY" for order in orders) / len(orders) - 0.5) < 0.03
    assert abs(sum(order.type == "MARKET" for order in orders) / len(orders) - PLAN.market_ratio) < 0.02
    assert all(order.tif == "IOC" and order.price == 0 for order in orders if order.type == "MARKET")
    assert len({(order.client_id, order.idempotency_key) for order in orders}) == len(orders)
    assert len({order.client_id for order in orders} - {LARGE_ORDER_CLIENT}) == PLAN.clients
    names = {order.client_id.lower() for order in orders} - {LARGE_ORDER_CLIENT}
    assert names == {f"c{number:03d}" for number in range(PLAN.clients // 2)}
    blocks = [order for order in orders if order.client_id == LARGE_ORDER_CLIENT]
    assert blocks == [order for order in orders if order.qty > QTY_MAX]
    assert 0.5 * LARGE_RATIO < len(blocks) / len(orders) < 1.5 * LARGE_RATIO
    assert {order.type for order in blocks} == {"MARKET"}
    assert max(order.qty for order in blocks) > LARGE_QTY_MAX / 2


def test_keys_are_unique_per_client_and_at_times_another_clients_means_something_else() -> None:
    """(client, key) never comes twice; about 1 in 20 texts is one that another client used before, and not a third."""
    operations = [o for i in range(N) if (o := OrderFlow(PLAN).operation(i)).idempotency_key]
    assert len({(o.client_id, o.idempotency_key) for o in operations}) == len(operations)
    users: dict[str, list[Operation]] = {}
    for operation in operations:
        users.setdefault(operation.idempotency_key, []).append(operation)
    shared = [each for each in users.values() if len(each) > 1]
    assert 0.03 < len(shared) / len(operations) < 0.07
    assert {len(each) for each in shared} == {2}
    for first, second in shared:
        assert first.op_id + SHARED_KEY_BACK == second.op_id
        assert first.client_id != second.client_id
        assert (first.op, first.order_id) != (second.op, second.order_id)


def test_twins_use_the_same_text_at_times() -> None:
    """Two clients that are called alike but for a letter's case use one key's text for different orders."""
    operations = [o for i in range(N) if (o := OrderFlow(PLAN).operation(i)).idempotency_key]
    users: dict[tuple[str, str], set[str]] = {}
    for operation in operations:
        users.setdefault((operation.client_id.lower(), operation.idempotency_key), set()).add(operation.client_id)
    assert sum(len(twins) == 2 for twins in users.values()) > 0.01 * len(operations)


def test_some_keys_of_a_client_differ_in_case_or_in_their_last_character_only() -> None:
    """Whoever folds case, or cuts keys at any length, takes two orders of a client for one."""
    operations = {i: o for i in range(N) if (o := OrderFlow(PLAN).operation(i)).idempotency_key}
    alike = [
        (operations[i - SIMILAR_KEY_BACK], operation)
        for i, operation in operations.items()
        if operation.op == ORDER and f"k{i}" not in operation.idempotency_key and i - SIMILAR_KEY_BACK in operations
    ]
    pairs = [(a.idempotency_key, b.idempotency_key) for a, b in alike if a.client_id == b.client_id]
    folded = [(a, b) for a, b in pairs if a != b and a.lower() == b.lower()]
    cut = [(a, b) for a, b in pairs if a != b and a[:-1] == b[:-1]]
    assert {len(key) for pair in cut for key in pair} == {KEY_LENGTH_MAX}
    assert 0.02 < len(folded) / len(operations) < 0.05
    assert 0.005 < len(cut) / len(operations) < 0.03
    assert max(len(operation.idempotency_key) for operation in operations.values()) == KEY_LENGTH_MAX


def test_cancel_is_about_an_earlier_order_of_its_client() -> None:
    """The order that a cancel names was sent before, by the same client, in the same market."""
    flow = OrderFlow(PLAN)
    operations = [flow.operation(i) for i in range(N)]
    orders = {operation.order_id: operation for operation in operations if operation.op == ORDER}
    cancels = [operation for operation in operations if operation.op == CANCEL]
    assert cancels
    for cancel in cancels:
        order = orders[cancel.order_id]
        assert order.op_id < cancel.op_id
        assert (order.client_id, order.symbol) == (cancel.client_id, cancel.symbol)


def test_reads_of_trades_take_the_places_of_orders_and_shift_no_other_operation() -> None:
    """With them and without, an operation is the same, but that it is a read, or a cancel of an order that is left."""
    bare = replace(PLAN, trades_ratio=0)
    pairs = [(OrderFlow(bare).operation(i), OrderFlow(PLAN).operation(i)) for i in range(N)]
    reads = {after.op_id for before, after in pairs if after.op == TRADES}
    assert {before.op for before, after in pairs if after.op_id in reads} == {ORDER}
    others = [(before, after) for before, after in pairs if after.op_id not in reads and before.op != CANCEL]
    # Client and key may be those of another operation, or almost, which may now be a read that has no key.
    nameless = [[one._replace(client_id="", idempotency_key="") for one in pair] for pair in others]
    assert all(before == after for before, after in nameless)
    assert sum(before != after for before, after in others) < N / 250


def test_reads_of_trades_ask_for_any_market_and_for_few_or_many() -> None:
    """And all from the beginning, until an answer has named a place."""
    reads = [o for i in range(4 * N) if (o := OrderFlow(PLAN).operation(i)).op == TRADES]
    assert {read.symbol for read in reads} == set(PLAN.markets)
    limits = Counter(read.limit for read in reads)
    assert set(limits) == set(TRADES_LIMITS)
    assert all(abs(count / len(reads) - 1 / len(limits)) < 0.15 for count in limits.values())
    cursors = LedgerCursors(PLAN)
    assert [cursors.place(read) for read in reads] == reads
    assert {read.after for read in reads} == {0}


def test_reads_of_trades_go_on_where_an_answer_said_but_for_some() -> None:
    """The furthest place of the read's own market, or the beginning: the seed says which."""
    reads = [o for i in range(4 * N) if (o := OrderFlow(PLAN).operation(i)).op == TRADES]
    cursors = LedgerCursors(PLAN)
    for reply in (b'{"next":7}', b'{"next":40,"trades":[]}', b'{"next":12}'):
        cursors.advance("ACME", reply)
    begun = [cursors.place(read) for read in reads]
    assert [read._replace(after=0) for read in begun] == reads
    assert {read.after for read in begun if read.symbol == "BOLT"} == {0}
    acme = [read.after for read in begun if read.symbol == "ACME"]
    assert set(acme) == {0, 40}
    assert 0.1 < acme.count(0) / len(acme) < 0.4


NO_PLACE = ("null", "true", "-1", '"9"', "1e300", "99999999999999999999")


@pytest.mark.parametrize("reply", ["", "{", "[]", "7", "{}", *(f'{{"next":{place}}}' for place in NO_PLACE)])
def test_an_answer_that_names_no_place_teaches_none(reply: str) -> None:
    """Reads go on from what was known."""
    cursors = LedgerCursors(PLAN)
    cursors.advance("ACME", reply.encode())
    assert {cursors.place(Operation(i, TRADES, "c001", symbol="ACME")).after for i in range(50)} == {0}


def test_mid_price_moves_and_a_good_share_of_limits_crosses_it() -> None:
    """About a third of the limit prices lies beyond the mid and finds what rests on the other side."""
    flow = OrderFlow(PLAN)
    mids = [flow.mid(0, i) for i in range(N)]
    assert max(mids) - min(mids) > 300
    limits = [(i, o) for i in range(N) if (o := flow.operation(i)).type == "LIMIT"]
    beyond = patient = 0
    for i, order in limits:
        mid = flow.mid(PLAN.markets.index(order.symbol), i)
        assert order.price > 0 and abs(order.price - mid) <= LIMIT_REACH + PASSIVE_REACH
        patient += (mid - order.price if order.side == "BUY" else order.price - mid) > LIMIT_REACH
        beyond += order.price > mid if order.side == "BUY" else order.price < mid
    assert 0.2 < beyond / len(limits) < 0.45
    assert abs(patient / len(limits) - PASSIVE_RATIO) < 0.02


def test_arrivals_are_a_seeded_poisson_process() -> None:
    """Rate and spread of the gaps are right, offsets ascend and stay within the duration, across blocks too."""
    offsets = np.array(list(arrivals_ns(3, 1_000.0, 10.0)))
    gaps = np.diff(offsets) / NS_PER_MS
    assert abs(len(offsets) - 10_000) < 400
    assert abs(gaps.std() / gaps.mean() - 1) < 0.05  # exponential: as wide as long
    assert gaps.min() >= 0 and offsets[-1] < 10e9
    assert list(arrivals_ns(3, 1_000.0, 10.0)) == offsets.tolist()
    assert list(arrivals_ns(4, 1_000.0, 1.0)) != list(arrivals_ns(3, 1_000.0, 1.0))


def test_resends_keep_all_but_sometimes_the_order_id() -> None:
    """About a tenth of the resends of an order carries a new order id, and nothing else differs."""
    flow = OrderFlow(PLAN)
    orders = [operation for i in range(1_000) if (operation := flow.operation(i)).op == ORDER]
    again = [resubmissions.resend_content(PLAN, order, 2) for order in orders]
    changed = [(a, b) for a, b in zip(orders, again, strict=True) if a != b]
    assert 0.06 < len(changed) / len(orders) < 0.14
    for before, after in changed:
        assert after == before._replace(order_id=after.order_id)


def test_reuse_probe_carries_other_content_under_the_key() -> None:
    """Key and client stay; order id and exactly one part of the content change, over many orders each of them."""
    seen = set()
    for order in (o for i in range(200) if (o := OrderFlow(PLAN).operation(i)).op == ORDER):
        reused = resubmissions.reuse_content(PLAN, order, 3)
        changed = {name for name in order._fields if getattr(order, name) != getattr(reused, name)}
        assert "order_id" in changed and len(changed) == 2
        assert order.type == "LIMIT" or not changed & {"price", "tif"}
        seen |= changed
    assert seen == {"order_id", "symbol", "qty", "side", "price", "tif"}
