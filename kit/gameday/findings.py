"""From what was recorded to findings: read everything back, keep it, and ask every check.

Owns which checks a run is judged by; the checks themselves know nothing of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from kit import aws, faults, integrity, slo
from kit import collect as collection
from kit.collect import ledger
from kit.load import History
from kit.model import NS_PER_MS, NS_PER_S, CheckKind, Deployment, FaultWindow, Finding, LoadStats, Phase, Status
from kit.scenarios import AVAILABILITY_SLO, Scenario
from kit.slo.objectives import Metric

# A logarithmic axis has no zero.
SHOWN_MS_MIN = 0.1
# The shell's code for a process that somebody else ended with SIGKILL.
SIGKILL_EXIT_CODE = 137
# Above this share of the run without a view of tasks and targets, their curves prove nothing.
BLIND_SHARE_MAX = 0.25
RECOVERY_SHARE_MAX = 0.6
# A run at the scenarios' rates keeps about one processor busy (`gameday suite` prints it). With less than this left to
# it by others, slowness says nothing about the build.
CORES_LEFT_MIN = 0.9
# Objectives that count what the build did, not how long it took: no busy machine makes it ask more often.
COUNTED = frozenset({Metric.THROTTLED_CALLS_PER_ATTEMPT.check})
RECORDED = {"orders sequenced": "accepted", "rejected": "rejected", "fills": "fill", "cancelled": "cancelled"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """All that was measured in one run. Times in epoch seconds."""

    history: History
    ledger: ledger.LedgerSnapshot
    quiescence: ledger.Quiescence
    seconds: pd.DataFrame
    tasks: pd.DataFrame
    alarms: dict[str, list[tuple[float, str]]]
    series: dict[str, pd.DataFrame]
    stops: tuple[faults.TaskStop, ...]
    gaps: tuple[collection.Gap, ...]

    @property
    def order_times(self) -> list[float]:
        events = self.ledger.events
        return (events.loc[events["type"] == "accepted", "ts_ns"] / NS_PER_S).tolist()

    @property
    def fill_times(self) -> list[float]:
        events = self.ledger.events
        return (events.loc[events["type"] == "fill", "ts_ns"] / NS_PER_S).tolist()


def unsteady(seen: Sequence[dict[str, Any]], scenario: Scenario) -> list[str]:
    """Why the load's own counters say that steady state does not hold; a quick look, judged properly at the end.

    `seen`: progress records of the load, one a second, warm-up left out.
    """
    if len(seen) < 2:
        return ["the load reported no progress"]
    first, last = seen[0], seen[-1]
    sent = last["sent"] - first["sent"]
    bad = (last["info"] - first["info"]) / max(1, sent)
    p95s = sorted(at["p95_ms_last"] for at in seen if at["p95_ms_last"] is not None)
    problems = []
    if sent == 0 or last["ok"] == first["ok"]:
        problems.append("no order was acknowledged")
    if bad > scenario.error_rate_limit:
        problems.append(f"{bad:.1%} of the attempts ended unknown or 5xx > {scenario.error_rate_limit:.1%}")
    if p95s and (middle := p95s[len(p95s) // 2]) > scenario.p95_limit_ms:
        problems.append(f"p95 {middle:.0f} ms > {scenario.p95_limit_ms:g} ms")
    return problems


def collect(
    session: aws.Session,
    deployment: Deployment,
    *,
    run_dir: Path,
    history: History,
    watch: collection.TaskWatch,
    quiescence: ledger.Quiescence,
    fault: FaultWindow | None,
    start: float,
    end: float,
) -> Collected:
    """Read ledger and platform back; the ledger is kept beside the history as Parquet."""
    snapshot = ledger.read_ledger(session, deployment)
    folder = run_dir / "ledger"
    folder.mkdir(exist_ok=True)
    for name in ("events", "orders", "positions", "outbox"):
        getattr(snapshot, name).to_parquet(folder / f"{name}.parquet", index=False)
    return Collected(
        history=history,
        ledger=snapshot,
        quiescence=quiescence,
        seconds=slo.per_second(history.attempts),
        tasks=watch.by_zone(),
        alarms=collection.alarm_history(session, collection.guardrails(deployment), start, end),
        series=collection.series(session, deployment, start, end),
        stops=tuple(faults.unexplained_stops(session, deployment, fault, since=start)),
        gaps=watch.gaps(),
    )


def phases(start: float, fault: FaultWindow | None, end: float, scenario: Scenario) -> tuple[Phase, ...]:
    """Before, during, recovery and after; only `before` if nothing was injected.

    What must hold again after the recovery time is not asked while it runs. A load that ends early leaves at least
    the rest of RECOVERY_SHARE_MAX to `after`.
    """
    if not start or end <= start:
        return ()
    if fault is None or fault.injected_at is None:
        return (Phase(name="before", start=start, end=end),)
    over = min(fault.ended_at or end, end)
    recovered = over + min(scenario.recovery_s_max, RECOVERY_SHARE_MAX * (end - over))
    return (
        Phase(name="before", start=start, end=fault.injected_at),
        Phase(name="during", start=fault.injected_at, end=over),
        Phase(name="recovery", start=over, end=recovered),
        Phase(name="after", start=recovered, end=end),
    )


def findings(
    collected: Collected | None,
    *,
    run_dir: Path,
    scenario: Scenario,
    spans: Sequence[Phase],
    fault: FaultWindow | None,
    stats: LoadStats | None,
    leftovers: Sequence[str],
) -> list[Finding]:
    """Every check of a run, in the order in which a reader wants them."""
    if collected is None:
        return []
    history, snapshot = collected.history, collected.ledger
    found = integrity.check_run(run_dir, fault=fault, load=stats)
    # Before the fault the objectives are the hypothesis: a build that is not steady by itself is not judged on a fault.
    found += slo.steady_state(history.attempts, spans, scenario.objectives)
    felt = slo.evaluate(
        history.attempts,
        history.stream,
        history.connections,
        snapshot.events,
        spans,
        [one for one in scenario.objectives if one.phase != slo.STEADY_PHASE],
        steady=[one for one in scenario.objectives if one.phase == slo.STEADY_PHASE],
        series=collected.series,
    )
    # What the fault cost is told beside what was asked, and is no answer of its own.
    found += [*felt, *(slo.error_budget(history.attempts, spans, AVAILABILITY_SLO) if felt else [])]
    found += slo.generator(stats, scenario.objectives)
    found += [_quiet(collected.quiescence), *_fault_findings(scenario, fault)]
    found += [_stops(collected.stops), _watched(collected.gaps, spans), _left_behind(leftovers)]
    return found


def without_excuse(
    found: Sequence[Finding],
    spans: Sequence[Phase],
    cores_left: Callable[[float, float], float | None],
    *,
    denied: Collection[tuple[str, str]] = (),
) -> list[Finding]:
    """The findings, with broken objectives made invalid where other programs held the machine's processors.

    `cores_left(start, end)` is what other processes left to the run. Integrity is never excused: no machine is too
    busy to count. Neither are objectives that are COUNTED, nor those, by check and phase, that are broken by what was
    `denied` alone: slowness loses answers or has them say so, but makes none wrong.
    """
    ends = {phase.name: (phase.start, spans[-1].end if phase.name == "recovery" else phase.end) for phase in spans}
    judged = []
    for one in found:
        left = cores_left(*ends[one.phase]) if one.phase in ends else None
        timed = one.kind is CheckKind.SLO and one.name not in COUNTED
        excusable = timed and (one.name, one.phase) not in denied
        if excusable and one.status is Status.FAIL and left is not None and left < CORES_LEFT_MIN:
            why = f"other processes left the run {left:.2f} cores < {CORES_LEFT_MIN}"
            one = replace(one, status=Status.INVALID, detail=f"{one.detail}; but {why}, which proves nothing")
        judged.append(one)
    return judged


def _quiet(quiescence: ledger.Quiescence) -> Finding:
    waited = f"after {quiescence.waited_s:.1f} s"
    if quiescence.dead_letters:
        status, detail = Status.FAIL, f"{quiescence.dead_letters} accepted events ended in the dead-letter queue"
    elif not quiescence.quiet:
        status = Status.FAIL
        detail = f"{waited} the exchange still held {quiescence.outbox} unsent and {quiescence.queued} queued events"
    else:
        status, detail = Status.PASS, f"outbox and queues were empty and the sequences stood still {waited}"
    return Finding(
        name="came-to-rest",
        kind=CheckKind.INTEGRITY,
        status=status,
        detail=detail,
        measured=quiescence.outbox + quiescence.queued + quiescence.dead_letters,
        limit=0,
        unit="events",
    )


def _fault_findings(scenario: Scenario, fault: FaultWindow | None) -> list[Finding]:
    """That the fault was there and is gone; of a scenario that breaks nothing, that its experiment went through."""
    if not scenario.breaks_nothing:
        return [_fault_seen(fault), _fault_healed(fault)]
    acted = [action["name"] for action in fault.actions if action["action_id"] not in scenario.actions] if fault else []
    done = fault is not None and fault.status == "completed" and not acted
    said = (
        f"actions that the scenario does not know: {', '.join(acted)}" if acted else "the experiment did not complete"
    )
    return [
        Finding(
            name="nothing-broken",
            kind=CheckKind.FAULT,
            status=Status.PASS if done else Status.INVALID,
            detail="nothing was to be broken, and the experiment did nothing" if done else said,
        )
    ]


def _fault_seen(fault: FaultWindow | None) -> Finding:
    """Evidence apart from FIS that every action had its effect."""
    proofs = [f"{action['name']}: {action['proof']}" for action in fault.actions] if fault else []
    seen = fault is not None and fault.observed_at is not None and fault.injected_at is not None
    return Finding(
        name="fault-observed",
        kind=CheckKind.FAULT,
        status=Status.PASS if seen else Status.INVALID,
        detail="; ".join(proofs) or "no fault was injected",
        measured=max(0.0, fault.observed_at - fault.injected_at) if seen else None,  # type: ignore[union-attr, operator]
        unit="s" if seen else "",
    )


def _fault_healed(fault: FaultWindow | None) -> Finding:
    healed = fault is not None and fault.healed_at is not None and fault.ended_at is not None
    return Finding(
        name="fault-healed",
        kind=CheckKind.FAULT,
        status=Status.PASS if healed else Status.INVALID,
        detail="the effect was seen gone after the experiment" if healed else "the effect was never seen gone",
        measured=max(0.0, fault.healed_at - fault.ended_at) if healed else None,  # type: ignore[union-attr, operator]
        unit="s" if healed else "",
    )


def _stops(stops: Sequence[faults.TaskStop]) -> Finding:
    """Tasks that died for neither the experiment's nor the scheduler's sake.

    A crash of PaperBroker is its failure; a kill from outside spoils the experiment, whatever it shows.
    """
    crashes = [stop for stop in stops if stop.exit_code != SIGKILL_EXIT_CODE]
    status = Status.FAIL if crashes else Status.INVALID if stops else Status.PASS
    shown = "; ".join(str(stop) for stop in (crashes or stops)[:3])
    return Finding(
        name="no-unexplained-stops",
        kind=CheckKind.FAULT,
        status=status,
        detail=f"stopped outside the experiment: {shown}" if stops else "no task stopped outside the experiment",
        measured=len(stops),
        limit=0,
        unit="tasks",
    )


def _watched(gaps: Sequence[collection.Gap], spans: Sequence[Phase]) -> Finding:
    """Whether the platform was in sight all the time; a gap hides what happened in it."""
    span_s = sum(phase.end - phase.start for phase in spans)
    blind_s = sum(gap.end - gap.start for gap in gaps)
    share = blind_s / span_s if span_s else 1.0
    return Finding(
        name="platform-in-sight",
        kind=CheckKind.FAULT,
        status=Status.PASS if share <= BLIND_SHARE_MAX else Status.INVALID,
        detail=f"{len(gaps)} samples of tasks and targets failed or came late, {blind_s:.1f} s of {span_s:.0f} s",
        measured=round(share, 4),
        limit=BLIND_SHARE_MAX,
        unit="share",
    )


def _left_behind(leftovers: Sequence[str]) -> Finding:
    return Finding(
        name="nothing-left-behind",
        kind=CheckKind.FAULT,
        status=Status.FAIL if leftovers else Status.PASS,
        detail="; ".join(leftovers) or "stack, tasks, experiments and processes of the run are gone",
        measured=len(leftovers),
        limit=0,
        unit="objects",
    )


def target_table(targets: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Resolved targets for the eye."""
    columns = ["name", "type", "zone", "service", "id"]
    return pd.DataFrame([[target[name] for name in columns] for target in targets], columns=pd.Index(columns))


def reconciliation_table(collected: Collected, stats: LoadStats | None) -> pd.DataFrame:
    """What was sent against what was recorded."""
    events = collected.ledger.events
    rows = {
        "operations intended": stats.intended if stats else 0,
        "attempts sent": stats.sent if stats else 0,
        **{name: len(events[events["type"] == kind]) for name, kind in RECORDED.items()},
        "still in the outbox": collected.quiescence.outbox,
        "still queued": collected.quiescence.queued,
        "dead letters": collected.quiescence.dead_letters,
    }
    return pd.DataFrame(list(rows.items()), columns=pd.Index(["what", "count"]))


def first_fills(collected: Collected) -> pd.DataFrame:
    """Time to first fill by order: columns t (of the acceptance), ms; from the ledger's own clock."""
    events = collected.ledger.events
    accepted = events.loc[events["type"] == "accepted", ["order_id", "ts_ns"]].drop_duplicates("order_id")
    fills = events[events["type"] == "fill"]
    sides = [
        pd.DataFrame({"order_id": fills[side], "filled_ns": fills["ts_ns"]})
        for side in ("taker_order_id", "maker_order_id")
    ]
    first = pd.concat(sides).groupby("order_id", as_index=False).agg({"filled_ns": "min"})
    both = accepted.merge(first, on="order_id")
    ms = (both["filled_ns"] - both["ts_ns"]) / NS_PER_MS
    return pd.DataFrame({"t": both["ts_ns"] / NS_PER_S, "ms": ms.clip(lower=SHOWN_MS_MIN)})


def trend(record: dict[str, Any]) -> dict[str, Any]:
    """The few numbers that a chart over many runs wants."""
    slos = {
        f"{check['name']}.{check['phase'] or 'run'}": check["measured"]
        for check in record["checks"]
        if check["kind"] == CheckKind.SLO and check["measured"] is not None
    }
    return {"run_id": record["run_id"], "verdict": record["verdict"], "build": record["build"], **slos}
