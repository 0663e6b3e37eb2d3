"""Check what the build asks of its queue, by the queue's own metrics: calls that do nothing cost money and CPU."""

from __future__ import annotations

from kit.integrity.checks.telemetry import start_s
from kit.integrity.evidence.evidence import Evidence
from kit.integrity.evidence.published_metrics import EDGE_POINT_S, PUBLISH_EVERY_S
from kit.integrity.findings.check import Checks, Result, by_row
from kit.integrity.findings.counterexample import Step, Subject

CHECKS = Checks()
EMPTY, RECEIVED, HEARTBEATS = "queue_empty_receives", "queue_messages_received", "heartbeats_matcher"
# A matcher has two loops, and a receive without messages waits for a second in each: two empty receives a second.
EMPTY_PER_S_MAX = 5.0
# The points of the queue begin up to a period before those of the tasks, and end up to a period later.
EDGES_S = 2 * EDGE_POINT_S


@CHECKS.add(
    "receives-wait",
    noun="receives of the queue",
    hold="had a message, but for those of a matcher that waits for one",
    broke="had no message, more than those of a matcher that waits for one",
    needs=("attempts", "series"),
)
def receives_wait(evidence: Evidence) -> Result:
    """Check that the matchers wait in their receives: NumberOfEmptyReceives ≤ `EMPTY_PER_S_MAX` a second of a task.

    The time of the tasks comes from their heartbeats, one each `PUBLISH_EVERY_S`.
    """
    series = evidence.series
    empty, received = series.total(EMPTY), series.total(RECEIVED)
    if not received:
        return Result(examined=0, inconclusive="series: CloudWatch has no message that was received from the queue")
    beats = series.of(HEARTBEATS)
    at_once = float(beats[:, 1].max()) / 2 if len(beats) else 0.0
    tasks_s = PUBLISH_EVERY_S * float(beats[:, 1].sum()) + EDGES_S * max(at_once, 1.0)
    allowed = round(EMPTY_PER_S_MAX * tasks_s)
    wrong = max(0, round(empty) - allowed)
    told = (
        f"{empty:,.0f} receives had no message and {received:,.0f} messages were received; matchers that wait for "
        f"messages, for {tasks_s:,.0f} s of their time, make at most {allowed:,} such calls"
    )
    step: Step = {"t": start_s(evidence), "what": f"from here on {told}", "source": "telemetry"}
    return by_row(
        evidence,
        examined=max(round(empty + received), 1),
        violations=wrong,
        example=lambda: told,
        subject=lambda: Subject(steps=(step,)),
    )
