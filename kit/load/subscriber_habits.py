"""Define how subscribers behave, and which subscribers a plan has.

Every market has steady subscribers, of which the last one reconnects regularly. The last market also has, if the plan
says so, one that stops reading for longer than buffers last, one that reads more slowly than events come, an absent one
that stays away and then resumes, and again and again a new one that reads the ledger from its beginning. All others
start behind the past that a ledger may have.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kit.load.plan import LoadPlan
from kit.load.shards import Shard
from kit.model import SLOW_SUBSCRIBER

PRESENT_S = 2.0  # how long an absent subscriber is connected before it leaves again
READ_S = 1.0  # how long a slow subscriber reads between two pauses


class Habits(NamedTuple):
    """What a subscriber does on purpose; by default it stays connected and reads everything at once.

    It disconnects `reconnect_s` after it has connected, and dials again `absent_s` later. It stops reading for
    `pause_s` after every `READ_S`. With `share` it reads, once it has what the others have, that share of what they
    receive. With `until_seq` it leaves for good once it has received that seq.
    """

    reconnect_s: float | None = None
    absent_s: float = 0.0
    pause_s: float = 0.0
    share: float = 0.0
    until_seq: int = 0

    @property
    def is_slow(self) -> bool:
        """Whether it leaves messages unread for longer than a ping may take."""
        return bool(self.pause_s or self.share)


class Role(NamedTuple):
    """One subscriber of the plan, with its number among all subscribers of the plan."""

    name: str
    symbol: str
    habits: Habits
    after: int = 0  # the seq after which it first subscribes
    number: int = 0


def roles_of(plan: LoadPlan, shard: Shard) -> list[Role]:
    """Return the subscribers that this shard of the plan has from the beginning."""
    numbered = [role._replace(number=number) for number, role in enumerate(roles(plan))]
    return [role for role in numbered if shard.has_market(plan, role.symbol)]


def roles(plan: LoadPlan) -> Iterator[Role]:
    """Yield the subscribers that the plan has from the beginning."""
    for symbol in plan.markets:
        for number in range(plan.subscribers_per_market):
            is_last = number == plan.subscribers_per_market - 1
            reconnect_s = plan.reconnect_every_s or None if is_last else None
            yield Role(f"s-{symbol}-{number}", symbol, Habits(reconnect_s=reconnect_s), plan.past_seq(symbol))
    symbol = plan.markets[-1]
    after = plan.past_seq(symbol)
    if plan.absent_s:
        yield Role(f"s-{symbol}-absent", symbol, Habits(reconnect_s=PRESENT_S, absent_s=plan.absent_s), after)
    if plan.slow_pause_s:
        yield Role(f"s-{symbol}{SLOW_SUBSCRIBER}", symbol, Habits(pause_s=plan.slow_pause_s), after)
    if plan.trickle_share:
        yield Role(f"s-{symbol}-trickle{SLOW_SUBSCRIBER}", symbol, Habits(share=plan.trickle_share), after)


def replay(plan: LoadPlan, number: int, until_seq: int) -> Role:
    """Return the `number`-th subscriber that reads the ledger of the last market from its beginning to `until_seq`."""
    symbol = plan.markets[-1]
    steady = sum(1 for _ in roles(plan))
    return Role(f"s-{symbol}-replay{number}", symbol, Habits(until_seq=until_seq), number=steady + number)
