"""Read why PaperBroker refused: the reason in the body of a 4xx."""

from __future__ import annotations

import numpy as np

from kit.integrity.arrays import hashing
from kit.integrity.arrays.columns import Rows
from kit.integrity.arrays.json_columns import parse
from kit.integrity.evidence.evidence import Evidence


def with_reason(evidence: Evidence, refused: Rows, reason: np.uint64) -> Rows:
    """Select the attempts whose answer has this reason, given as its hash."""
    reasons = [
        hashing.texts(parse(texts, {"error": str})["error"]) == reason for texts in evidence.replies(refused["index"])
    ]
    return refused.where(np.concatenate(reasons) if reasons else np.zeros(0, dtype=bool))


def of_task(evidence: Evidence, attempts: Rows, status: np.ndarray) -> np.ndarray:
    """Find the answers that a task made, not the load balancer: each 2xx, and any other in PaperBroker's JSON."""
    found = (status >= 200) & (status < 300)
    asked = np.flatnonzero((status > 0) & ~found)
    first, index = 0, attempts["index"][asked]
    for texts in evidence.replies(index):
        size = len(texts)
        found[asked[first : first + size]] = [text.as_py().startswith("{") for text in texts]
        first += size
    return found
