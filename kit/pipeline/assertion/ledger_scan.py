"""Check the rules of the ledger on events in memory, in one pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kit import ledger_rules
from kit.ledger_rules import Rule

ACCEPTED, REJECTED, FILL = "accepted", "rejected", "fill"
ORDER_COMMAND = "order"  # a rejected event that is not of an order refuses a cancel
PASS, FAIL, INVALID = "pass", "fail", "invalid"

Key = tuple[str, str]


class Event(NamedTuple):
    """One ledger event, with the columns of `kit.model.LEDGER_EVENT_COLUMNS` that the rules need."""

    market: str
    seq: int
    type: str
    event_id: str
    order_id: str = ""
    client_id: str = ""
    idempotency_key: str = ""
    qty: int = 0
    command: str = ""
    taker_order_id: str = ""
    maker_order_id: str = ""


class Part(NamedTuple):
    """The events of one market by seq. `before` is the seq before the first event, 0 at the ledger's beginning."""

    events: Sequence[Event]
    before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """The result of one rule. Nothing to check is no pass."""

    rule: Rule
    examined: int
    violations: int
    example: str = ""

    @property
    def status(self) -> str:
        return FAIL if self.violations else PASS if self.examined else INVALID

    @property
    def detail(self) -> str:
        if not self.examined:
            return f"nothing to check: no {self.rule.noun} in the scanned part of the ledger"
        return self.rule.sentence(self.examined, self.violations, self.example)


def scan(parts: Sequence[Part]) -> list[Scanned]:
    """Check every rule on the last part of each market's ledger.

    Orders that were accepted before the scanned part are left out: what they asked for is not known.
    """
    events = [event for part in parts for event in part.events]
    accepted = [event for event in events if event.type == ACCEPTED]
    sequenced = [*accepted, *(event for event in events if event.type == REJECTED and event.command != "cancel")]
    fills = [event for event in events if event.type == FILL]
    return [
        _double_fills(accepted, fills),
        _sequenced_again(
            ledger_rules.EXACTLY_ONCE_PER_KEY, filter(None, map(_key, sequenced)), "key {0[1]} of client {0[0]}"
        ),
        _sequenced_again(ledger_rules.ONE_EVENT_PER_ORDER, (e.order_id for e in sequenced if e.order_id), "order {0}"),
        _gaps(parts),
        _excess_trades(fills),
    ]


def _key(event: Event) -> Key | None:
    return (event.client_id, event.idempotency_key) if event.idempotency_key else None


def _double_fills(accepted: Sequence[Event], fills: Sequence[Event]) -> Scanned:
    key_of: dict[str, Key | None] = {}
    wanted: dict[Key, int] = {}
    for event in accepted:
        key = _key(event)
        key_of.setdefault(event.order_id, key)
        if key:
            wanted.setdefault(key, event.qty)
    got: Counter[Key] = Counter()
    first_event: dict[Key, str] = {}
    again: dict[Key, None] = {}
    for fill in fills:
        for order_id in (fill.taker_order_id, fill.maker_order_id):
            if key := key_of.get(order_id):
                got[key] += fill.qty
        taker = key_of.get(fill.taker_order_id)
        if taker and ledger_rules.matched_again(fill.event_id, first_event.setdefault(taker, fill.event_id)):
            again[taker] = None
    over = [key for key, lots in got.items() if ledger_rules.over_filled(lots, wanted[key])]
    bad = dict.fromkeys([*over, *again])
    example = ""
    if bad:
        client, name = key = next(iter(bad))
        example = f"key {name} of client {client} ordered {wanted[key]} lots and got {got[key]}"
        example += "" if key in over else ", matched under two events"
    return Scanned(
        rule=ledger_rules.NO_DOUBLE_FILL, examined=len(wanted) if fills else 0, violations=len(bad), example=example
    )


def _sequenced_again(rule: Rule, names: Iterable[object], words: str) -> Scanned:
    times = Counter(names)
    bad = [name for name, count in times.items() if ledger_rules.sequenced_again(count)]
    example = f"{words.format(bad[0])} was sequenced {times[bad[0]]} times" if bad else ""
    return Scanned(rule=rule, examined=len(times), violations=len(bad), example=example)


def _gaps(parts: Sequence[Part]) -> Scanned:
    examined, bad = 0, []
    for part in parts:
        before = part.before
        for event in part.events:
            if ledger_rules.out_of_sequence(event.seq, before):
                bad.append(f"{event.market} goes from seq {before} to {event.seq}")
            before = event.seq
        examined += len(part.events)
    return Scanned(
        rule=ledger_rules.GAP_FREE_SEQUENCE, examined=examined, violations=len(bad), example=bad[0] if bad else ""
    )


def _excess_trades(fills: Sequence[Event]) -> Scanned:
    trades: Counter[str] = Counter(fill.market for fill in fills)
    orders: Mapping[str, set[str]] = {market: set() for market in trades}
    for fill in fills:
        orders[fill.market] |= {fill.taker_order_id, fill.maker_order_id} - {""}
    excess = {market: ledger_rules.excess_trades(trades[market], len(orders[market])) for market in trades}
    worst = max(excess, key=lambda market: excess[market], default="")
    example = f"{worst} shows {trades[worst]:,} trades by {len(orders[worst]):,} orders" if worst else ""
    return Scanned(
        rule=ledger_rules.TRADES_WITHIN_ORDERS,
        examined=len(fills),
        violations=sum(excess.values()),
        example=example,
    )
