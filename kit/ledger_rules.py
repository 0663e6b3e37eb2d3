"""State the rules of a ledger that one pass over its events can check, once for every checker.

`kit.integrity` applies them to the columns of a whole run, the pipeline's assertion Lambda to the events of the last
minutes. So each formula takes numbers or arrays of numbers. Standard library only, because the Lambda has nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule and its sentences: "all 12 {noun} {hold}", "2 of 12 {noun} {broke}"."""

    name: str
    noun: str
    hold: str
    broke: str

    def sentence(self, examined: int, violations: int, example: str) -> str:
        if not violations:
            return f"all {examined:,} {self.noun} {self.hold}"
        return f"{violations:,} of {examined:,} {self.noun} {self.broke}: {example}"


NO_DOUBLE_FILL = Rule(name="no-double-fill", noun="orders", hold="were filled at most once", broke="were filled twice")
EXACTLY_ONCE_PER_KEY = Rule(
    name="exactly-once-per-key", noun="keys", hold="were applied exactly once", broke="were applied more than once"
)
ONE_EVENT_PER_ORDER = Rule(
    name="one-event-per-order", noun="orders", hold="were sequenced by one event", broke="were sequenced more than once"
)
GAP_FREE_SEQUENCE = Rule(
    name="gap-free-sequence",
    noun="ledger events",
    hold="carry the next number of their market",
    broke="do not carry the next number of their market",
)
TRADES_WITHIN_ORDERS = Rule(
    name="trades-within-orders",
    noun="trades",
    hold="are no more in each market than the orders that traded",
    broke="are too many for the orders that traded",
)
RULES = (NO_DOUBLE_FILL, EXACTLY_ONCE_PER_KEY, ONE_EVENT_PER_ORDER, GAP_FREE_SEQUENCE, TRADES_WITHIN_ORDERS)


def over_filled(filled: Any, ordered: Any) -> Any:
    """Return whether the lots that a key's orders got are more than it ordered."""
    return filled > ordered


def matched_again(event: Any, first_event: Any) -> Any:
    """Return whether an order took liquidity under another intake event than the first time."""
    return event != first_event


def sequenced_again(times: Any) -> Any:
    """Return whether an order or a key that was accepted or rejected so many times was sequenced twice."""
    return times > 1


def out_of_sequence(seq: Any, before: Any) -> Any:
    """Return whether an event does not follow the event before it; 0 comes before the first."""
    return seq != before + 1


def excess_trades(trades: int, orders: int) -> int:
    """Return by how many a market's trades exceed the orders that traded: each completes one, and an order once."""
    return max(0, trades - orders)
