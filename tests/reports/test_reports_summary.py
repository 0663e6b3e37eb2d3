"""The summary at the top of a report: what was broken, what clients saw, whether orders are right."""

from __future__ import annotations

from typing import Any

import pytest

from kit.reports import summary

ACTION = {
    "name": "CutZone", "action_id": "aws:network:disrupt-connectivity", "status": "completed", "reason": "",
    "start": 1.7e9, "end": 1.7e9 + 20, "duration": "PT20S", "parameters": {}, "targets": ["ZoneSubnet"],
    "observed_at": 1.7e9 + 1, "healed_at": 1.7e9 + 25, "proof": "no healthy target",
}  # fmt: skip
WAIT = {**ACTION, "name": "Wait", "action_id": "aws:fis:wait"}
TARGET = {"name": "ZoneSubnet", "type": "aws:ec2:subnet", "zone": "us-east-1a", "id": "s", "service": "", "arn": "a"}


def check(name: str, kind: str, status: str, **more: Any) -> dict[str, Any]:
    empty = {"phase": "", "measured": None, "limit": None, "unit": "", "detail": "", "counterexample": []}
    return {**empty, "name": name, "kind": kind, "status": status, **more}


def record(*checks: dict[str, Any], actions: tuple[dict[str, Any], ...] = (ACTION,)) -> dict[str, Any]:
    phases = [{"name": name, "from": 0, "to": 1} for name in ("before", "during", "recovery", "after")]
    return {"checks": list(checks), "phases": phases, "fault": {"actions": list(actions), "targets": [TARGET]}}


def test_an_observed_action_is_shown_with_targets_times_and_evidence_and_a_wait_is_not():
    (line,) = summary.broken(record(actions=(ACTION, WAIT)))
    assert line == (
        "aws:network:disrupt-connectivity (CutZone) on 1 × subnet in us-east-1a, 22:13:20 to 22:13:40: completed. "
        "Observed at 22:13:21, reverted at 22:13:45: no healthy target."
    )


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({"observed_at": None}, "Effect not observed: no healthy target."),
        ({"healed_at": None}, "Observed at 22:13:21, not reverted"),
    ],
)
def test_an_action_without_evidence_is_shown_as_such(changed: dict[str, Any], shown: str):
    assert shown in summary.broken(record(actions=({**ACTION, **changed},)))[0]


def test_without_an_experiment_nothing_was_broken():
    assert summary.broken({"checks": [], "phases": [], "fault": None}) == []


def test_what_clients_saw_is_a_table_of_metrics_by_phase():
    checks = (
        check("latency-ms-p95", "hypothesis", "pass", phase="before", measured=12.5, unit="ms"),
        check("error-rate", "slo", "fail", phase="during", measured=0.25, unit="share"),
        check("latency-ms-p95", "slo", "invalid", phase="during"),
        check("no-double-fill", "integrity", "pass"),
    )
    table = summary.clients(record(*checks))
    rows = {row["name"]: [(cell["text"], cell["status"]) for cell in row["cells"]] for row in table["rows"]}
    assert table["phases"] == ["before", "during"]
    assert rows == {
        "latency-ms-p95": [("12.5 ms", "pass"), ("–", "invalid")],
        "error-rate": [("", ""), ("25 %", "fail")],
    }


@pytest.mark.parametrize(
    ("checks", "shown"),
    [
        ((), "no evidence about any order"),
        ((check("exactly-once-per-key", "integrity", "pass", detail="all 9 keys"),), "Right: all 1 checks passed"),
        ((check("a", "integrity", "pass"), check("b", "integrity", "fail")), "Wrong: 1 of 2 checks"),
        ((check("a", "integrity", "fail"), check("b", "integrity", "invalid")), "Wrong: 1 of 2 checks"),
        ((check("a", "integrity", "pass"), check("b", "integrity", "invalid")), "Not known: 1 of 2 checks"),
    ],
)
def test_right_means_that_every_check_had_evidence(checks: tuple[dict[str, Any], ...], shown: str):
    assert shown in summary.right(record(*checks))
