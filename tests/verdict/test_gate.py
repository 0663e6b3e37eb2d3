"""The gate: which verdict, why, and a record that JSON and the schema accept."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kit import schemas
from kit.errors import EvidenceMissing
from kit.model import CheckKind, FaultWindow, Finding, LoadStats, Phase, Status, Verdict
from kit.verdict import gate
from tests.verdict.records import run_facts

FAULT = FaultWindow(
    experiment_id="EXP1",
    template="AzLoss",
    status="completed",
    injected_at=100.0,
    ended_at=120.0,
    observed_at=101.0,
    healed_at=125.0,
)


def finding(kind: CheckKind, status: Status = Status.PASS, name: str = "check", **more: Any) -> Finding:
    return Finding(name=name, kind=kind, status=status, detail=more.pop("detail", "as it should be"), **more)


GREEN = [finding(kind, name=f"{kind.value}-check") for kind in gate.REQUIRED_KINDS]


def make(findings=GREEN, fault: FaultWindow | None = FAULT) -> dict[str, Any]:
    verdict, reasons = gate.judge(findings, fault)
    return gate.record(
        run_facts(started_at=90.0, ended_at=150.0),
        verdict,
        reasons,
        findings=findings,
        phases=[Phase(name="before", start=90.0, end=100.0)],
        fault=fault,
        load=LoadStats(intended=10, sent=12, ok=11, fail=0, info=1, dropped=0, lag_ms_p99=0.3),
    )


def test_all_kinds_of_checks_passing_is_a_pass_without_reasons():
    assert gate.judge(GREEN, FAULT) == (Verdict.PASS, ())


@pytest.mark.parametrize("chosen", [c for n in range(4) for c in itertools.combinations(range(3), n)])
def test_fail_beats_aborted_beats_invalid_beats_pass(chosen):
    """Every combination of the three gives the worst verdict, and lists all reasons."""
    findings = list(GREEN)
    if 0 in chosen:
        findings.append(finding(CheckKind.SLO, Status.FAIL, detail="too slow"))
    if 2 in chosen:
        findings.append(finding(CheckKind.SLO, Status.INVALID, detail="no samples"))
    fault = replace(FAULT, status="stopped", stopped_by="P95Alarm") if 1 in chosen else FAULT
    verdict, reasons = gate.judge(findings, fault)
    order = [Verdict.FAIL, Verdict.ABORTED, Verdict.INVALID, Verdict.PASS]
    assert verdict is order[min(chosen, default=3)]
    assert len(reasons) == len(chosen)


def test_integrity_reasons_come_before_slo_reasons():
    findings = [
        *GREEN,
        finding(CheckKind.SLO, Status.FAIL, name="p95", phase="during", detail="slow"),
        finding(CheckKind.INTEGRITY, Status.FAIL, name="no-double-fill", detail="2 orders were filled twice"),
    ]
    _, reasons = gate.judge(findings, FAULT)
    assert reasons == ("no-double-fill: 2 orders were filled twice", "p95 (during): slow")


def test_an_unsteady_start_is_named_before_what_it_left_unmeasured():
    unmeasured = finding(CheckKind.SLO, Status.INVALID, name="p95", phase="during", detail="the run has no phase")
    unsteady = finding(CheckKind.HYPOTHESIS, Status.INVALID, name="p95", phase="before", detail="not steady")
    verdict, reasons = gate.judge([*GREEN, unmeasured, unsteady], None)
    assert verdict is Verdict.INVALID
    assert reasons[:2] == ("p95 (before): not steady", "p95 (during): the run has no phase")


def test_no_findings_is_invalid():
    verdict, reasons = gate.judge([], FAULT)
    assert verdict is Verdict.INVALID
    assert reasons == ("nothing was checked: no findings at all",)


@pytest.mark.parametrize("kind", gate.REQUIRED_KINDS)
def test_a_kind_of_check_that_is_missing_is_invalid(kind):
    verdict, reasons = gate.judge([one for one in GREEN if one.kind is not kind], FAULT)
    assert verdict is Verdict.INVALID
    assert kind.value in reasons[0]


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        (None, "no fault"),
        (replace(FAULT, observed_at=None), "observed"),
        (replace(FAULT, healed_at=None), "healed"),
        (replace(FAULT, injected_at=None), "injected"),
        (replace(FAULT, status="failed", reason="no targets"), "no targets"),
        (replace(FAULT, status="stopped"), "stopped"),
    ],
)
def test_a_fault_without_proof_is_invalid(fault, word):
    verdict, reasons = gate.judge(GREEN, fault)
    assert verdict is Verdict.INVALID
    assert word in reasons[0]


def test_a_dry_run_needs_no_fault():
    findings = [one for one in GREEN if one.kind is not CheckKind.FAULT]
    assert gate.judge(findings, None, fault_expected=False)[0] is Verdict.PASS


def test_worst_of_nothing_is_invalid():
    assert gate.worst([]) is Verdict.INVALID
    assert gate.worst([Verdict.PASS, Verdict.ABORTED, Verdict.INVALID]) is Verdict.ABORTED


def test_a_record_survives_json_unchanged():
    bad = finding(
        CheckKind.INTEGRITY,
        Status.FAIL,
        measured=np.int64(2),
        limit=np.float64(0.0),
        counterexample=({"t": np.float64(1.5), "what": "order sent", "qty": np.int64(3)},),
    )
    made = make([*GREEN, bad])
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert made["checks"][-1]["counterexample"][0] == {"t": 1.5, "what": "order sent", "qty": 3}
    assert made["started_at"] == "1970-01-01T00:01:30.000Z"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), np.float64("nan")])
def test_a_number_that_is_not_finite_is_refused(number):
    with pytest.raises(EvidenceMissing, match="finite"):
        make([*GREEN, finding(CheckKind.SLO, measured=number)])


@pytest.mark.parametrize(
    "damage",
    [
        {"verdict": "MAYBE"},
        {"schema": "gameday.verdict/2"},
        {"checks": []},
        {"reasons": ["a pass has none"]},
        {"extra": 1},
        {"load": None},
        {"seed": "7"},
        {"phases": [{"name": "before", "from": None, "to": 1.0}]},
    ],
)
def test_a_damaged_record_is_refused(damage):
    with pytest.raises(EvidenceMissing, match="not a gameday"):
        gate.validate({**make(), **damage})


@pytest.mark.parametrize("key", sorted(schemas.load("kit.verdict", "verdict.schema.json")["required"]))
def test_a_record_with_a_missing_key_is_refused(key):
    made = make()
    del made[key]
    with pytest.raises(EvidenceMissing):
        gate.validate(made)


@pytest.mark.parametrize("verdict", ["PASS", "ABORTED", "INVALID"])
def test_a_record_that_contradicts_its_own_checks_is_refused(verdict):
    made = make([*GREEN, finding(CheckKind.SLO, Status.FAIL)])
    with pytest.raises(EvidenceMissing):
        gate.validate({**made, "verdict": verdict})


@pytest.mark.parametrize("junk", [None, [], "PASS", {}])
def test_junk_is_no_record(junk):
    with pytest.raises(EvidenceMissing):
        gate.validate(junk)


def test_problems_of_the_run_turn_a_pass_into_invalid_and_leave_a_fail():
    passed = gate.downgrade(make(), ["cell 7 did not run to its end"])
    assert (passed["verdict"], passed["reasons"]) == ("INVALID", ["cell 7 did not run to its end"])
    failed = gate.downgrade(make([*GREEN, finding(CheckKind.SLO, Status.FAIL)]), ["the runner was killed"])
    assert failed["verdict"] == "FAIL"


def test_a_run_that_left_nothing_has_a_valid_record():
    made = gate.invalid_record(run_id="r1", scenario="az-loss", parameters={"seed": 3, "change": "x"}, reasons=[])
    assert (made["verdict"], made["seed"], made["change"]) == ("INVALID", 3, "x")
    assert made["reasons"]
