"""A metric as a series, and which statistics make one. Pure; knows no store."""

from kit.errors import KitError

# The start of each period in epoch seconds → its value; a period without samples is absent.
Series = dict[int, float]

STATISTICS = ("Average", "Sum", "Minimum", "Maximum", "SampleCount")


class UnsupportedQuery(KitError):
    """A metric query that the local CloudWatch would answer wrongly; answered with ValidationError instead."""


def check_statistic(statistic: str) -> None:
    """Refuse a statistic that would silently be answered with the average."""
    if statistic not in STATISTICS and not _is_percentile(statistic):
        raise UnsupportedQuery(f"statistic {statistic!r} is not supported locally; use {', '.join(STATISTICS)} or pNN")


def _is_percentile(statistic: str) -> bool:
    whole, _, fraction = statistic.removeprefix("p").partition(".")
    digits = whole.isdigit() and (not fraction or fraction.isdigit())
    return statistic.startswith("p") and digits and float(statistic[1:]) <= 100
