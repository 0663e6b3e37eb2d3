"""The answers to a few attempts as they came: texts are not kept, so they are read again.

Owns where a reply lies; must not know what it means.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from kit.integrity.arrays.sources import plain
from kit.integrity.evidence.tables import Evidence


def replies(evidence: Evidence, places: np.ndarray) -> Iterator[Any]:
    """The replies of the attempts at these places, ascending, in Arrow arrays of texts one after the other."""
    if not len(places):
        return
    begin = 0
    for batch in evidence.sources["attempts"].batches(("reply",)):
        size = len(batch["reply"])
        mine = places[(places >= begin) & (places < begin + size)] - begin
        yield plain(batch["reply"]).take(pa.array(mine))
        begin += size
