"""Check the load balancer's own metrics against its clients, and the tasks' count of errors against those metrics.

The load balancer sees every request and every answer, whatever a build says of itself: an error that a task neither
counts nor marks as its own is still an error of its target. Its counters cover whole minutes, so the few requests by
which the deployment asked whether it was ready are allowed for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from kit.integrity.checks.telemetry import (
    SERVER_ERROR,
    bound_words,
    by_period,
    done_s,
    lost_counts,
    never_sent,
    out_of_bounds,
    start_s,
)
from kit.integrity.evidence.evidence import Evidence, final_status
from kit.integrity.evidence.published_metrics import EDGE_POINT_S, inside, overlapping, slow_networks
from kit.integrity.evidence.refusals import of_task
from kit.integrity.findings.check import Checks, Result, by_row
from kit.integrity.findings.counterexample import Subject
from kit.model import MS_PER_S, NS_PER_S

CHECKS = Checks()
READINESS_REQUESTS_MAX = 10
# The load balancer measures from the request that it sends to a target to the head of the answer: the greater part of
# what a client waits for, 0.68 to 0.97 at p95 in good runs. A task measures less, see `telemetry_latency`.
SHARE_MIN, WAY_MS, LONGER_MAX, LONGER_MS = 0.25, 20.0, 1.2, 10.0
# Fewer answers in a minute say little about a percentile.
ANSWERS_MIN = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How often something must and may have been counted, and how often it was."""

    what: str
    least: int
    most: int
    counted: float

    @property
    def wrong(self) -> int:
        return out_of_bounds(self.counted, self.least, self.most)

    def __str__(self) -> str:
        return f"{self.what}: {bound_words(self.least, self.most)} by what clients saw, {self.counted:,.0f} published"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What clients saw of the load balancer during the load, in attempts and in dials of streams.

    `unknown`: without an answer, so that a target or the load balancer may have answered with anything.
    """

    sent: int
    by_tasks: int
    own_errors: int  # 5xx that the load balancer made itself
    task_errors_s: np.ndarray  # when tasks answered a 5xx, epoch s
    unknown: int
    streams: int
    dials: int

    @property
    def silent(self) -> int:
        """Attempts and dials of which nobody knows the answer, and the deployment's own requests."""
        return self.unknown + self.dials - self.streams + READINESS_REQUESTS_MAX


def _seen(evidence: Evidence) -> Seen:
    attempts, connections = evidence.of_load(evidence.attempts), evidence.connections
    status = final_status(attempts)
    own = of_task(evidence, attempts, status)
    unsent = never_sent(attempts, status)
    return Seen(
        sent=int((~unsent).sum()),
        by_tasks=int(own.sum()),
        own_errors=int((~own & (status >= SERVER_ERROR)).sum()),
        task_errors_s=done_s(attempts)[own & (status >= SERVER_ERROR)],
        unknown=int(((status == 0) & ~unsent).sum()),
        streams=int((connections["opened_ns"] > 0).sum()),
        dials=len(connections),
    )


def _judged(evidence: Evidence, *counts: Count, examined: int) -> Result:
    wrong = [count for count in counts if count.wrong]
    at = start_s(evidence)
    steps = tuple({"t": at, "what": f"from here on: {count}", "source": "telemetry"} for count in wrong)
    return by_row(
        evidence,
        examined=max(examined, sum(count.wrong for count in wrong), 1),
        violations=sum(count.wrong for count in wrong),
        example=lambda: str(wrong[0]),
        subject=lambda: Subject(steps=steps),
    )


@CHECKS.add(
    "balancer-counts-requests",
    noun="requests that tasks answered",
    hold="are in the load balancer's metric RequestCount, once",
    broke="are missing in the load balancer's metric RequestCount or counted too often",
    needs=("attempts", "connections", "series"),
)
def balancer_counts_requests(evidence: Evidence) -> Result:
    """Check that answers of tasks and opened streams ≤ RequestCount ≤ attempts sent and streams dialled."""
    seen = _seen(evidence)
    least, most = seen.by_tasks + seen.streams, seen.sent + seen.dials + READINESS_REQUESTS_MAX
    counted = evidence.series.total("edge_requests")
    count = Count(what="requests passed on to tasks", least=least, most=most, counted=counted)
    return _judged(evidence, count, examined=least)


@CHECKS.add(
    "balancer-tells-errors-apart",
    noun="attempts",
    hold="are a 5xx of a target or of the load balancer exactly if clients got such an answer",
    broke="are a 5xx in the load balancer's metrics without being one, or the other way round",
    needs=("attempts", "connections", "series"),
)
def balancer_tells_errors_apart(evidence: Evidence) -> Result:
    """Check HTTPCode_Target_5XX_Count and HTTPCode_ELB_5XX_Count: seen ≤ counted ≤ seen + what nobody saw answered."""
    seen = _seen(evidence)
    by_tasks = len(seen.task_errors_s)
    counts = [
        Count(what=what, least=least, most=least + seen.silent, counted=evidence.series.total(name))
        for what, name, least in (
            ("5xx answers of targets", "target_5xx", by_tasks),
            ("5xx answers of the load balancer", "edge_5xx", seen.own_errors),
        )
    ]
    return _judged(evidence, *counts, examined=seen.sent)


@CHECKS.add(
    "errors-as-balancer-counted",
    noun="attempts",
    hold="are in the API's metric Http5xx exactly if the load balancer counted a 5xx of a target",
    broke="are a 5xx of a target for the load balancer but not in the API's metric Http5xx, or the other way round",
    needs=("attempts", "connections", "series"),
)
def errors_as_balancer_counted(evidence: Evidence) -> Result:
    """Check that Http5xx of the tasks equals HTTPCode_Target_5XX_Count, whatever the answers looked like to clients.

    A task may count an answer that its client did not wait for, and may lose what it counted last.
    """
    seen = _seen(evidence)
    by_balancer = round(evidence.series.total("target_5xx"))
    lost = int(inside(seen.task_errors_s, lost_counts(evidence)).sum())
    count = Count(
        what="5xx answers of targets",
        least=max(0, by_balancer - lost - seen.dials + seen.streams - READINESS_REQUESTS_MAX),
        most=by_balancer + seen.silent,
        counted=evidence.series.total("http_5xx"),
    )
    return _judged(evidence, count, examined=seen.sent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """The load balancer's p95 of one minute beside that of its clients.

    `clients_ms_max`: the clients' p95 if every request without an answer was answered later than any other; infinite if
    those are more than five of a hundred. `disturbed`: a fault disturbed the network, so that clients also waited for
    the load balancer's connection to a target.
    """

    start: float
    disturbed: bool
    balancer_ms: float
    clients_ms: float
    clients_ms_max: float

    @property
    def is_wrong(self) -> bool:
        too_short = not self.disturbed and self.balancer_ms < SHARE_MIN * (self.clients_ms - WAY_MS)
        return too_short or self.balancer_ms > LONGER_MAX * self.clients_ms_max + LONGER_MS

    def __str__(self) -> str:
        return f"TargetResponseTime p95 {self.balancer_ms:.1f} ms, {self.clients_ms:.0f} ms for clients"


@CHECKS.add(
    "response-time-as-clients-saw",
    noun="minutes with a published TargetResponseTime",
    hold="agree with what clients saw",
    broke="have a response time that clients cannot have seen",
    needs=("attempts", "series"),
)
def response_time_as_clients_saw(evidence: Evidence) -> Result:
    """Check that p95 of TargetResponseTime is at most what clients waited for tasks' answers, and not much less.

    While a fault disturbs the network it may be less: it does not count the time until the load balancer is connected.
    """
    minutes = list(_minutes(evidence))
    wrong = [minute for minute in minutes if minute.is_wrong]
    return by_period(evidence, examined=len(minutes), wrong=wrong, span_s=EDGE_POINT_S, worst=lambda: wrong[0])


def _minutes(evidence: Evidence) -> Iterator[Minute]:
    attempts = evidence.of_load(evidence.attempts)
    status, at = final_status(attempts), done_s(attempts)
    own = of_task(evidence, attempts, status)
    took_ms = (at - attempts["invoked_ns"] / NS_PER_S) * MS_PER_S
    unknown, disturbed = status == 0, slow_networks(evidence.fault)
    p95 = partial(np.percentile, q=95, method="inverted_cdf")
    for start, p95_s in evidence.series.of("target_response_time_s_p95").tolist():
        mine = took_ms[own & (at >= start) & (at < start + EDGE_POINT_S)]
        # What a client gave up before may have been answered in this minute.
        given_up = int((unknown & (at >= start - EDGE_POINT_S) & (at < start + EDGE_POINT_S)).sum())
        if len(mine) >= ANSWERS_MIN:
            yield Minute(
                start=start,
                disturbed=bool(overlapping(np.array([start]), EDGE_POINT_S, disturbed).any()),
                balancer_ms=p95_s * MS_PER_S,
                clients_ms=float(p95(mine)),
                clients_ms_max=float(p95(np.append(mine, [np.inf] * given_up))),
            )
