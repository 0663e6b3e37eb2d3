"""Test that operation i is a function of plan and i, and that the mix makes a market."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from kit.load import LoadPlan, follow_ups, malformed, resubmissions
from kit.load.identifiers import LENGTH_MAX, SEPARATORS, client_name, is_client_name
from kit.load.ledger_cursor import LedgerCursors
from kit.load.orders import (
    BOOK_DEPTHS,
    JOINED_KEY_BACK,
    LARGE_ORDER_CLIENTS,
    LARGE_QTY_MAX,
    LARGE_RATIO,
    LIMIT_REACH,
    LOT_SIZES,
    PASSIVE_RATIO,
    PASSIVE_REACH,
    PRICE_MIDS,
    QTY_MAX,
    SHARED_KEY_BACK,
    SIMILAR_KEY_BACK,
    SIMILAR_ORDER_ID_BACK,
    TRADES_LIMITS,
    Draws,
    Operation,
    OrderFlow,
)
from kit.load.requests import Requests
from kit.load.schedule import arrivals_ns
from kit.model import BOOK, CANCEL, NS_PER_MS, ORDER, TRADES
from paperbroker.domain.orders import parse_order
from paperbroker.errors import InvalidRequest
from paperbroker.request_content import parse_json

PLAN = LoadPlan(api_url="http://x", markets=("ACME", "BOLT"), seed=7)
N = 4_000


def test_same_seed_same_operations() -> None:
    """Operations can be computed in any order."""
    forwards = [OrderFlow(PLAN).operation(i) for i in range(500)]
    flow = OrderFlow(PLAN)
    assert [flow.operation(i) for i in reversed(range(500))] == forwards[::-1]
    other = OrderFlow(replace(PLAN, seed=8))
    assert [other.operation(i) for i in range(500)] != forwards


def test_mulberry32_gives_the_published_numbers() -> None:
    """The generator is mulberry32, so a seed gives the same load in later versions too."""
    draws = Draws(0, 0)
    draws._state = 1
    assert [round(draws.unit(), 10) for _ in range(3)] == [0.6270739406, 0.0027357212, 0.5274470400]


def test_draws_of_neighbours_look_independent() -> None:
    """First draws over i are uniform, and uncorrelated within and between purposes."""
    first = np.array([Draws(7, i).unit() for i in range(N)])
    other = np.array([Draws(7, i, 2).unit() for i in range(N)])
    assert abs(first.mean() - 0.5) < 0.02
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.05
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.05


def test_mix_follows_the_ratios() -> None:
    """The shares of operations and of order types are those of the plan, and both sides are equally frequent."""
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
    names = {order.client_id for order in orders if is_client_name(order.client_id, PLAN.clients)}
    assert names == {client_name(number) for number in range(PLAN.clients)}
    assert {name.lower() for name in names} == {f"c{number:03d}" for number in range(PLAN.clients // 2)}
    large = [order for order in orders if order.client_id in LARGE_ORDER_CLIENTS]
    lots = {order.op_id: order.qty / LOT_SIZES[PLAN.markets.index(order.symbol)] for order in orders}
    assert large == [order for order in orders if lots[order.op_id] > QTY_MAX]
    assert 0.5 * LARGE_RATIO < len(large) / len(orders) < 1.5 * LARGE_RATIO
    assert {order.type for order in large} == {"MARKET"}
    assert max(lots[order.op_id] for order in large) > LARGE_QTY_MAX / 2
    assert all(lot == int(lot) for lot in lots.values())


def test_keys_are_unique_per_client_and_some_are_shared_between_two_clients() -> None:
    """(client, key) is unique. About 1 in 20 key texts is used by exactly two clients, for different requests."""
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


def test_clients_whose_names_differ_in_case_share_some_keys() -> None:
    """Two clients whose names differ in case only use the same key text for different orders."""
    operations = [o for i in range(N) if (o := OrderFlow(PLAN).operation(i)).idempotency_key]
    users: dict[tuple[str, str], set[str]] = {}
    for operation in operations:
        users.setdefault((operation.client_id.lower(), operation.idempotency_key), set()).add(operation.client_id)
    assert sum(len(clients) == 2 for clients in users.values()) > 0.01 * len(operations)


def test_some_keys_of_a_client_differ_in_case_or_in_their_last_character_only() -> None:
    """An implementation that folds case or cuts keys confuses two orders of a client."""
    operations = {i: o for i in range(N) if (o := OrderFlow(PLAN).operation(i)).idempotency_key}
    similar = [
        (operations[i - SIMILAR_KEY_BACK], operation)
        for i, operation in operations.items()
        if operation.op == ORDER and f"k{i}" not in operation.idempotency_key and i - SIMILAR_KEY_BACK in operations
    ]
    pairs = [(a.idempotency_key, b.idempotency_key) for a, b in similar if a.client_id == b.client_id]
    folded = [(a, b) for a, b in pairs if a != b and a.lower() == b.lower()]
    cut = [(a, b) for a, b in pairs if a != b and a[:-1] == b[:-1]]
    assert {len(key) for pair in cut for key in pair} == {LENGTH_MAX}
    assert 0.02 < len(folded) / len(operations) < 0.05
    assert 0.005 < len(cut) / len(operations) < 0.03
    assert max(len(operation.idempotency_key) for operation in operations.values()) == LENGTH_MAX


def test_cancel_names_an_earlier_order_of_its_client() -> None:
    """The order was sent before, by the same client, in the same market."""
    flow = OrderFlow(PLAN)
    operations = [flow.operation(i) for i in range(N)]
    orders = {operation.order_id: operation for operation in operations if operation.op == ORDER}
    cancels = [operation for operation in operations if operation.op == CANCEL]
    assert cancels
    for cancel in cancels:
        order = orders[cancel.order_id]
        assert order.op_id < cancel.op_id
        assert (order.client_id, order.symbol) == (cancel.client_id, cancel.symbol)


def test_reads_of_trades_replace_orders_and_change_no_other_operation() -> None:
    """With a share of reads, an operation is a read instead of an order, or it stays the same, apart from cancels."""
    bare = replace(PLAN, trades_ratio=0)
    pairs = [(OrderFlow(bare).operation(i), OrderFlow(PLAN).operation(i)) for i in range(N)]
    reads = {after.op_id for before, after in pairs if after.op == TRADES}
    assert {before.op for before, after in pairs if after.op_id in reads} == {ORDER}
    others = [(before, after) for before, after in pairs if after.op_id not in reads and before.op != CANCEL]
    # Client and key may come from another operation, which may now be a read without a key.
    without_keys = [[one._replace(client_id="", idempotency_key="") for one in pair] for pair in others]
    assert all(before == after for before, after in without_keys)
    assert sum(before != after for before, after in others) < N / 250


def test_reads_of_trades_have_every_market_and_every_limit() -> None:
    """All start at the beginning until an answer has named a cursor."""
    reads = [o for i in range(4 * N) if (o := OrderFlow(PLAN).operation(i)).op == TRADES]
    assert {read.symbol for read in reads} == set(PLAN.markets)
    limits = Counter(read.limit for read in reads)
    assert set(limits) == set(TRADES_LIMITS)
    assert all(abs(count / len(reads) - 1 / len(limits)) < 0.15 for count in limits.values())
    cursors = LedgerCursors(PLAN)
    assert [cursors.with_cursor(read) for read in reads] == reads
    assert {read.after for read in reads} == {0}


def test_most_reads_of_trades_continue_at_the_largest_cursor() -> None:
    """A read starts at the largest cursor of its market or at the beginning, as the seed decides."""
    reads = [o for i in range(4 * N) if (o := OrderFlow(PLAN).operation(i)).op == TRADES]
    cursors = LedgerCursors(PLAN)
    for reply in (b'{"next":7}', b'{"next":40,"trades":[]}', b'{"next":12}'):
        cursors.advance("ACME", reply)
    placed = [cursors.with_cursor(read) for read in reads]
    assert [read._replace(after=0) for read in placed] == reads
    assert {read.after for read in placed if read.symbol == "BOLT"} == {0}
    acme = [read.after for read in placed if read.symbol == "ACME"]
    assert set(acme) == {0, 40}
    assert 0.1 < acme.count(0) / len(acme) < 0.4


BAD_CURSORS = ("null", "true", "-1", '"9"', "1e300", "99999999999999999999")


@pytest.mark.parametrize("reply", ["", "{", "[]", "7", "{}", *(f'{{"next":{cursor}}}' for cursor in BAD_CURSORS)])
def test_reply_without_a_valid_cursor_is_ignored(reply: str) -> None:
    """Reads keep the cursor that was known before."""
    cursors = LedgerCursors(PLAN)
    cursors.advance("ACME", reply.encode())
    assert {cursors.with_cursor(Operation(i, TRADES, "c001", symbol="ACME")).after for i in range(50)} == {0}


def test_mid_price_moves_and_a_third_of_the_limit_prices_crosses_it() -> None:
    """Limit prices beyond the mid match resting orders of the other side; a tenth is passive."""
    flow = OrderFlow(PLAN)
    mids = [flow.mid(0, i) for i in range(N)]
    assert max(mids) - min(mids) > 300
    limits = [(i, o) for i in range(N) if (o := flow.operation(i)).type == "LIMIT"]
    beyond = passive = 0
    for i, order in limits:
        mid = flow.mid(PLAN.markets.index(order.symbol), i)
        assert order.price > 0 and abs(order.price - mid) <= LIMIT_REACH + PASSIVE_REACH
        passive += (mid - order.price if order.side == "BUY" else order.price - mid) > LIMIT_REACH
        beyond += order.price > mid if order.side == "BUY" else order.price < mid
    assert 0.2 < beyond / len(limits) < 0.45
    assert abs(passive / len(limits) - PASSIVE_RATIO) < 0.02


def test_trades_of_one_market_are_worth_more_than_a_float_can_hold() -> None:
    """Many values of orders are above 2**53, and none of an hour's balances comes near 2**63."""
    orders = [o for i in range(N) if (o := OrderFlow(PLAN).operation(i)).op == ORDER and o.type == "LIMIT"]
    values = {market: [o.qty * o.price for o in orders if o.symbol == market] for market in PLAN.markets}
    assert max(values["ACME"]) < 2**53
    assert sum(value > 2**53 and int(float(value)) != value for value in values["BOLT"]) > 0.1 * len(values["BOLT"])
    assert max(values["BOLT"]) < 2**63 / 200
    assert LARGE_QTY_MAX * LOT_SIZES[1] * PRICE_MIDS[1] < 2**63 / 10


def test_arrivals_are_a_seeded_poisson_process() -> None:
    """Rate and spread of the gaps are right, and offsets ascend within the duration, across blocks too."""
    offsets = np.array(list(arrivals_ns(3, 1_000.0, 10.0)))
    gaps = np.diff(offsets) / NS_PER_MS
    assert abs(len(offsets) - 10_000) < 400
    assert abs(gaps.std() / gaps.mean() - 1) < 0.05  # exponential: deviation equals mean
    assert gaps.min() >= 0 and offsets[-1] < 10e9
    assert list(arrivals_ns(3, 1_000.0, 10.0)) == offsets.tolist()
    assert list(arrivals_ns(4, 1_000.0, 1.0)) != list(arrivals_ns(3, 1_000.0, 1.0))


def test_a_tenth_of_the_resends_gets_a_new_order_id() -> None:
    """Nothing else differs from the first attempt."""
    flow = OrderFlow(PLAN)
    orders = [operation for i in range(1_000) if (operation := flow.operation(i)).op == ORDER]
    again = [resubmissions.resend_content(PLAN, order, 2) for order in orders]
    changed = [(a, b) for a, b in zip(orders, again, strict=True) if a != b]
    assert 0.06 < len(changed) / len(orders) < 0.14
    for before, after in changed:
        assert after == before._replace(order_id=after.order_id)


def test_reused_key_carries_other_content() -> None:
    """The key of an order comes with a cancel, or with one other field. Over many orders each field changes."""
    seen, kinds = set[tuple[str, ...]](), Counter[str]()
    for order in (o for i in range(900) if (o := OrderFlow(PLAN).operation(i)).op == ORDER):
        reused = resubmissions.reuse_content(PLAN, order, 3, "acknowledged")
        kinds[reused.op] += 1
        assert (reused.client_id, reused.idempotency_key) == (order.client_id, order.idempotency_key)
        if reused.op == CANCEL:
            assert (reused.order_id, reused.qty, reused.type) == ("acknowledged", 0, "")
            continue
        changed = tuple(name for name in order._fields if getattr(order, name) != getattr(reused, name))
        assert changed[0] == "order_id" and len(reused.order_id) <= LENGTH_MAX
        assert order.type == "LIMIT" or not {*changed} & {"price", "tif"}
        if changed[1:] == ("qty", "price"):
            assert f"{order.qty}{order.price}" == f"{reused.qty}{reused.price}"
        seen.add(changed[1:])
    assert seen == {("symbol",), ("qty",), ("side",), ("price",), ("tif",), ("qty", "price")}
    assert 0.2 < kinds[CANCEL] / kinds.total() < 0.4


def test_key_of_a_cancel_is_reused_for_another_order_or_with_an_order() -> None:
    """Either the cancel names another order, or a new order comes under its key."""
    cancels = [o for i in range(N) if (o := OrderFlow(PLAN).operation(i)).op == CANCEL]
    reused = [(cancel, resubmissions.reuse_content(PLAN, cancel, 2, "other")) for cancel in cancels]
    assert all(after.idempotency_key == before.idempotency_key for before, after in reused)
    assert {after.order_id for _, after in reused if after.op == CANCEL} == {"other"}
    orders = [after for _, after in reused if after.op == ORDER]
    assert orders and all(after.qty == 1 and after.price > 0 and after.order_id != "other" for after in orders)


def test_some_clients_and_keys_are_equal_when_joined() -> None:
    """With every separator that identifiers may have, and without one, two different pairs read the same."""
    operations = {i: o for i in range(2 * N) if (o := OrderFlow(PLAN).operation(i)).idempotency_key}
    joined = [
        (operations[i - JOINED_KEY_BACK], o)
        for i, o in operations.items()
        if o.op == ORDER and not is_client_name(o.client_id, PLAN.clients) and o.client_id not in LARGE_ORDER_CLIENTS
    ]
    assert 0.02 < len(joined) / len(operations) < 0.06
    found = Counter[str]()
    for before, after in joined:
        assert (before.client_id, before.idempotency_key) != (after.client_id, after.idempotency_key)
        same = [s for s in ("", *SEPARATORS) if s.join(before[2:4]) == s.join(after[2:4])]
        assert len(same) == 1
        found.update(same)
    assert set(found) == {"", *SEPARATORS} and min(found.values()) >= 3


def test_order_ids_are_unique_and_use_every_character_and_the_greatest_length() -> None:
    """Some differ from another one in case or in their last character only."""
    ids = {o.op_id: o.order_id for i in range(N) if (o := OrderFlow(PLAN).operation(i)).op == ORDER}
    assert len(set(ids.values())) == len(ids)
    assert {*"".join(ids.values())} >= {*SEPARATORS}
    assert max(map(len, ids.values())) == LENGTH_MAX
    pairs = [(ids[i - SIMILAR_ORDER_ID_BACK], name) for i, name in ids.items() if i - SIMILAR_ORDER_ID_BACK in ids]
    folded = [(a, b) for a, b in pairs if a != b and a.lower() == b.lower()]
    cut = [(a, b) for a, b in pairs if a != b and a[:-1] == b[:-1]]
    assert len(folded) > 0.02 * len(ids) and len(cut) > 0.003 * len(ids)


def test_books_are_read_to_several_depths() -> None:
    """Few levels and as many as PaperBroker shows."""
    reads = [o for i in range(N) if (o := OrderFlow(PLAN).operation(i)).op == BOOK]
    assert {read.depth for read in reads} == set(BOOK_DEPTHS)


def test_op_ids_of_follow_ups_are_unique_and_fit_a_trace_id() -> None:
    """Every operation that follows another one has an id of its own, below 2 ** 48."""
    every = replace(
        PLAN,
        read_back_ratio=1.0,
        unauthorized_ratio=1.0,
        taken_order_id_ratio=1.0,
        malformed_ratio=1.0,
        malformed_request_ratio=1.0,
        contested_ratio=1.0,
        asked_first_ratio=1.0,
        late_ratio=1.0,
    )
    orders = [o for i in range(600) if (o := OrderFlow(every).operation(i)).op == ORDER]
    ids = [one.operation.op_id for order in orders for one in follow_ups.follow_ups(every, order, order.order_id)]
    assert len(set(ids)) == len(ids) and max(ids) < 2**48


def test_malformed_orders_break_every_rule_in_turn() -> None:
    """A brief run breaks most rules. Bad names are in each of the fields that hold names."""
    sent = [one.operation for i in range(1_300) for one in _malformed(OrderFlow(PLAN).operation(i))]
    every = round(1 / PLAN.malformed_ratio)
    numbers = [(one.op_id - follow_ups.MALFORMED_BASE) // every for one in sent]
    for number, one in zip(numbers, sent, strict=True):
        key = one.idempotency_key.partition(".")[0]
        assert malformed.broken_rule(number, key).items() <= one._asdict().items()
    assert len({number % malformed.RULES for number in numbers}) >= 0.8 * malformed.RULES
    bad = {name for turn in range(3) for name in malformed.broken_rule(turn * malformed.RULES, "k")}
    assert bad == set(malformed.NAMED)
    assert len({one.op_id for one in sent}) == len(sent)


def test_every_rule_of_the_contract_is_broken_by_a_number() -> None:
    """Names, numbers and words, and each fault of a body, which is named in the key."""
    broken = [malformed.broken_rule(number, "run-m7") for number in range(malformed.RULES)]
    assert len({str(one) for one in broken}) == malformed.RULES
    keys = {one["idempotency_key"] for one in broken if "idempotency_key" in one}
    assert {f"run-m7.{fault}" for fault in malformed.BODY_FAULTS} <= keys


@pytest.mark.parametrize("fault", malformed.BODY_FAULTS)
def test_a_fault_of_the_body_is_the_only_one_and_paperbroker_names_its_field(fault: str) -> None:
    """The same order without the fault is accepted."""
    for order in (o for i in range(60) if (o := OrderFlow(PLAN).operation(i)).op == ORDER):
        named = order._replace(idempotency_key=f"run-m{order.op_id}.{fault}", order_id="run-m1")
        parts = [Requests(host="h", port=80, seed=1, started_s=1).encode(named, 1, kind) for kind in ("malformed", "")]
        bad, good = (part.partition(b"\r\n\r\n")[2] for part in parts)
        assert parse_order(parse_json(good), PLAN.markets).order_id == "run-m1"
        with pytest.raises(InvalidRequest) as refused:
            parse_order(parse_json(bad), PLAN.markets)
        assert refused.value.field == fault.partition(".")[0]


def test_an_order_means_the_same_with_and_without_the_defaults_of_the_contract() -> None:
    """Every other attempt leaves out a time in force that is the default."""
    requests, left_out = Requests(host="h", port=80, seed=1, started_s=1), 0
    for order in (o for i in range(200) if (o := OrderFlow(PLAN).operation(i)).op == ORDER):
        bodies = [parse_json(requests.encode(order, n).partition(b"\r\n\r\n")[2]) for n in (1, 2)]
        first, second = (parse_order(body, PLAN.markets) for body in bodies)
        assert first == second and first.tif == order.tif and first.price == order.price
        left_out += sum("tif" not in body for body in bodies)
    assert left_out > 100


def _malformed(order: Operation) -> list[follow_ups.FollowUp]:
    if order.op != ORDER:
        return []
    return [
        one
        for one in follow_ups.follow_ups(PLAN, order, order.order_id)
        if one.kind == "malformed" and one.operation.op == ORDER
    ]
