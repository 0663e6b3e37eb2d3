"""Check that the lags that the matchers publish are those of the ledger: they tell that a market stands still."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kit.integrity.arrays.grouping import spread
from kit.integrity.checks.telemetry import by_period, unreported
from kit.integrity.evidence.evidence import Evidence
from kit.integrity.evidence.published_metrics import POINT_S, Window, inside, overlapping
from kit.integrity.findings.check import Checks, Result
from kit.model import NS_PER_MS, NS_PER_S

CHECKS = Checks()

# Of each period, the greatest published value is compared with this percentile of the ledger's, so that the few
# commits whose answer the matcher never got do not matter.
SHARE = 90
# Values are rounded when they are published, and API and matcher have clocks of their own.
SHORTER_MIN, SHORTER_MS = 0.7, 20.0
# One period may lack the publish of a matcher. Half of the time is not what a lost publish explains.
PERIODS_MIN, ALONE_MIN = 2, 0.5
# Fewer orders in a period have no percentile.
ORDERS_MIN = 10
# Series of `kit.collect`: the greatest value of each metric.
LAG, FIRST_FILL = "matcher_lag_ms_max", "time_to_first_fill_ms_max"
BEATS = "heartbeats_matcher"


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A metric's greatest published value beside the ledger's times of the orders that were committed then."""

    start: float
    metric: str
    published_ms: float
    ledger_ms: float

    @property
    def is_wrong(self) -> bool:
        return self.published_ms < SHORTER_MIN * self.ledger_ms - SHORTER_MS

    @property
    def is_wrong_alone(self) -> bool:
        return self.published_ms < ALONE_MIN * self.ledger_ms - SHORTER_MS

    def __str__(self) -> str:
        name = self.metric.removesuffix("_ms_max").replace("_", " ")
        return f"{name} {self.published_ms:,.0f} ms published at most, {self.ledger_ms:,.0f} ms in the ledger"


@CHECKS.add(
    "lag-as-ledger-shows",
    noun="periods of 10 s with a published lag",
    hold="agree with the ledger",
    broke="have a lag that is shorter than the ledger's",
    needs=("attempts", "events", "orders", "series"),
)
def lag_as_ledger_shows(evidence: Evidence) -> Result:
    """Check that MatcherLagMs and TimeToFirstFillMs count from the acceptance of an order to its commit.

    In each period the greatest published value is at least what most orders took from their stored acceptance to the
    ledger's time of their first event, or of the trade on their arrival. Periods in which no matcher published, whose
    publish may be lost, or in which a commit's answer may be, are left out. If these are all periods of a short run,
    the orders outside such times are judged together.
    """
    periods = list(_periods(evidence)) or list(_rest(evidence))
    wrong = [period for period in periods if period.is_wrong]
    if len(wrong) < PERIODS_MIN:
        wrong = [period for period in wrong if period.is_wrong_alone]
    return by_period(
        evidence,
        examined=len(periods),
        wrong=wrong,
        span_s=POINT_S,
        worst=lambda: max(wrong, key=lambda one: one.ledger_ms),
    )


def _periods(evidence: Evidence) -> Iterator[Period]:
    left_out = unreported(evidence)
    for metric, at, took_ms in _times(evidence):
        for start in np.unique(np.floor(at / POINT_S) * POINT_S).tolist():
            mine = (at >= start) & (at < start + POINT_S)
            if not _is_left_out(start, left_out):
                yield from _compared(evidence, metric, at[mine], took_ms[mine])


def _rest(evidence: Evidence) -> Iterator[Period]:
    """Return all orders that the fault left alone as one period, for a run in which it touched every period."""
    left_out = unreported(evidence)
    for metric, at, took_ms in _times(evidence):
        mine = ~inside(at, left_out)
        yield from _compared(evidence, metric, at[mine], took_ms[mine])


def _compared(evidence: Evidence, metric: str, at: np.ndarray, took_ms: np.ndarray) -> Iterator[Period]:
    """Compare these orders with what was published in their periods and, for the last of each, in the next one."""
    if len(at) < ORDERS_MIN:
        return
    starts = np.unique(np.floor(at / POINT_S) * POINT_S)
    starts = np.union1d(starts, starts + POINT_S)
    if not overlapping(evidence.series.of(BEATS)[:, 0], 0.0, tuple((start, start + POINT_S) for start in starts)).any():
        return
    points = evidence.series.of(metric)
    yield Period(
        start=float(starts[0]),
        metric=metric,
        published_ms=float(points[np.isin(points[:, 0], starts), 1].max(initial=0.0)),
        ledger_ms=float(np.percentile(took_ms, SHARE, method="inverted_cdf")),
    )


def _times(evidence: Evidence) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Return each metric with the times of what it tells in the ledger, epoch s, and how long it took, ms."""
    yield LAG, *_first_events(evidence)
    yield FIRST_FILL, *_first_fills(evidence)


def _is_left_out(start: float, windows: tuple[Window, ...]) -> bool:
    seconds = np.arange(start, start + 2 * POINT_S)
    return bool(inside(seconds, windows).any())


def _first_events(evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Return when each order was sequenced, epoch s, and how long after its acceptance, ms."""
    accepted = evidence.accepted
    return _since_acceptance(evidence, accepted["order"], accepted["ts_ns"])


def _first_fills(evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Return when each order that traded on arrival did so, epoch s, and how long after its acceptance, ms."""
    taker = evidence.fills["order"]
    known = taker >= 0
    orders, first = np.unique(taker[known], return_index=True)
    return _since_acceptance(evidence, orders, evidence.fills["ts_ns"][known][first])


def _since_acceptance(evidence: Evidence, order: np.ndarray, ts_ns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leave out orders that are not stored, and those of earlier loads."""
    orders = evidence.orders
    accepted_ns = spread(orders["order"], orders["accepted_ns"], evidence.order_count)
    began_ns = accepted_ns[order]
    mine = (order >= 0) & (began_ns >= int(evidence.attempts["invoked_ns"].min()))
    return ts_ns[mine] / NS_PER_S, (ts_ns[mine] - began_ns[mine]) / NS_PER_MS
