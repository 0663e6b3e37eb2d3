"""From findings to one verdict, and the record of it that everything later reads.

Owns the verdict rule (FAIL beats ABORTED beats INVALID beats PASS) and the shape of `gameday.verdict/1`. Pure: reads
no file but its own schema, knows nothing of AWS, notebooks or how a finding came to be.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from kit.errors import EvidenceMissing
from kit.model import VERDICT_SCHEMA, CheckKind, FaultWindow, Finding, LoadStats, Phase, Status, Verdict, plain

# A verdict without one of these kinds is no verdict: something that must be asked was not asked.
REQUIRED_KINDS = (
    CheckKind.INTEGRITY,
    CheckKind.SLO,
    CheckKind.FAULT,
    CheckKind.HYPOTHESIS,
    CheckKind.GENERATOR,
)
SEVERITY = (Verdict.FAIL, Verdict.ABORTED, Verdict.INVALID, Verdict.PASS)
# Wrong money first, then what clients felt, then what makes the run worthless.
KIND_ORDER = (
    CheckKind.INTEGRITY,
    CheckKind.SLO,
    CheckKind.GOLDEN,
    CheckKind.HYPOTHESIS,
    CheckKind.FAULT,
    CheckKind.GENERATOR,
)
# Of what could not be judged the cause comes first: a run that was never steady injects nothing, so that no objective
# of its fault can be measured.
CAUSE_ORDER = (
    CheckKind.HYPOTHESIS,
    CheckKind.GENERATOR,
    CheckKind.FAULT,
    CheckKind.INTEGRITY,
    CheckKind.SLO,
    CheckKind.GOLDEN,
)
SCHEMA_PROBLEMS_SHOWN_MAX = 3
# What findings alone would make of a run.
VERDICT_OF_STATUS = {Status.PASS: Verdict.PASS, Status.FAIL: Verdict.FAIL, Status.INVALID: Verdict.INVALID}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict that beats all others; INVALID for none at all."""
    given = set(verdicts)
    return next((verdict for verdict in SEVERITY if verdict in given), Verdict.INVALID)


def judge(
    findings: Sequence[Finding],
    fault: FaultWindow | None,
    *,
    fault_expected: bool = True,
    required: Collection[CheckKind] = REQUIRED_KINDS,
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict and its reasons in plain words, most important first (empty only for PASS).

    `fault_expected=False` is for scenarios that break nothing on purpose (a dry run): they need no fault window and
    no finding of kind fault.
    """
    failed = _reasons(findings, Status.FAIL)
    aborted = _aborted(fault)
    invalid = _reasons(findings, Status.INVALID) + _gaps(findings, fault, fault_expected, required)
    said = {Verdict.FAIL: failed, Verdict.ABORTED: aborted, Verdict.INVALID: invalid}
    verdict = next((verdict for verdict in SEVERITY if said.get(verdict)), Verdict.PASS)
    return verdict, tuple(dict.fromkeys([*failed, *aborted, *invalid]))


def _reasons(findings: Sequence[Finding], status: Status) -> list[str]:
    order = CAUSE_ORDER if status is Status.INVALID else KIND_ORDER
    rank = {kind: place for place, kind in enumerate(order)}
    chosen = sorted((one for one in findings if one.status is status), key=lambda one: rank[one.kind])
    return [_reason(one) for one in chosen]


def _reason(finding: Finding) -> str:
    name = f"{finding.name} ({finding.phase})" if finding.phase else finding.name
    return f"{name}: {finding.detail}"


def _aborted(fault: FaultWindow | None) -> list[str]:
    if fault is None or not fault.stopped_by:
        return []
    return [f"guardrail {fault.stopped_by} stopped experiment {fault.experiment_id} ({fault.template})"]


def _gaps(
    findings: Sequence[Finding], fault: FaultWindow | None, fault_expected: bool, required: Collection[CheckKind]
) -> list[str]:
    """Why this is no evidence of a pass, beyond findings that say so themselves."""
    if not findings:
        return ["nothing was checked: no findings at all"]
    present = {one.kind for one in findings}
    wanted = [kind for kind in required if fault_expected or kind is not CheckKind.FAULT]
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
        gaps.append(f"the fault of {who} was never observed: nothing shows that anything broke")
    if fault.healed_at is None:
        gaps.append(f"the fault of {who} was never seen healed")
    return gaps


def record(
    *,
    run_id: str,
    scenario: str,
    build: str,
    target: str,
    region: str,
    seed: int,
    started_at: float | str | None,
    ended_at: float | str | None,
    verdict: Verdict,
    reasons: Sequence[str],
    findings: Sequence[Finding],
    phases: Sequence[Phase] = (),
    fault: FaultWindow | None = None,
    load: LoadStats | None = None,
    change: str = "",
    reproduce: str = "",
) -> dict[str, Any]:
    """The `gameday.verdict/1` dict: JSON types only, validated. Times of the run are ISO 8601 in UTC, all others
    epoch seconds. Raises EvidenceMissing for a number that is not finite or a record that breaks the schema.
    """
    made = plain(
        {
            "schema": VERDICT_SCHEMA,
            "run_id": run_id,
            "scenario": scenario,
            "build": build,
            "change": change,
            "target": target,
            "region": region,
            "seed": seed,
            "started_at": _iso(started_at),
            "ended_at": _iso(ended_at),
            "verdict": verdict.value,
            "reasons": list(reasons),
            "checks": [_check(finding) for finding in findings],
            "phases": [{"name": phase.name, "from": phase.start, "to": phase.end} for phase in phases],
            "fault": _fault(fault),
            "load": _load(load),
            "reproduce": reproduce,
        },
        "verdict",
    )
    validate(made)
    return made


def invalid_record(
    *,
    run_id: str,
    scenario: str,
    reasons: Sequence[str],
    parameters: Mapping[str, Any] | None = None,
    reproduce: str = "",
) -> dict[str, Any]:
    """The record of a run that could not speak for itself; `parameters` are those it was started with."""
    given = parameters or {}
    seed = given.get("seed", 0)
    return record(
        run_id=run_id,
        scenario=scenario,
        build="",
        change=str(given.get("change", "")),
        target=str(given.get("target", "")),
        region=str(given.get("region", "")),
        seed=seed if isinstance(seed, int) else 0,
        started_at=None,
        ended_at=None,
        verdict=Verdict.INVALID,
        reasons=list(reasons) or ["the run left no evidence"],
        findings=(),
        reproduce=reproduce,
    )


def downgrade(made: Mapping[str, Any], doubts: Sequence[str]) -> dict[str, Any]:
    """The same record as INVALID, because of `doubts` about the run itself. FAIL stays: it needs no complete run."""
    kept = Verdict(made["verdict"])
    verdict = kept if kept is Verdict.FAIL else Verdict.INVALID
    changed = {**made, "verdict": verdict.value, "reasons": [*doubts, *made["reasons"]]}
    validate(changed)
    return changed


def validate(made: Any) -> None:
    """Raises EvidenceMissing unless `made` is a `gameday.verdict/1` record whose verdict its own checks allow."""
    problems = sorted(_validator().iter_errors(made), key=lambda problem: list(map(str, problem.absolute_path)))
    if problems:
        shown = [f"{problem.json_path}: {problem.message[:200]}" for problem in problems[:SCHEMA_PROBLEMS_SHOWN_MAX]]
        raise EvidenceMissing(f"not a {VERDICT_SCHEMA} record ({len(problems)} problems): {'; '.join(shown)}")
    statuses = {check["status"] for check in made["checks"]}
    if made["verdict"] != Verdict.FAIL and Status.FAIL.value in statuses:
        raise EvidenceMissing(f"verdict={made['verdict']} of run {made['run_id']}, but one of its checks failed")


@cache
def schema() -> dict[str, Any]:
    """The JSON schema of the record."""
    return json.loads(files("kit.verdict").joinpath("verdict.schema.json").read_text(encoding="utf-8"))


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(schema())


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
    """What the generator did; zeros and an unknown lag if it never ran."""
    return {
        "intended": load.intended if load else 0,
        "sent": load.sent if load else 0,
        "ok": load.ok if load else 0,
        "fail": load.fail if load else 0,
        "info": load.info if load else 0,
        "lag_ms_p99": load.lag_ms_p99 if load else None,
    }


def _iso(at: float | str | None) -> str | None:
    if at is None or isinstance(at, str):
        return at
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
