"""Give findings one verdict, and make the verdict record that reports, suites and CI read.

FAIL beats ABORTED beats INVALID beats PASS. The record's shape is `verdict.schema.json`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kit import schemas
from kit.errors import EvidenceMissing
from kit.model import (
    VERDICT_SCHEMA,
    CheckKind,
    FaultWindow,
    Finding,
    LoadStats,
    Phase,
    RunFacts,
    Status,
    Verdict,
    plain,
)

# A run without a check of each of these kinds is INVALID.
REQUIRED_KINDS = (
    CheckKind.INTEGRITY,
    CheckKind.SLO,
    CheckKind.FAULT,
    CheckKind.HYPOTHESIS,
    CheckKind.GENERATOR,
    CheckKind.STACK,
)
SEVERITY = (Verdict.FAIL, Verdict.ABORTED, Verdict.INVALID, Verdict.PASS)
# The order of failures: wrong money, then what clients saw, then the stack, then what invalidates the run.
KIND_ORDER = (
    CheckKind.INTEGRITY,
    CheckKind.SLO,
    CheckKind.STACK,
    CheckKind.GOLDEN,
    CheckKind.HYPOTHESIS,
    CheckKind.FAULT,
    CheckKind.GENERATOR,
)
# The order of invalid checks: causes first. A run that was never steady injects nothing, so that no objective of its
# fault can be measured.
CAUSE_ORDER = (
    CheckKind.HYPOTHESIS,
    CheckKind.GENERATOR,
    CheckKind.FAULT,
    CheckKind.INTEGRITY,
    CheckKind.SLO,
    CheckKind.GOLDEN,
    CheckKind.STACK,
)
# The verdict that a single finding would give.
VERDICT_OF_STATUS = {Status.PASS: Verdict.PASS, Status.FAIL: Verdict.FAIL, Status.INVALID: Verdict.INVALID}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict that beats all others; INVALID if there is none."""
    given = set(verdicts)
    return next((verdict for verdict in SEVERITY if verdict in given), Verdict.INVALID)


def judge(
    findings: Sequence[Finding], fault: FaultWindow | None, *, fault_expected: bool = True
) -> tuple[Verdict, tuple[str, ...]]:
    """Return the verdict and its reasons, most important first (empty for PASS only).

    A scenario that breaks nothing needs no fault window and no finding of kind fault: `fault_expected=False`.
    """
    failed = _reasons(findings, Status.FAIL)
    aborted = _aborted(fault)
    invalid = _reasons(findings, Status.INVALID) + _gaps(findings, fault, fault_expected)
    reasons = {Verdict.FAIL: failed, Verdict.ABORTED: aborted, Verdict.INVALID: invalid}
    verdict = next((verdict for verdict in SEVERITY if reasons.get(verdict)), Verdict.PASS)
    return verdict, tuple(dict.fromkeys([*failed, *aborted, *invalid]))


def _reasons(findings: Sequence[Finding], status: Status) -> list[str]:
    order = CAUSE_ORDER if status is Status.INVALID else KIND_ORDER
    rank = {kind: place for place, kind in enumerate(order)}
    chosen = sorted(
        (finding for finding in findings if finding.status is status), key=lambda finding: rank[finding.kind]
    )
    return [_reason(finding) for finding in chosen]


def _reason(finding: Finding) -> str:
    name = f"{finding.name} ({finding.phase})" if finding.phase else finding.name
    return f"{name}: {finding.detail}"


def _aborted(fault: FaultWindow | None) -> list[str]:
    if fault is None or not fault.stopped_by:
        return []
    return [f"guardrail {fault.stopped_by} stopped experiment {fault.experiment_id} ({fault.template})"]


def _gaps(findings: Sequence[Finding], fault: FaultWindow | None, fault_expected: bool) -> list[str]:
    """Say what is missing for a pass, apart from findings that are INVALID themselves."""
    if not findings:
        return ["nothing was checked: no findings at all"]
    present = {finding.kind for finding in findings}
    wanted = [kind for kind in REQUIRED_KINDS if fault_expected or kind is not CheckKind.FAULT]
    gaps = [f"no check of kind {kind.value} was made" for kind in wanted if kind not in present]
    return [*(_fault_gaps(fault) if fault_expected else []), *gaps]


def _fault_gaps(fault: FaultWindow | None) -> list[str]:
    if fault is None:
        return ["no fault was injected"]
    gaps = []
    who = f"experiment {fault.experiment_id} ({fault.template})"
    if fault.injected_at is None:
        gaps.append(f"{who} never injected its fault")
    if fault.status != "completed" and not fault.stopped_by:
        gaps.append(f"{who} ended as {fault.status}" + (f": {fault.reason}" if fault.reason else ""))
    if fault.observed_at is None:
        gaps.append(f"the fault of {who} was never observed: no evidence shows that anything broke")
    if fault.healed_at is None:
        gaps.append(f"the fault of {who} was never seen healed")
    return gaps


def record(
    facts: RunFacts,
    verdict: Verdict,
    reasons: Sequence[str],
    *,
    findings: Sequence[Finding],
    phases: Sequence[Phase] = (),
    fault: FaultWindow | None = None,
    load: LoadStats | None = None,
    unknown: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Make the `gameday.verdict/1` record: JSON types only, validated.

    `unknown`: a sentence for the fault or the load of a run of which nobody knows what it did.

    The run's start and end are ISO 8601 in UTC, all other times epoch seconds. Raises EvidenceMissing for a number
    that is not finite, or a record that breaks the schema.
    """
    verdict_record = plain(
        {
            "schema": VERDICT_SCHEMA,
            "run_id": facts.run_id,
            "scenario": facts.scenario,
            "build": facts.build,
            "change": facts.change,
            "target": facts.target,
            "region": facts.region,
            "seed": facts.seed,
            "started_at": _iso(facts.started_at),
            "ended_at": _iso(facts.ended_at),
            "verdict": verdict.value,
            "reasons": list(reasons),
            "checks": [_check(finding) for finding in findings],
            "phases": [{"name": phase.name, "from": phase.start, "to": phase.end} for phase in phases],
            "fault": _fault(fault),
            "load": None if load is None and "load" in (unknown or {}) else _load(load),
            "reproduce": facts.reproduce,
            **({"unknown": unknown} if unknown else {}),
        },
        "verdict",
    )
    validate(verdict_record)
    return verdict_record


def invalid_record(
    *,
    run_id: str,
    scenario: str,
    reasons: Sequence[str],
    parameters: Mapping[str, Any] | None = None,
    reproduce: str = "",
    started_at: float | None = None,
    fault: FaultWindow | None = None,
    load: LoadStats | None = None,
    unknown: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Make the INVALID record of a run that left no verdict; `parameters` are those it was started with.

    `fault`, `load` and `unknown`: what is known of the run, as `record` takes them; by default it broke and sent
    nothing.
    """
    given = parameters or {}
    seed = given.get("seed", 0)
    facts = RunFacts(
        run_id=run_id,
        scenario=scenario,
        change=str(given.get("change", "")),
        target=str(given.get("target", "")),
        region=str(given.get("region", "")),
        seed=seed if isinstance(seed, int) else 0,
        reproduce=reproduce,
        started_at=started_at,
    )
    given_reasons = list(dict.fromkeys(reasons)) or ["the run left no evidence"]
    return record(facts, Verdict.INVALID, given_reasons, findings=(), fault=fault, load=load, unknown=unknown)


def downgrade(made: Mapping[str, Any], problems: Sequence[str]) -> dict[str, Any]:
    """Make a record INVALID because of problems of the run itself. FAIL stays: it needs no complete run."""
    kept = Verdict(made["verdict"])
    verdict = kept if kept is Verdict.FAIL else Verdict.INVALID
    changed = {**made, "verdict": verdict.value, "reasons": [*problems, *made["reasons"]]}
    validate(changed)
    return changed


def validate(made: Any) -> None:
    """Raise EvidenceMissing unless `made` is a `gameday.verdict/1` record whose verdict agrees with its checks."""
    schemas.validate(made, "kit.verdict", "verdict.schema.json")
    statuses = {check["status"] for check in made["checks"]}
    if made["verdict"] != Verdict.FAIL and Status.FAIL.value in statuses:
        raise EvidenceMissing(f"verdict={made['verdict']} of run {made['run_id']}, but one of its checks failed")


def _check(finding: Finding) -> dict[str, Any]:
    return {
        "name": finding.name,
        "kind": finding.kind.value,
        "status": finding.status.value,
        "measured": finding.measured,
        "limit": finding.limit,
        "unit": finding.unit,
        "phase": finding.phase,
        "detail": finding.detail,
        "counterexample": [dict(step) for step in finding.counterexample],
    }


def _fault(fault: FaultWindow | None) -> dict[str, Any] | None:
    if fault is None:
        return None
    return {
        "experiment_id": fault.experiment_id,
        "template": fault.template,
        "actions": list(fault.actions),
        "targets": list(fault.targets),
        "injected_at": fault.injected_at,
        "observed_at": fault.observed_at,
        "healed_at": fault.healed_at,
    }


def _load(load: LoadStats | None) -> dict[str, Any]:
    """Report what the generator did: zeros, and no lag, if it never ran."""
    return {
        "intended": load.intended if load else 0,
        "sent": load.sent if load else 0,
        "ok": load.ok if load else 0,
        "fail": load.fail if load else 0,
        "info": load.info if load else 0,
        "lag_ms_p99": load.lag_ms_p99 if load else None,
    }


def _iso(at: float | None) -> str | None:
    if at is None:
        return None
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
