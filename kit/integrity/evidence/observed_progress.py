"""Tell which seq of each market was known to clients at a given time of the generator's clock.

A seq is known once a subscriber has received that event, or a client has read that seq. A read that starts later and
shows less is outdated.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from kit.integrity.arrays.columns import Rows


class ObservedProgress:
    """The highest known seq of each market over time."""

    def __init__(self, *facts: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
        """Each of `facts` has the columns market, seq, time in ns."""
        market, seq, at_ns = (np.concatenate([fact[n] for fact in facts]).astype(np.int64) for n in range(3))
        self._known: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for number in pd.unique(market).tolist():
            mine = np.flatnonzero(market == number)
            mine = mine[np.argsort(at_ns[mine], kind="stable")]
            self._known[number] = (at_ns[mine], np.maximum.accumulate(seq[mine]))

    def before(self, market: np.ndarray, at_ns: np.ndarray) -> np.ndarray:
        """Return the highest seq of each row's market that was known before the row's time; 0 for none."""
        highest = np.zeros(len(market), dtype=np.int64)
        for number, (times, seqs) in self._known.items():
            mine = np.flatnonzero(market == number)
            index = np.searchsorted(times, at_ns[mine], side="left") - 1
            highest[mine] = np.where(index >= 0, seqs[np.maximum(index, 0)], 0)
        return highest


def streamed_events(stream: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return market, seq and time of the messages that equal a ledger event."""
    events = stream.where(stream["same"] != 0)
    return events["symbol"], events["seq"], events["received_ns"]
