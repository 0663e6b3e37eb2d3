"""Where reads of trades begin: at the beginning of a market's ledger, or at the furthest place that an answer named.

Owns what clients know of places; must not know sockets or timers. Clients share what they know, so that some read
where the ledger ends and not all read its first pages again and again.
"""

from __future__ import annotations

import json

from kit.load.orders import PLACE, Draws, Operation
from kit.load.plan import LoadPlan

FROM_START_RATIO = 0.25  # of the reads of trades: from the beginning, whatever is known
PLACE_MAX = 2**53  # beyond it no API takes a place


class Places:
    """By market, the furthest `next` that a read of trades was answered with."""

    __slots__ = ("_furthest", "_seed")

    def __init__(self, plan: LoadPlan) -> None:
        self._seed = plan.seed
        self._furthest: dict[str, int] = {}

    def begun(self, operation: Operation) -> Operation:
        """The read of trades with the place after which it asks; which of the two it is, is seeded."""
        if Draws(self._seed, operation.op_id, PLACE).unit() < FROM_START_RATIO:
            return operation
        return operation._replace(after=self._furthest.get(operation.symbol, 0))

    def learn(self, symbol: str, reply: bytes) -> None:
        """Take over where to go on; an answer that does not say so teaches nothing."""
        try:
            said = json.loads(reply)
        except ValueError:
            return
        place = said.get("next") if isinstance(said, dict) else None
        if isinstance(place, int) and not isinstance(place, bool) and place <= PLACE_MAX:
            self._furthest[symbol] = max(place, self._furthest.get(symbol, 0))
