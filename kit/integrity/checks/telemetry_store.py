"""Check what the tables count of their callers: throttled calls, as the tasks count them, and writers in conflict."""

from __future__ import annotations

from kit.integrity.checks.telemetry import COMPONENTS, bound_words, out_of_bounds, start_s, unreported
from kit.integrity.evidence.evidence import Evidence
from kit.integrity.evidence.published_metrics import EDGE_POINT_S, overlapping
from kit.integrity.findings.check import Checks, Result, by_row
from kit.integrity.findings.counterexample import Step, Subject
from kit.model import FaultWindow

CHECKS = Checks()
# The series of `kit.collect` with the requests that a table throttled; one for each table.
TABLES_COUNTED = "throttled_requests"
# Service → the series of its metric; the API's is the one of the objectives.
TASKS_COUNTED = {one: "store_throttled" if one == "api" else f"store_throttled_{one}" for one in COMPONENTS}


CONFLICTS, COMMANDS = "transaction_conflicts@markets", "matcher_lag_count"
# One writer at a time conflicts with nobody; two of them met 136 times in 1,300 commands. A receipt that expires while
# a machine pauses makes two writers for a moment.
CONFLICTS_MIN, CONFLICTS_SHARE_MAX = 10, 0.03
WAIT = "aws:fis:wait"


@CHECKS.add(
    "throttles-counted",
    noun="throttled calls to the store",
    hold="are in the metric StoreThrottled of the task that made them",
    broke="are missing in the metric StoreThrottled or counted too often",
    needs=("attempts", "series"),
)
def throttles_counted(evidence: Evidence) -> Result:
    """Check that StoreThrottled of all tasks equals ThrottledRequests of all tables.

    A transaction that two tables throttle is one call. A task may not see the answer while a fault disturbs its
    network, and may lose what it counted last.
    """
    series = evidence.series
    tables = {name: series.total(name) for name in series.parts(TABLES_COUNTED)}
    if not tables:
        return Result(examined=0, inconclusive="series: ThrottledRequests of no table was read from CloudWatch")
    tasks = {one: series.total(name) for one, name in TASKS_COUNTED.items()}
    least, most = round(max(tables.values())) - _unseen(evidence), round(sum(tables.values()))
    counted = sum(tasks.values())
    wrong = out_of_bounds(counted, least, most)
    told = f"the tables throttled {bound_words(max(0, least), most)}, the tasks counted {counted:,.0f}"
    parts = ", ".join(f"{name} {count:,.0f}" for name, count in {**tables, **tasks}.items() if count)
    step: Step = {"t": start_s(evidence), "what": f"from here on {told}: {parts or 'nothing'}", "source": "telemetry"}
    return by_row(
        evidence,
        examined=max(most, wrong, 1),
        violations=wrong,
        example=lambda: told,
        subject=lambda: Subject(steps=(step,)),
    )


def _unseen(evidence: Evidence) -> int:
    """Count throttled requests whose answers tasks may not have seen, or may not have been able to publish."""
    windows = unreported(evidence)
    points = [evidence.series.of(name) for name in evidence.series.parts(TABLES_COUNTED)]
    return round(sum(float(one[overlapping(one[:, 0], EDGE_POINT_S, windows), 1].sum()) for one in points))


@CHECKS.add(
    "one-writer-a-market",
    noun="commands in the metric MatcherLagMs",
    hold="were written by one matcher at a time, as far as nothing was broken",
    broke="met another matcher that wrote the same market, while nothing was broken",
    needs=("attempts", "series"),
)
def one_writer_a_market(evidence: Evidence) -> Result:
    """Check that matchers do not compete for a market: TransactionConflict of the markets' table stays next to nothing.

    A queue gives a market's messages to one matcher at a time, which keeps them in order. Faults may lead to two: a
    frozen matcher resumes, a receipt expires. Points are only judged if nothing was broken before their end.
    """
    points = evidence.series.of(CONFLICTS)
    judged = points[points[:, 0] + EDGE_POINT_S <= _broken_from(evidence.fault)]
    conflicts, commands = float(judged[:, 1].sum()), evidence.series.total(COMMANDS)
    allowed = max(CONFLICTS_MIN, round(CONFLICTS_SHARE_MAX * commands))
    wrong = max(0, round(conflicts) - allowed)
    told = f"{conflicts:,.0f} writes of markets met a transaction, of {commands:,.0f} commands; allowed are {allowed:,}"
    step: Step = {"t": start_s(evidence), "what": f"from here on {told}", "source": "telemetry"}
    return by_row(
        evidence,
        examined=max(round(commands), wrong, 1),
        violations=wrong,
        example=lambda: told,
        subject=lambda: Subject(steps=(step,)),
    )


def _broken_from(fault: FaultWindow | None) -> float:
    """Return when the first action but waiting began, in epoch s; infinity without one."""
    acted = [one for one in (fault.actions if fault else ()) if one["action_id"] != WAIT]
    if any(one.get("start") is None for one in acted):
        return float("-inf")
    return min((float(one["start"]) for one in acted), default=float("inf"))
