"""Make the findings of a run: every check by which it is judged, in the order in which a reader wants them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kit import integrity, slo, stack_rules
from kit.collect import Cleanup, Gap
from kit.collect.ledger import Quiescence
from kit.errors import UsageError
from kit.faults import may_hang_tasks
from kit.gameday.evidence import RunEvidence
from kit.model import CheckKind, FaultWindow, Finding, Phase, Status, TaskStop
from kit.scenarios import AVAILABILITY_SLO, Scenario

# The shell's exit code of a process that was ended with SIGKILL.
SIGKILL_EXIT_CODE = 137
# Above this share of the run without a sample of tasks and targets, their curves prove nothing.
BLIND_SHARE_MAX = 0.25
# Checks of every run that are neither of integrity nor of an objective, and that a bad change can fail.
STACK_RULES, CAME_TO_REST, STOPS = "stack-rules", "came-to-rest", "no-unexplained-stops"
TASKS_ALIVE = "tasks-stay-alive"
OTHER_CHECKS = (STACK_RULES, CAME_TO_REST, STOPS, TASKS_ALIVE)
# How many violations of the stack's rules a reason names.
VIOLATIONS_SHOWN_MAX = 5


def run_findings(evidence: RunEvidence) -> list[Finding]:
    """Run all checks on a run's evidence, but for the noise rule."""
    observed, fault, phases = evidence.observed, evidence.observed.fault, evidence.phases
    found = integrity.check_run(evidence.run_dir, fault=fault, load=evidence.history.stats)
    found += client_findings(evidence)
    found += slo.generator(evidence.history.stats, evidence.scenario.objectives)
    found += [rest_finding(observed.quiescence), *fault_findings(evidence.scenario, fault)]
    found += [stack_finding(evidence.template)]
    found += [stops_finding(observed.stops), alive_finding(observed.tasks, fault)]
    found += [watch_finding(observed.gaps, phases), cleanup_finding(evidence.cleanup)]
    return found


def stack_finding(template: str) -> Finding:
    """Check the deployed stack against the promises that a run on one machine cannot show."""
    try:
        found = stack_rules.violations(template)
    except UsageError as error:
        return Finding(name=STACK_RULES, kind=CheckKind.STACK, status=Status.INVALID, detail=str(error))
    shown = "; ".join(map(str, found[:VIOLATIONS_SHOWN_MAX]))
    more = len(found) - VIOLATIONS_SHOWN_MAX
    return Finding(
        name=STACK_RULES,
        kind=CheckKind.STACK,
        status=Status.FAIL if found else Status.PASS,
        detail=(shown + (f"; and {more} more" if more > 0 else ""))
        if found
        else f"the stack keeps all {len(stack_rules.RULES)} rules",
        measured=len(found),
        limit=0,
        unit="violations",
    )


def client_findings(evidence: RunEvidence) -> list[Finding]:
    """Check the objectives on what clients saw.

    Before the fault they are the hypothesis: a build that is not steady by itself is not judged on a fault.
    """
    history, phases, objectives = evidence.history, evidence.phases, evidence.scenario.objectives
    found = slo.steady_state(history.attempts, phases, objectives)
    felt = slo.evaluate(
        history.attempts,
        history.stream,
        history.connections,
        evidence.events,
        phases,
        [objective for objective in objectives if objective.phase != slo.STEADY_PHASE],
        steady=[objective for objective in objectives if objective.phase == slo.STEADY_PHASE],
        series=evidence.observed.series,
    )
    # The error budget only informs; alone it would not answer whether clients got what they were promised.
    return [*found, *felt, *(slo.error_budget(history.attempts, phases, AVAILABILITY_SLO) if felt else [])]


def steady_state_problems(progress: Sequence[dict[str, Any]], scenario: Scenario) -> list[str]:
    """Say why the load's counters contradict the steady state: a quick look before the fault, without the history.

    `progress`: records of the load, one a second, warm-up left out.
    """
    if len(progress) < 2:
        return ["the load reported no progress"]
    first, last = progress[0], progress[-1]
    sent = last["sent"] - first["sent"]
    failed_share = (last["info"] - first["info"]) / max(1, sent)
    p95s = sorted(at["p95_ms_last"] for at in progress if at["p95_ms_last"] is not None)
    problems = []
    if sent == 0 or last["ok"] == first["ok"]:
        problems.append("no order was acknowledged")
    if failed_share > scenario.error_rate_limit:
        problems.append(f"{failed_share:.1%} of the attempts ended unknown or 5xx > {scenario.error_rate_limit:.1%}")
    if p95s and (median := p95s[len(p95s) // 2]) > scenario.p95_limit_ms:
        problems.append(f"p95 {median:.0f} ms > {scenario.p95_limit_ms:g} ms")
    return problems


def rest_finding(quiescence: Quiescence) -> Finding:
    """Check that the exchange came to rest after the load, with nothing undelivered."""
    waited = f"after {quiescence.waited_s:.1f} s"
    if quiescence.dead_letters:
        status, detail = Status.FAIL, f"{quiescence.dead_letters} accepted events ended in the dead-letter queue"
    elif not quiescence.quiet:
        status = Status.FAIL
        detail = f"{waited} the exchange still held {quiescence.outbox} unsent and {quiescence.queued} queued events"
    else:
        status, detail = Status.PASS, f"outbox and queues were empty and no sequence number moved {waited}"
    return Finding(
        name=CAME_TO_REST,
        kind=CheckKind.INTEGRITY,
        status=status,
        detail=detail,
        measured=quiescence.outbox + quiescence.queued + quiescence.dead_letters,
        limit=0,
        unit="events",
    )


def fault_findings(scenario: Scenario, fault: FaultWindow | None) -> list[Finding]:
    """Check that the fault took effect and was reverted; that nothing acted if the scenario breaks nothing."""
    if not scenario.breaks_nothing:
        return [_fault_observed(fault), _fault_healed(fault)]
    acted = [action["name"] for action in fault.actions if action["action_id"] not in scenario.actions] if fault else []
    completed = fault is not None and fault.status == "completed"
    if acted:
        detail = f"actions that the scenario does not have: {', '.join(acted)}"
    elif completed:
        detail = "nothing was to be broken, and the experiment did nothing"
    else:
        detail = "the experiment did not complete"
    status = Status.PASS if completed and not acted else Status.INVALID
    return [Finding(name="nothing-broken", kind=CheckKind.FAULT, status=status, detail=detail)]


def _fault_observed(fault: FaultWindow | None) -> Finding:
    """Check that evidence independent of FIS shows the effect of every action."""
    proofs = [f"{action['name']}: {action['proof']}" for action in fault.actions] if fault else []
    detail = "; ".join(proofs) or "no fault was injected"
    if fault is None or fault.injected_at is None or fault.observed_at is None:
        return Finding(name="fault-observed", kind=CheckKind.FAULT, status=Status.INVALID, detail=detail)
    return Finding(
        name="fault-observed",
        kind=CheckKind.FAULT,
        status=Status.PASS,
        detail=detail,
        measured=max(0.0, fault.observed_at - fault.injected_at),
        unit="s",
    )


def _fault_healed(fault: FaultWindow | None) -> Finding:
    if fault is None or fault.ended_at is None or fault.healed_at is None:
        detail = "the effect was never seen gone"
        return Finding(name="fault-healed", kind=CheckKind.FAULT, status=Status.INVALID, detail=detail)
    return Finding(
        name="fault-healed",
        kind=CheckKind.FAULT,
        status=Status.PASS,
        detail="the effect was seen gone after the experiment",
        measured=max(0.0, fault.healed_at - fault.ended_at),
        unit="s",
    )


def stops_finding(stops: Sequence[TaskStop]) -> Finding:
    """Check that no task stopped outside the experiment.

    A crash is PaperBroker's failure. A SIGKILL came from outside and makes the experiment INVALID.
    """
    crashes = [stop for stop in stops if stop.exit_code != SIGKILL_EXIT_CODE]
    status = Status.FAIL if crashes else Status.INVALID if stops else Status.PASS
    shown = "; ".join(str(stop) for stop in (crashes or stops)[:3])
    return Finding(
        name=STOPS,
        kind=CheckKind.FAULT,
        status=status,
        detail=f"stopped outside the experiment: {shown}" if stops else "no task stopped outside the experiment",
        measured=len(stops),
        limit=0,
        unit="tasks",
    )


def alive_finding(tasks: Any, fault: FaultWindow | None) -> Finding:
    """Check that no task failed its own health check, which says only whether its process answers.

    ECS replaces such a task at once, or as soon as its service's grace period is over.
    """
    failing = tasks[tasks["unhealthy"] > 0]
    explained = bool(len(failing)) and may_hang_tasks(fault)
    status = Status.INVALID if tasks.empty else Status.FAIL if len(failing) and not explained else Status.PASS
    places = sorted({f"{row.service} in {row.zone}" for row in failing.itertuples()})
    detail = "no task failed its own health check" if len(tasks) else "no sample of the tasks was taken"
    if places:
        detail = f"tasks failed their own health check: {', '.join(places)}" + (
            ", which the fault explains" if explained else ", although nothing was done to their processes"
        )
    return Finding(
        name=TASKS_ALIVE,
        kind=CheckKind.FAULT,
        status=status,
        detail=detail,
        measured=int(failing.groupby("t")["unhealthy"].sum().max()) if len(failing) else 0,
        limit=0,
        unit="tasks",
    )


def watch_finding(gaps: Sequence[Gap], phases: Sequence[Phase]) -> Finding:
    """Check that tasks and targets were sampled nearly all the time; a gap hides what happened in it."""
    run_s = sum(phase.end - phase.start for phase in phases)
    blind_s = sum(gap.end - gap.start for gap in gaps)
    share = blind_s / run_s if run_s else 1.0
    return Finding(
        name="platform-in-sight",
        kind=CheckKind.FAULT,
        status=Status.PASS if share <= BLIND_SHARE_MAX else Status.INVALID,
        detail=f"{len(gaps)} samples of tasks and targets failed or came late, {blind_s:.1f} s of {run_s:.0f} s",
        measured=round(share, 4),
        limit=BLIND_SHARE_MAX,
        unit="share",
    )


def cleanup_finding(cleanup: Cleanup | None) -> Finding:
    """Check that the run removed everything it had started."""
    leftovers = cleanup.leftovers if cleanup else ()
    if cleanup is None:
        status, detail = Status.INVALID, "the run did not come to the end of its clean-up"
    elif leftovers:
        status, detail = Status.FAIL, "; ".join(leftovers)
    else:
        status, detail = Status.PASS, "stack, tasks, experiments and processes of the run are gone"
    return Finding(
        name="nothing-left-behind",
        kind=CheckKind.FAULT,
        status=status,
        detail=detail,
        measured=len(leftovers) if cleanup else None,
        limit=0,
        unit="objects",
    )
