"""Evaluate objectives on the history, phase by phase.

What clients cannot see, such as throttled calls to the store, comes from the metrics that the system publishes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kit.model import BOOK, CANCEL, GET_ORDER, NS_PER_MS, NS_PER_S, TRADES, CheckKind, Finding, Phase, Status
from kit.slo import blips
from kit.slo.objectives import Metric, Objective
from kit.slo.samples import (
    Table,
    defect,
    deliveries,
    first_attempts,
    first_fills,
    first_orders,
    is_error,
    latency_ms,
    operations,
    percentile,
    reconnects,
    within,
)
from kit.slo.windows import BY_WINDOW, STRETCH_S, recovery_s

STEADY_PHASE = "before"
# Series of `kit.collect`: the API's throttled calls to the store, and its requests, which show that it published.
THROTTLED, REQUESTS = "store_throttled", "requests"
# A point covers the 10 s after its time, and calls are published up to 5 s late, so points around a phase count too.
POINT_S = 10.0
# The error of an attempt without an answer in time.
TIMEOUT = "timeout"
FIRST_ATTEMPTS = "first attempts, from the intended send"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One metric in one phase. `text` says what the value was made of, or why there is none."""

    value: float | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a measure may read."""

    tables: Mapping[str, Table]
    phases: Mapping[str, Phase]
    steady: Sequence[Objective]
    series: Mapping[str, Table] = field(default_factory=dict)

    @property
    def end(self) -> float:
        return max(phase.end for phase in self.phases.values())


def evaluate(
    attempts: Table,
    stream: Table,
    connections: Table,
    events: Table,
    phases: Sequence[Phase],
    objectives: Sequence[Objective],
    *,
    steady: Sequence[Objective] = (),
    series: Mapping[str, Table] | None = None,
) -> list[Finding]:
    """Make one finding of kind slo per objective.

    `steady`: the objectives that define recovery, by default those of the phase `before`. Recovery is measured from
    the start of its phase to the end of the last phase. `series`: metrics that the system published, by name, as
    tables `t` (epoch s), `value`.
    """
    steady = steady or [one for one in objectives if one.phase == STEADY_PHASE]
    tables = {"attempts": attempts, "stream": stream, "connections": connections, "events": events}
    run = Run(tables=tables, phases={phase.name: phase for phase in phases}, steady=steady, series=series or {})
    return [_judge(one, _measure(one, run)) for one in objectives]


def steady_state(attempts: Table, phases: Sequence[Phase], objectives: Sequence[Objective]) -> list[Finding]:
    """Check the hypothesis before the fault: one finding of kind hypothesis per objective of the phase `before`.

    A system that is too slow is INVALID and not FAIL, because a fault cannot be judged on a system that was not steady.
    A build whose own errors break the objective is FAIL: nothing else makes it answer 5xx or drop connections before
    anything is broken. Without such objectives there is one INVALID finding.
    """
    run = Run(tables={"attempts": attempts}, phases={phase.name: phase for phase in phases}, steady=())
    asked = [one for one in objectives if one.phase == STEADY_PHASE]
    if not asked:
        return [_no_hypothesis()]
    return [
        _judge(one, _measure(one, run), kind=CheckKind.HYPOTHESIS, broken=_broken_hypothesis(one, run)) for one in asked
    ]


def _broken_hypothesis(one: Objective, run: Run) -> Status:
    """Return FAIL for an error objective that is broken even if every time-out had been an answer in time."""
    phase, attempts = run.phases.get(one.phase), run.tables["attempts"]
    if Metric(one.metric) is not Metric.ERROR_RATE or phase is None or defect("attempts", attempts):
        return Status.INVALID
    rows = within(attempts, "intended_ns", phase)
    own = float((is_error(rows) & (rows["error"] != TIMEOUT)).mean()) if len(rows) else 0.0
    return Status.INVALID if one.met(own) else Status.FAIL


def _no_hypothesis() -> Finding:
    return Finding(
        name="steady-state",
        kind=CheckKind.HYPOTHESIS,
        status=Status.INVALID,
        detail=f"steady state is not defined: the scenario has no objective for the phase {STEADY_PHASE!r}",
        phase=STEADY_PHASE,
    )


def _judge(
    one: Objective, measure: Measure, *, kind: CheckKind = CheckKind.SLO, broken: Status = Status.FAIL
) -> Finding:
    metric = Metric(one.metric)
    if measure.value is None:
        status, detail = Status.INVALID, measure.text
    else:
        good = one.met(measure.value)
        status = Status.PASS if good else broken
        bound = "at least" if metric.is_minimum else "at most"
        detail = f"{_number(measure.value, metric)} {measure.text}, allowed {bound} {_number(one.limit, metric)}"
        if not good and kind is CheckKind.HYPOTHESIS:
            detail = f"not steady before the fault: {detail}"
    return Finding(
        name=metric.check,
        kind=kind,
        status=status,
        detail=detail,
        measured=measure.value,
        limit=one.limit,
        unit=metric.unit,
        phase=one.phase,
    )


def _number(value: float, metric: Metric) -> str:
    if metric.unit == "share":
        return f"{100 * value:.4g} %"
    return f"{value:.4g} {metric.unit}"


def _measure(one: Objective, run: Run) -> Measure:
    phase, metric = run.phases.get(one.phase), Metric(one.metric)
    if phase is None:
        return Measure(value=None, text=f"the run has no phase {one.phase!r}")
    needs, measure = MEASURES[metric]
    missing = next((why for name in needs if (why := defect(name, run.tables.get(name)))), "")
    return Measure(value=None, text=missing) if missing else measure(run, phase, metric)


def _share(metric: Metric) -> int:
    return int(metric.value.rpartition("_p")[2])


def _latency(run: Run, phase: Phase, metric: Metric) -> Measure:
    rows = within(first_orders(run.tables["attempts"]), "intended_ns", phase)
    return _percentile(rows["intended_ns"] / NS_PER_S, latency_ms(rows), metric, FIRST_ATTEMPTS)


def _operation(run: Run, phase: Phase, metric: Metric) -> Measure:
    rows = within(operations(run.tables["attempts"]), "intended_ns", phase)
    took_ms = (rows["done_ns"] - rows["intended_ns"]) / NS_PER_MS
    return _percentile(rows["intended_ns"] / NS_PER_S, took_ms, metric, "orders with their retries")


def _by_operation(run: Run, phase: Phase, metric: Metric) -> Measure:
    operations, what = OPERATIONS[metric]
    rows = within(first_attempts(run.tables["attempts"], operations), "intended_ns", phase)
    return _percentile(rows["intended_ns"] / NS_PER_S, latency_ms(rows), metric, f"{what}, from the intended send")


def _delivery(run: Run, phase: Phase, metric: Metric) -> Measure:
    rows = deliveries(run.tables["stream"], run.tables["events"])
    rows = rows[(rows["t"] >= phase.start) & (rows["t"] < phase.end)]
    return _percentile(rows["t"], rows["ms"], metric, "ledger events, from commit to the first subscriber")


def _first_fill(run: Run, phase: Phase, metric: Metric) -> Measure:
    rows = first_fills(run.tables["attempts"], run.tables["stream"], run.tables["events"])
    rows = rows[(rows["t"] >= phase.start) & (rows["t"] < phase.end)]
    return _percentile(rows["t"], rows["ms"], metric, "orders that traded on arrival, from first send to first fill")


def _percentile(times_s: Table, samples: Table, metric: Metric, what: str) -> Measure:
    """Measure the percentile without the phase's worst second; `text` also names the one with it if that differs."""
    if not len(samples):
        return Measure(value=None, text=f"no samples: no {what} in this phase")
    share = _share(metric)
    value, whole = blips.percentile(times_s, samples, share), percentile(samples, share)
    text = f"at p{share} of {len(samples):,} {what}"
    return Measure(
        value=value, text=text if value == whole else f"{text}, without the worst second ({whole:.4g} ms with it)"
    )


def _error_rate(run: Run, phase: Phase, _: Metric) -> Measure:
    rows = within(run.tables["attempts"], "intended_ns", phase)
    if rows.empty:
        return Measure(value=None, text="no samples: no attempts in this phase")
    errors = is_error(rows)
    text = f"({int(errors.sum()):,} of {len(rows):,} attempts got no answer or a 5xx)"
    return Measure(value=float(errors.mean()), text=text)


def _availability(run: Run, phase: Phase, _: Metric) -> Measure:
    rows = within(operations(run.tables["attempts"]), "intended_ns", phase)
    if rows.empty:
        return Measure(value=None, text="no samples: no orders in this phase")
    text = f"({int(rows['ok'].sum()):,} of {len(rows):,} orders were acknowledged in the end)"
    return Measure(value=float(rows["ok"].mean()), text=text)


def _reconnect(run: Run, phase: Phase, _: Metric) -> Measure:
    connections = run.tables["connections"]
    lost = within(reconnects(connections, run.end), "lost_ns", phase)
    if len(lost):
        never = int((~lost["back"]).sum())
        text = f"at most, {len(lost):,} streams were lost" + (f" and {never:,} never came back" if never else "")
        return Measure(value=float(lost["ms"].max()), text=text)
    ended = connections["closed_ns"].where(connections["closed_ns"] > 0, int(run.end * NS_PER_S) + 1)
    here = (
        (connections["opened_ns"] > 0)
        & (connections["opened_ns"] < phase.end * NS_PER_S)
        & (ended > phase.start * NS_PER_S)
    )
    if not here.any():
        return Measure(value=None, text="no samples: no subscriber was connected in this phase")
    return Measure(value=0.0, text=f"({int(here.sum()):,} streams were open and none was lost)")


def _recovery(run: Run, phase: Phase, _: Metric) -> Measure:
    attempts = run.tables["attempts"]
    if not any(Metric(one.metric) in BY_WINDOW for one in run.steady):
        return Measure(value=None, text="steady state is not defined: no latency or error objective")
    rest = Phase(name="rest", start=phase.start, end=run.end)
    if within(attempts, "intended_ns", rest).empty:
        return Measure(value=None, text="no samples: no attempts from this phase on")
    took = recovery_s(attempts, since=phase.start, until=run.end, steady=run.steady)
    if took is None:
        # A lower bound, longer than the run: the system was not steady before the load ended.
        return Measure(
            value=max(run.end - phase.start, 0.0) + 1.0,
            text=f"at least: there were never {STRETCH_S:g} s of steady state",
        )
    return Measure(value=took, text=f"until {STRETCH_S:g} s of steady state")


def _throttled(run: Run, phase: Phase, _: Metric) -> Measure:
    attempts = within(run.tables["attempts"], "intended_ns", phase)
    if attempts.empty:
        return Measure(value=None, text="no samples: no attempts in this phase")
    if run.series.get(THROTTLED) is None:
        return Measure(value=None, text=f"{THROTTLED}: was not recorded")
    values = _published(run, THROTTLED, phase)
    # An API that publishes metrics but no throttled calls had none. One that publishes nothing may have had some.
    if not len(values) and not len(_published(run, REQUESTS, phase)):
        return Measure(value=None, text="no samples: the API published nothing in this phase")
    calls = float(values.sum())
    text = f"per attempt ({calls:,.0f} throttled calls to the store, {len(attempts):,} attempts)"
    return Measure(value=calls / len(attempts), text=text)


def _published(run: Run, name: str, phase: Phase) -> Table:
    """Return the values of the points that may belong to the phase; none if there is no such series."""
    points = run.series.get(name)
    if points is None:
        return ()
    return points.loc[points["t"].between(phase.start - POINT_S, phase.end + POINT_S), "value"]


# The operations that a metric measures, and what their first attempts are called.
OPERATIONS: Mapping[Metric, tuple[tuple[str, ...], str]] = {
    Metric.CANCEL_MS_P95: ((CANCEL,), "cancels"),
    **dict.fromkeys((Metric.ORDER_READ_MS_P50, Metric.ORDER_READ_MS_P95), ((GET_ORDER,), "reads of orders")),
    **dict.fromkeys(
        (Metric.MARKET_READ_MS_P50, Metric.MARKET_READ_MS_P95), ((BOOK, TRADES), "reads of books and trades")
    ),
}
MEASURES: dict[Metric, tuple[tuple[str, ...], Callable[[Run, Phase, Metric], Measure]]] = {
    Metric.LATENCY_MS_P50: (("attempts",), _latency),
    Metric.LATENCY_MS_P95: (("attempts",), _latency),
    Metric.LATENCY_MS_P99: (("attempts",), _latency),
    Metric.OPERATION_MS_P50: (("attempts",), _operation),
    Metric.OPERATION_MS_P95: (("attempts",), _operation),
    Metric.OPERATION_MS_P99: (("attempts",), _operation),
    Metric.CANCEL_MS_P95: (("attempts",), _by_operation),
    Metric.ORDER_READ_MS_P50: (("attempts",), _by_operation),
    Metric.ORDER_READ_MS_P95: (("attempts",), _by_operation),
    Metric.MARKET_READ_MS_P50: (("attempts",), _by_operation),
    Metric.MARKET_READ_MS_P95: (("attempts",), _by_operation),
    Metric.DELIVERY_MS_P95: (("stream", "events"), _delivery),
    Metric.ERROR_RATE: (("attempts",), _error_rate),
    Metric.AVAILABILITY: (("attempts",), _availability),
    Metric.TIME_TO_FIRST_FILL_MS_P95: (("attempts", "stream", "events"), _first_fill),
    Metric.RECONNECT_MS_MAX: (("connections",), _reconnect),
    Metric.RECOVERY_S: (("attempts",), _recovery),
    Metric.THROTTLED_CALLS_PER_ATTEMPT: (("attempts",), _throttled),
}
