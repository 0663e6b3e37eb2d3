"""What clients must have known of a market at a moment: how far its ledger had come, as far as anybody was told.

Owns the facts (an event that a subscriber had received, what a client had read) and their times, all by the
generator's one clock; must not know what is judged by them. A read that starts later and shows less is stale.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from kit.integrity.arrays.columns import Rows


class ObservedProgress:
    """Facts (market, seq, since when) of one run."""

    def __init__(self, *facts: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
        """Each of `facts` are columns market, seq, time in ns."""
        market, seq, at_ns = (np.concatenate([one[n] for one in facts]).astype(np.int64) for n in range(3))
        self._known: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for number in pd.unique(market).tolist():
            mine = np.flatnonzero(market == number)
            mine = mine[np.argsort(at_ns[mine], kind="stable")]
            self._known[number] = (at_ns[mine], np.maximum.accumulate(seq[mine]))

    def before(self, market: np.ndarray, at_ns: np.ndarray) -> np.ndarray:
        """The furthest seq of each row's market that was known before the row's time; 0 for none."""
        furthest = np.zeros(len(market), dtype=np.int64)
        for number, (times, seqs) in self._known.items():
            mine = np.flatnonzero(market == number)
            index = np.searchsorted(times, at_ns[mine], side="left") - 1
            furthest[mine] = np.where(index >= 0, seqs[np.maximum(index, 0)], 0)
        return furthest


def streamed_events(stream: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What subscribers had been told; messages that are no ledger event tell nothing."""
    told = stream.where(stream["same"] != 0)
    return told["symbol"], told["seq"], told["received_ns"]
