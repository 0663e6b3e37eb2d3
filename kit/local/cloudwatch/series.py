"""Define a metric's series, and check the name of a statistic."""

import math
import re

from kit.errors import KitError

# The start of each period in epoch seconds → its value; a period without samples is absent.
Series = dict[int, float]

STATISTICS = ("Average", "Sum", "Minimum", "Maximum", "SampleCount")
_RANK = re.compile(r"PR\((\d+(?:\.\d+)?)?:(\d+(?:\.\d+)?)?\)")


class UnsupportedQuery(KitError):
    """A metric query that the local CloudWatch would answer wrongly; answered with ValidationError instead."""


def check_statistic(statistic: str) -> None:
    """Raise UnsupportedQuery for a statistic that MiniStack would silently answer with the average."""
    if statistic not in STATISTICS and not _is_percentile(statistic) and rank_bounds(statistic) is None:
        known = f"{', '.join(STATISTICS)}, pNN or PR(low:high)"
        raise UnsupportedQuery(f"statistic {statistic!r} is not supported locally; use {known}")


def rank_bounds(statistic: str) -> tuple[float, float] | None:
    """Return the bounds of a percentile rank, `PR(low:high)`: the percentage of values over `low` and up to `high`."""
    match = _RANK.fullmatch(statistic)
    if match is None or not any(match.groups()):
        return None
    return float(match[1] or -math.inf), float(match[2] or math.inf)


def _is_percentile(statistic: str) -> bool:
    whole, _, fraction = statistic.removeprefix("p").partition(".")
    digits = whole.isdigit() and (not fraction or fraction.isdigit())
    return statistic.startswith("p") and digits and float(statistic[1:]) <= 100
