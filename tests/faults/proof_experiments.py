"""Experiments, and an ECS without a cloud, for tests of single effect checks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from kit.faults.experiments import Experiment
from kit.faults.proofs import Proof, ProofContext, proof_of
from kit.model import Deployment

CLUSTER = "proofs"
SERVICES = {"ApiServiceName": "api", "MatcherServiceName": "m", "RelayServiceName": "r"}


@dataclass
class FakeEcs:
    """A session whose only client is an ECS that lists no task; its services want as many as `desired` says."""

    desired: dict[str, int] = field(default_factory=dict)

    def client(self, name: str) -> Any:
        assert name == "ecs", name
        return self

    def describe_tasks(self, **_: Any) -> dict[str, Any]:
        return {"tasks": []}

    def describe_services(self, **_: Any) -> dict[str, Any]:
        return {"services": [{"serviceName": name, "desiredCount": count} for name, count in self.desired.items()]}


def experiment(*actions: dict[str, Any], targets: Iterable[Any] = ()) -> Experiment:
    """Return a completed experiment of these actions, from the start of the first to the end of the last."""
    ends = [action["end"] for action in actions]
    return Experiment(
        id="EXP1", template_id="EXT1", run_id="r", status="completed", reason="",
        started_at=min(action["start"] for action in actions), ended_at=None if None in ends else max(ends),
        actions=actions, alarms=(), targets=tuple(targets),
    )  # fmt: skip


def prove_action(session: Any, action: dict[str, Any], *, targets: Iterable[Any] = (), **evidence: Any) -> Proof:
    """Return the proof of the only action of an experiment, from this evidence."""
    outputs = {"ClusterName": CLUSTER, **SERVICES}
    deployment = Deployment(stack_name="s", run_id="r", api_url="", outputs=outputs)
    made = experiment(action, targets=targets)
    return proof_of(ProofContext(session=session, deployment=deployment, experiment=made, **evidence), action)
