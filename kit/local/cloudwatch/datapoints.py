"""Cut the results of GetMetricData into pages of at most MaxDatapoints values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from kit.local.cloudwatch.series import UnsupportedQuery

DATAPOINTS_MAX = 100_800
_TOKEN = re.compile(r"page-(\d{1,9})")


def page(
    results: Sequence[dict[str, Any]], limit: int | None, token: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    """Return the results of one page, and the token of the next one. Raises UnsupportedQuery for another token.

    The values of all results are counted as one list. A result whose values go on is PartialData.
    """
    start = _start(token)
    end = start + int(limit or DATAPOINTS_MAX)
    found, at = [], 0
    for result in results:
        size = len(result["Values"])
        first, last = max(start - at, 0), min(end - at, size)
        # A series without values is shown once, on the first page.
        if first < last or (not size and not start):
            cut = {name: result[name][first:last] for name in ("Timestamps", "Values")}
            found.append({**result, **cut, "StatusCode": "Complete" if last >= size or not size else "PartialData"})
        at += size
    return found, f"page-{end}" if end < at else None


def _start(token: str | None) -> int:
    if token is None:
        return 0
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise UnsupportedQuery(f"NextToken {token!r} is not a token of an answer")
    return int(match[1])
