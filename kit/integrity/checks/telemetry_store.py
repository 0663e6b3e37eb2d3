"""Check that the tasks count every throttled call to their store, as the tables themselves count them."""

from __future__ import annotations

from kit.integrity.checks.telemetry import COMPONENTS, bound_words, out_of_bounds, start_s, unreported
from kit.integrity.evidence.evidence import Evidence
from kit.integrity.evidence.published_metrics import EDGE_POINT_S, overlapping
from kit.integrity.findings.check import Checks, Result, by_row
from kit.integrity.findings.counterexample import Step, Subject

CHECKS = Checks()
# The series of `kit.collect` with the requests that a table throttled; one for each table.
TABLES_COUNTED = "throttled_requests"
# Service → the series of its metric; the API's is the one of the objectives.
TASKS_COUNTED = {one: "store_throttled" if one == "api" else f"store_throttled_{one}" for one in COMPONENTS}


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
