"""Check that the metrics of PaperBroker are true: guardrails and objectives rest on them.

Counts are compared over the whole run, in which every publish has come in, so that they must agree exactly but for:

- requests whose answer no client saw: a task may have counted them or not;
- what a task counted after its last publish, if it was killed or cut off from CloudWatch (`unpublished`);
- a commit whose answer the matcher did not get: it counts neither its commands nor their fills. The ledger tells how
  many commands it has, so that the fills of those that were counted must agree exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from kit.integrity.arrays.columns import Rows
from kit.integrity.arrays.grouping import present
from kit.integrity.evidence.client_tables import CANCEL, FAIL, ORDER
from kit.integrity.evidence.evidence import Evidence, acknowledged, final_status
from kit.integrity.evidence.ledger_tables import FILL
from kit.integrity.evidence.published_metrics import POINT_S, Window, inside, slow_networks, unpublished
from kit.integrity.evidence.refusals import of_task
from kit.integrity.findings.check import Checks, Result, by_row
from kit.integrity.findings.counterexample import Step, Subject
from kit.model import NS_PER_S

CHECKS = Checks()
# Periods that a counterexample shows.
SHOWN_MAX = 6
CREATED, SERVER_ERROR = 201, 500
# Share of the commands whose commit may have lost its answer. A commit holds a few commands, and one call in thousands
# loses its answer on a machine that pauses for seconds.
UNREPORTED_SHARE_MAX = 0.02
COMPONENTS = ("api", "matcher", "relay")
# Check → the series of `kit.collect` whose total it compares.
SERIES_OF = {
    "requests-counted": "requests",
    "errors-counted": "http_5xx",
    "latencies-counted": "latency_count",
    "accepted-orders-counted": "orders_accepted",
    "commands-counted": "matcher_lag_count",
    "fills-counted": "fills",
    "metrics-have-zones": "requests",
    "errors-as-balancer-counted": "http_5xx",
    "throttles-counted": "store_throttled",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a task surely did (`at`: when, epoch s), how many more it may have counted, and how many less."""

    at: np.ndarray
    possible: int
    unreported: int = 0


def done_s(attempts: Rows) -> np.ndarray:
    """Return when each attempt was answered or given up, in epoch s."""
    return np.maximum(attempts["completed_ns"], attempts["late_ns"]) / NS_PER_S


def never_sent(attempts: Rows, status: np.ndarray) -> np.ndarray:
    """Find the attempts that surely reached no server."""
    return (status == 0) & (attempts["outcome"] == FAIL)


def _answers(evidence: Evidence, attempts: Rows, wanted: Callable[[np.ndarray], np.ndarray]) -> Answers:
    """Return the task's answers whose status is `wanted`; those without an answer of a task may have had one."""
    status = final_status(attempts)
    own = of_task(evidence, attempts, status)
    unsent = never_sent(attempts, status)
    return Answers(at=done_s(attempts)[own & wanted(status)], possible=int((~own & ~unsent).sum()))


def _any(status: np.ndarray) -> np.ndarray:
    return status > 0


def _server_error(status: np.ndarray) -> np.ndarray:
    return status >= SERVER_ERROR


def _compared(
    evidence: Evidence,
    metric: str,
    *,
    seen: Answers,
    what: str,
    lost: tuple[Window, ...] | None = None,
    examined: int | None = None,
) -> Result:
    """Compare what was seen with the metric's total.

    `lost`: times whose counts may be missing; by default those that a task could not publish.
    """
    counted = evidence.series.total(metric)
    unpublishable = int(inside(seen.at, lost_counts(evidence) if lost is None else lost).sum())
    least, most = max(0, len(seen.at) - unpublishable - seen.unreported), len(seen.at) + seen.possible
    wrong = out_of_bounds(counted, least, most)

    def example() -> str:
        return f"{what}: {bound_words(least, most)} must have been counted, the tasks published {counted:,.0f}"

    return by_row(
        evidence,
        examined=max(len(seen.at) if examined is None else examined, wrong),
        violations=wrong,
        example=example,
        subject=lambda: Subject(steps=tuple(_windows(evidence, metric, seen.at, what))),
    )


def out_of_bounds(counted: float, least: int, most: int) -> int:
    """Return by how much a count is below or above what it may be; 0 if it is neither."""
    return round(max(least - counted, counted - most, 0))


def bound_words(least: int, most: int) -> str:
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


class JudgedPeriod(Protocol):
    """What was published for some seconds beside what it must agree with, in words."""

    @property
    def start(self) -> float: ...


def by_period(
    evidence: Evidence,
    *,
    examined: int,
    wrong: Sequence[JudgedPeriod],
    span_s: float,
    worst: Callable[[], JudgedPeriod],
) -> Result:
    """Make the result of a check that compares periods. Its counterexample shows the first of the wrong ones."""

    def steps() -> Iterator[Step]:
        for period in sorted(wrong, key=lambda one: one.start)[:SHOWN_MAX]:
            yield {"t": period.start, "what": f"in {span_s:g} s from here: {period}", "source": "telemetry"}

    return by_row(
        evidence,
        examined=examined,
        violations=len(wrong),
        example=lambda: str(worst()),
        subject=lambda: Subject(steps=tuple(steps())),
    )


def _windows(evidence: Evidence, metric: str, seen_s: np.ndarray, what: str) -> Iterator[Step]:
    """Yield the windows in which what was seen and what was published differ most."""
    starts = np.unique(np.floor(np.concatenate([seen_s, evidence.series.of(metric)[:, 0]]) / POINT_S) * POINT_S)
    rows = []
    for start in starts.tolist():
        here = int(((seen_s >= start) & (seen_s < start + POINT_S)).sum())
        rows.append((start, here, evidence.series.within(metric, start, POINT_S)))
    for start, here, told in sorted(sorted(rows, key=lambda row: -abs(row[1] - row[2]))[:SHOWN_MAX]):
        yield {
            "t": start,
            "what": f"in {POINT_S:g} s from here {what}: {here:,}, published as {metric}: {told:,.0f}",
            "source": "telemetry",
        }


@CHECKS.add(
    "requests-counted",
    noun="answers of the API",
    hold="are in its metric Requests, once",
    broke="are missing in its metric Requests or counted too often",
    needs=("attempts", "series"),
)
def requests_counted(evidence: Evidence) -> Result:
    """Check that the metric Requests counts every request: answers that clients got ≤ Requests ≤ attempts sent."""
    seen = _answers(evidence, evidence.of_load(evidence.attempts), _any)
    return _compared(evidence, "requests", seen=seen, what="answers that clients got")


@CHECKS.add(
    "errors-counted",
    noun="answers of the API",
    hold="are in its metric Http5xx exactly if they are a 5xx",
    broke="are a 5xx that its metric Http5xx lacks, or are in it without being one",
    needs=("attempts", "series"),
)
def errors_counted(evidence: Evidence) -> Result:
    """Check that the metric Http5xx counts every 5xx of the API: seen ≤ Http5xx ≤ seen + attempts without an answer."""
    attempts = evidence.of_load(evidence.attempts)
    seen = _answers(evidence, attempts, _server_error)
    return _compared(evidence, "http_5xx", seen=seen, what="5xx answers that clients got", examined=len(attempts))


@CHECKS.add(
    "latencies-counted",
    noun="answers to orders and cancels",
    hold="have a value in the metric LatencyMs, one each",
    broke="have no value in the metric LatencyMs or too many",
    needs=("attempts", "series"),
)
def latencies_counted(evidence: Evidence) -> Result:
    """Check that LatencyMs has a value for each POST that was answered, whatever the answer."""
    sent = evidence.of_load(evidence.attempts)
    seen = _answers(evidence, sent.where(np.isin(sent["op"], (ORDER, CANCEL))), _any)
    return _compared(evidence, "latency_count", seen=seen, what="answers to orders and cancels")


@CHECKS.add(
    "accepted-orders-counted",
    noun="orders that were answered 201",
    hold="are in the metric OrdersAccepted, once",
    broke="are missing in the metric OrdersAccepted or counted too often",
    needs=("attempts", "orders", "series"),
)
def accepted_orders_counted(evidence: Evidence) -> Result:
    """Check that 201 answers ≤ OrdersAccepted ≤ orders stored since the load began; an answer may be lost."""
    sent = evidence.of_load(evidence.sent)
    at = done_s(sent)[final_status(sent) == CREATED]
    before = evidence.sent.where(evidence.sent["index"] < evidence.past_attempts)
    known = np.append(present(before["key"][acknowledged(before)], evidence.key_count), False)
    stored = int((~known[evidence.orders["key"]]).sum())
    seen = Answers(at=at, possible=max(0, stored - len(at)))
    return _compared(evidence, "orders_accepted", seen=seen, what="orders that were answered 201")


@CHECKS.add(
    "commands-counted",
    noun="commands in the ledger",
    hold="have a value in the metric MatcherLagMs, one each, but for the few whose commit may have lost its answer",
    broke="have no value in the metric MatcherLagMs or too many",
    needs=("attempts", "events", "series"),
)
def commands_counted(evidence: Evidence) -> Result:
    """Check that MatcherLagMs has a value for each order and cancel that the ledger got during the load."""
    at = _commands(evidence).at
    seen = Answers(at=at, possible=0, unreported=int(UNREPORTED_SHARE_MAX * len(at)))
    return _compared(evidence, "matcher_lag_count", seen=seen, lost=unreported(evidence), what="commands in the ledger")


@CHECKS.add(
    "fills-counted",
    noun="trades of the ledger",
    hold="are in the metric Fills, once",
    broke="are missing in the metric Fills or counted too often",
    needs=("attempts", "events", "series"),
)
def fills_counted(evidence: Evidence) -> Result:
    """Check that the metric Fills counts every trade that the ledger got during the load.

    A matcher counts a command and its trades together, so that no more trades may be missing than the commands that are
    missing in MatcherLagMs have at most.
    """
    commands, lost = _commands(evidence), unreported(evidence)
    fills = evidence.fills.where(_is_new(evidence)[evidence.fills["index"]])
    at = fills["ts_ns"] / NS_PER_S
    seen = Answers(at=at, possible=0, unreported=commands.fills_of_most(_missing(evidence)))
    return _compared(evidence, "fills", seen=seen, lost=lost, what="trades in the ledger")


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """The orders and cancels that the ledger got during the load: when (epoch s), and the trades of each."""

    at: np.ndarray
    fills: np.ndarray

    def fills_of_most(self, count: int) -> int:
        """Return how many trades so many commands have at most."""
        return int(np.sort(self.fills)[::-1][:count].sum())


def _commands(evidence: Evidence) -> Commands:
    events = evidence.events
    _, first, command = np.unique(events["event"], return_index=True, return_inverse=True)
    fills = np.bincount(command[events["type"] == FILL], minlength=len(first))
    at = events["ts_ns"][first] / NS_PER_S
    during = _is_new(evidence)[first]
    return Commands(at=at[during], fills=fills[during])


def _is_new(evidence: Evidence) -> np.ndarray:
    """Find the ledger's events that are not of the past."""
    past = evidence.market_ranges.find(evidence.events, evidence.past["market"], evidence.past["seq"])
    found = np.ones(len(evidence.events), dtype=bool)
    found[past[past >= 0]] = False
    return found


def _missing(evidence: Evidence) -> int:
    """Return how many commands have no value in MatcherLagMs, as far as a lost answer may be why."""
    at = _commands(evidence).at
    published = int((~inside(at, unreported(evidence))).sum())
    missing = published - round(evidence.series.total("matcher_lag_count"))
    return missing if 0 < missing <= UNREPORTED_SHARE_MAX * len(at) else 0


@CHECKS.add(
    "metrics-have-zones",
    noun="requests",
    hold="are counted by zone as they are in total",
    broke="are counted in total but not by zone, or the other way round",
    needs=("attempts", "series"),
)
def metrics_have_zones(evidence: Evidence) -> Result:
    """Check that a metric's points with the dimension Az add up to those without: for Requests and for Http5xx."""
    series, wrong, told = evidence.series, 0, []
    for name in ("requests", "http_5xx"):
        zones = series.parts(name)
        if not zones:
            return Result(examined=0, inconclusive=f"series: {name} was not read by zone")
        by_zone = sum(series.total(zone) for zone in zones)
        wrong += round(abs(series.total(name) - by_zone))
        told.append(f"{name}: {series.total(name):,.0f} in total, {by_zone:,.0f} in {len(zones)} zones")
    step: Step = {"t": start_s(evidence), "what": f"published from here on: {'; '.join(told)}", "source": "telemetry"}
    return by_row(
        evidence,
        examined=max(round(series.total("requests")), wrong, 1),
        violations=wrong,
        example=lambda: "; ".join(told),
        subject=lambda: Subject(steps=(step,)),
    )


@CHECKS.add(
    "metrics-never-silent",
    noun="periods of 10 s in which tasks of a service ran",
    hold="have a heartbeat",
    broke="have none",
    needs=("attempts", "series"),
)
def metrics_never_silent(evidence: Evidence) -> Result:
    """Check that of each service some task published in every period of the load; clients' traffic never stops."""
    done = done_s(evidence.of_load(evidence.attempts))
    first, last = np.ceil(done.min() / POINT_S) * POINT_S, np.floor(done.max() / POINT_S) * POINT_S
    # The last period also has what was published soon after it.
    periods = [*((start, POINT_S) for start in np.arange(first, last, POINT_S).tolist()), (float(last), 2 * POINT_S)]
    silent = [
        (start, component)
        for component in COMPONENTS
        for start, span_s in periods
        if evidence.series.within(f"heartbeats_{component}", start, span_s) <= 0
    ]

    def steps() -> Iterator[Step]:
        for start, component in sorted(silent)[:SHOWN_MAX]:
            yield {
                "t": start,
                "what": f"no task of the service {component} published anything for {POINT_S:g} s from here",
                "source": "telemetry",
            }

    return by_row(
        evidence,
        examined=len(COMPONENTS) * len(periods),
        violations=len(silent),
        example=lambda: f"service {silent[0][1]} was silent for {POINT_S:g} s",
        subject=lambda: Subject(steps=tuple(steps())),
    )


def lost_counts(evidence: Evidence) -> tuple[Window, ...]:
    """Return the times whose counts a task may not have been able to publish."""
    return unpublished(evidence.series, evidence.fault)


def unreported(evidence: Evidence) -> tuple[Window, ...]:
    """Return the times of `lost_counts`, and those in which a task may not have got the answer that it counts."""
    return (*lost_counts(evidence), *slow_networks(evidence.fault))


def start_s(evidence: Evidence) -> float:
    """Return when the load began, in epoch s."""
    return int(evidence.of_load(evidence.attempts)["invoked_ns"].min()) / NS_PER_S
