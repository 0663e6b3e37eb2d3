"""Test effect checks by the clients' history and by target health, and the table of effect checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from kit.faults.proofs import EFFECT_CHECKS, Proof, how_proven
from kit.fis_rules.catalog import ACTIONS, HARMLESS, REHEARSABLE
from tests.faults.proof_experiments import FakeEcs, prove_action

START, END, STOP = 60.0, 90.0, 130.0
RATE_PER_S = 30
NS = 1_000_000_000
BLACKHOLE = {
    "action_id": "aws:ecs:task-network-blackhole-port",
    "parameters": {"port": "8080", "trafficType": "ingress"},
}
SLOW = {"action_id": "aws:ssm:start-automation-execution", "parameters": {}}
TASK = {
    "name": "Tasks", "type": "aws:ecs:task", "arn": "arn:t", "id": "t", "zone": "a", "service": "api",
    "tags": {"Component": "api"},
}  # fmt: skip
# name → (from, to, share of orders that it hits)
TIMELINES = {
    "effect": (START, END, 0.5),
    "null": (0, 0, 0.0),
    "began-before": (START - 30, END, 0.5),
    "burst": (START + 10, START + 11, 0.5),
    "never-healed": (START, STOP, 0.5),
}


def attempts(timeline: str, *, slow_ms: float = 0.0, timeout: bool = False) -> pd.DataFrame:
    """Return first attempts of orders from 0 to STOP. Those that are hit are slow or get no answer."""
    begin, end, share = TIMELINES[timeline]
    dice = np.random.default_rng(5)
    t = np.sort(dice.uniform(0, STOP, int(RATE_PER_S * STOP)))
    hit = (t >= begin) & (t < end) & (dice.random(len(t)) < share)
    took_ms = dice.exponential(20, len(t)) + 5 + hit * slow_ms
    outcome = np.where(hit & timeout, "info", "ok")
    return pd.DataFrame(
        {
            "op": "order", "kind": "first", "outcome": outcome, "status": np.where(outcome == "ok", 201, 0),
            "intended_ns": (t * NS).astype("int64"), "completed_ns": ((t + took_ms / 1e3) * NS).astype("int64"),
        }
    )  # fmt: skip


def prove(action: dict[str, Any], **seen: Any) -> Proof:
    whole = {"name": "Hit", "status": "completed", "start": START, "end": END, "targets": ["Tasks"], **action}
    return prove_action(FakeEcs(), whole, targets=(TASK,), **seen)


class Health:
    """The number of healthy targets of zone a by second: `usual`, except in [begin, end)."""

    def __init__(self, usual: int, fewer: int, begin: float = 0, end: float = 0) -> None:
        where = {"subnet": "s", "zone": "a", "state": "healthy"}
        self._rows = [{"t": float(t), "count": fewer if begin <= t < end else usual, **where} for t in range(int(STOP))]

    def targets(self) -> pd.DataFrame:
        return pd.DataFrame(self._rows)

    def tasks(self) -> pd.DataFrame:
        return pd.DataFrame(columns=pd.Index(["t", "zone", "service", "running"]))


@pytest.mark.parametrize("timeline", TIMELINES)
def test_slow_answers_are_evidence_if_the_scenario_names_them(timeline: str):
    found = prove(SLOW, attempts=attempts(timeline, slow_ms=400), evidence={"Hit": "client-latency"})
    assert (found.observed_at is not None) is (timeline in ("effect", "never-healed")), found.detail
    assert (found.healed_at is not None) is (timeline == "effect"), found.detail


@pytest.mark.parametrize("timeline", TIMELINES)
def test_unanswered_requests_prove_a_blackholed_port(timeline: str):
    found = prove(BLACKHOLE, attempts=attempts(timeline, timeout=True))
    assert (found.observed_at is not None) is (timeline in ("effect", "never-healed")), found.detail
    assert (found.healed_at is not None) is (timeline == "effect"), found.detail


@pytest.mark.parametrize(
    ("health", "seen", "healed"),
    [
        (Health(2, 1, 72, 95), True, True),
        (Health(2, 0, 72, 200), True, False),
        (Health(2, 2), False, False),
        (Health(2, 1, 0, 95), False, False),
        (Health(2, 1, 70, 72), False, False),
        (Health(0, 0), False, False),
    ],
    ids=["lost and back", "never back", "nothing", "fewer before too", "a moment", "never any"],
)
def test_a_target_that_is_lost_for_a_while_proves_it_too(health: Health, seen: bool, healed: bool):
    found = prove(BLACKHOLE, samples=health)
    assert (found.observed_at is not None, found.healed_at is not None) == (seen, healed), found.detail


def test_an_unproven_fault_names_everything_that_was_checked():
    said = prove(BLACKHOLE).detail
    assert all(part in said for part in ("0 of 1 chosen tasks", "no samples", "no client's history"))


def test_without_metrics_no_fault_inside_is_proven():
    latency = {"action_id": "aws:ecs:task-network-latency", "parameters": {"sources": "DYNAMODB"}}
    assert prove(latency).detail == "nothing read PaperBroker's metrics"


def test_an_action_that_has_not_ended_is_not_proven():
    assert prove({**SLOW, "end": None}, attempts=attempts("effect"), evidence={"Hit": "client-latency"}).detail == (
        "the action has not ended"
    )


def test_every_effect_check_has_a_text_for_the_page():
    """The fidelity page contains these texts."""
    for action_id in EFFECT_CHECKS:
        assert action_id in ACTIONS
        text = how_proven(action_id)
        assert text.startswith("Check ") and text.endswith(".") and len(text) <= 320, (action_id, text)
    assert how_proven("aws:fis:wait") == "It breaks nothing, and needs no proof."
    assert how_proven("aws:rds:failover-db-cluster") == "Nothing: a run that uses it is INVALID."


def test_what_can_be_rehearsed_can_be_proven():
    """Calls that PaperBroker does not make are excepted."""
    unproven = {
        "aws:lambda:invocation-http-integration-response",
        "aws:network:route-table-disrupt-cross-region-connectivity",
    }
    assert REHEARSABLE - HARMLESS - EFFECT_CHECKS.keys() <= unproven
