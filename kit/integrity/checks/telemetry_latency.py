"""Check that the latency that PaperBroker publishes is the one that its clients saw, as far as it can see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kit.integrity.checks.telemetry import by_period
from kit.integrity.evidence.client_tables import CANCEL, INFO, ORDER
from kit.integrity.evidence.evidence import Evidence, final_status
from kit.integrity.evidence.published_metrics import POINT_S, PUBLISH_EVERY_S, inside, slow_networks
from kit.integrity.findings.check import Checks, Result
from kit.model import NS_PER_MS, NS_PER_S

CHECKS = Checks()
CHECK = "latency-as-clients-saw"
# Share of the clients' latency that a task measures at least, after what the way to it takes. In good runs on two busy
# cores it was 0.5 to 0.9 at p50 and 0.18 to 0.95 at p95: where the CPU is short, requests wait before their task reads
# them.
PERCENTILES, SHARE_MIN, WAY_MS = (50, 95), 0.1, 10.0
# A task cannot have taken longer than its clients waited. Its values are rounded, and its periods begin earlier.
LONGER_MAX, LONGER_MS = 1.5, 20.0
# Fewer answers in a period say nothing about a percentile. Neither does a period in which more than this share of the
# attempts failed: a task that sheds load refuses at once what has waited for long before the task could read it.
ANSWERS_MIN, FAILED_SHARE_MAX = 50, 0.5
# Some periods differ in a good run: a machine pauses, or a fault begins or ends between two publishes. A metric that
# lies does so in more than half of the periods, at one of the percentiles at least.
PERIODS_MIN, WRONG_SHARE_MIN = 2, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """One published percentile beside that of the clients in the same period.

    `disturbed`: a fault disturbed the network, so that clients waited for what no task can measure. `longest_ms`: the
    percentile if each attempt without an answer took for ever.
    """

    start: float
    disturbed: bool
    share: int
    published_ms: float
    clients_ms: float
    longest_ms: float

    @property
    def is_wrong(self) -> bool:
        too_short = not self.disturbed and self.published_ms < SHARE_MIN * (self.clients_ms - WAY_MS)
        return too_short or self.published_ms > LONGER_MAX * self.longest_ms + LONGER_MS

    def __str__(self) -> str:
        return f"p{self.share} {self.published_ms:.1f} ms published, {self.clients_ms:.0f} ms for clients"


@CHECKS.add(
    CHECK,
    noun="periods of 10 s with a published latency",
    hold="agree with what clients saw",
    broke="have a latency that clients cannot have seen",
    needs=("attempts", "series"),
)
def latency_as_clients_saw(evidence: Evidence) -> Result:
    """Check that p50 and p95 of LatencyMs agree with the time that clients waited for answers to orders and cancels.

    While a fault disturbs the network, tasks may measure less than clients wait, but never more. Attempts that got no
    answer may have kept a task busy for any time. Single periods may disagree; that most do is a violation.
    """
    periods = list(_periods(evidence))
    wrong = systematic(periods)
    return by_period(evidence, examined=len(periods), wrong=wrong, span_s=POINT_S, worst=lambda: wrong[0])


def periods_max(counts: Sequence[float]) -> int:
    """Return how many latencies can be compared at most, given how many values were published in each period."""
    return len(PERCENTILES) * sum(count >= ANSWERS_MIN for count in counts)


def systematic(periods: Sequence[Period]) -> list[Period]:
    """Return the wrong periods, if at one of the percentiles most of those that could be wrong are."""
    wrong = [period for period in periods if period.is_wrong]
    judged = Counter(period.share for period in periods if period.is_wrong or not period.disturbed)
    found = Counter(period.share for period in wrong)
    mostly = any(count > WRONG_SHARE_MIN * judged[share] for share, count in found.items())
    return wrong if mostly and len(wrong) >= PERIODS_MIN else []


def _periods(evidence: Evidence) -> Iterator[Period]:
    posts = evidence.attempts.where(np.isin(evidence.attempts["op"], (ORDER, CANCEL)))
    answered, failed = final_status(posts) > 0, posts["outcome"] == INFO
    done_ns = np.maximum(posts["completed_ns"], posts["late_ns"])
    at, took_ms = done_ns / NS_PER_S, (done_ns - posts["invoked_ns"]) / NS_PER_MS
    longest_ms = np.where(answered, took_ms, np.inf)
    disturbed = slow_networks(evidence.fault)
    for share in PERCENTILES:
        for start, published_ms in evidence.series.of(f"latency_ms_p{share}").tolist():
            # A point holds what was published in its period: what happened up to one publish earlier.
            begin, end = start - PUBLISH_EVERY_S, start + POINT_S
            here = (at >= begin) & (at < end)
            mine = took_ms[here & answered]
            if len(mine) >= ANSWERS_MIN and failed[here].mean() <= FAILED_SHARE_MAX:
                yield Period(
                    start=start,
                    disturbed=bool(inside(np.array([begin, start, end]), disturbed).any()),
                    share=share,
                    published_ms=published_ms,
                    clients_ms=_percentile(mine, share),
                    longest_ms=_percentile(longest_ms[here], share),
                )


def _percentile(values: np.ndarray, share: int) -> float:
    return float(np.percentile(values, share, method="inverted_cdf"))
