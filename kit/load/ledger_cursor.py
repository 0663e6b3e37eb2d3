"""Choose the ledger cursor of each read of trades.

All clients share the cursors, so that some reads reach the end of a ledger instead of repeating its first pages. Where
a ledger has a past, the cursors begin behind it.
"""

from __future__ import annotations

import json

from kit.load.orders import CURSOR, Draws, Operation
from kit.load.plan import LoadPlan

FROM_START_RATIO = 0.25  # of the reads of trades, which start at the beginning of the ledger
CURSOR_MAX = 2**53  # the API accepts no larger cursor


class LedgerCursors:
    """The largest `next` cursor that any page of a market returned."""

    __slots__ = ("_largest", "_seed")

    def __init__(self, plan: LoadPlan) -> None:
        self._seed = plan.seed
        self._largest = {symbol: plan.past_seq(symbol) for symbol in plan.markets}

    def with_cursor(self, operation: Operation) -> Operation:
        """Return the read with its cursor: the market's largest, or in a seeded share of reads the beginning."""
        if Draws(self._seed, operation.op_id, CURSOR).unit() < FROM_START_RATIO:
            return operation
        return operation._replace(after=self._largest.get(operation.symbol, 0))

    def advance(self, symbol: str, reply: bytes) -> None:
        """Take over the `next` cursor of a page. A reply without a valid cursor is ignored."""
        try:
            page = json.loads(reply)
        except ValueError:
            return
        cursor = page.get("next") if isinstance(page, dict) else None
        if isinstance(cursor, int) and not isinstance(cursor, bool) and cursor <= CURSOR_MAX:
            self._largest[symbol] = max(cursor, self._largest.get(symbol, 0))
