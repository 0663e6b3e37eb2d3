"""Put PaperBroker's metrics around a fault into a real local CloudWatch, as its tasks would publish them.

The timeline is steady from `begin`, has the fault from `start` to `end`, then is steady until `stop`. Every component
in every zone publishes each 5 s, with an offset of its own; a call is reported by the publish that follows it.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from kit import collect
from kit.faults.proofs import Proof, ProofContext, proof_of
from kit.model import Deployment
from tests.faults.proof_experiments import experiment

BEFORE_S, FAULT_S, AFTER_S = 60, 30, 45
PUBLISH_S = 5
HERE, THERE = "us-east-1a", "us-east-1b"
PUT_MAX = 900
CALLS_PER_PUBLISH = 90
LOST = 0.3

# (component, zone, seconds after the start of the fault) → whether the fault is at work.
Active = Callable[[str, str, float], bool]


def in_force(component: str, zone: str, s: float) -> bool:
    return zone == HERE and 0 <= s < FAULT_S


SHAPES: Mapping[str, Active] = {
    "effect": in_force,
    "null": lambda component, zone, s: False,
    "wrong-zone": lambda component, zone, s: in_force(component, HERE, s) and zone == THERE,
    "everywhere": lambda component, zone, s: in_force(component, HERE, s),
    "began-before": lambda component, zone, s: zone == HERE and -40 <= s < FAULT_S,
    "just-before": lambda component, zone, s: zone == HERE and -9 <= s < FAULT_S,
    "never-healed": lambda component, zone, s: zone == HERE and s >= 0,
    "burst": lambda component, zone, s: zone == HERE and 12 <= s < 14,
    "half-done": lambda component, zone, s: in_force(component, zone, s) and component != "matcher",
}


@dataclass
class Broker:
    """Publish metrics with past timestamps. The timeline ends now."""

    session: Any
    env: str
    begin: float
    dice: random.Random = field(default_factory=lambda: random.Random(7))
    noise: float = 0.0
    components: tuple[str, ...] = ("api", "matcher")

    @property
    def start(self) -> float:
        return self.begin + BEFORE_S

    @property
    def end(self) -> float:
        return self.start + FAULT_S

    @property
    def stop(self) -> float:
        return self.end + AFTER_S

    def publish(
        self,
        *,
        slow: Active | None = None,
        lossy: Active | None = None,
        added_ms: float = 300.0,
        share: float = 1.0,
        failing: Active | None = None,
        silent: Active | None = None,
        counting: Mapping[str, Active] | None = None,
        kind: str = "Store",
    ) -> None:
        """Publish the whole timeline.

        Calls to `kind` (Store or Queue) are slow or fail; a lossy link loses LOST calls once.
        """
        data: list[dict[str, Any]] = []
        for component in self.components:
            for zone in (HERE, THERE):
                phase = self.dice.random() * PUBLISH_S
                for number in range(int((self.stop - self.begin) / PUBLISH_S)):
                    t = self.begin + phase + number * PUBLISH_S
                    s = t - self.start
                    if silent and silent(component, zone, s):
                        continue
                    values = {"Heartbeat": [1.0], "StoreMs": [], "QueueMs": [], f"{kind}Errors": [0.0]}
                    for _ in range(CALLS_PER_PUBLISH):
                        at = s - self.dice.random() * PUBLISH_S
                        ms = self._ms()
                        if slow and slow(component, zone, at) and self.dice.random() < share:
                            ms += added_ms * (0.9 + 0.2 * self.dice.random())
                        if lossy and lossy(component, zone, at) and self.dice.random() < LOST:
                            ms += 200 * (1 + self.dice.random())
                        if failing and failing(component, zone, at):
                            ms, values[f"{kind}Errors"][0] = 1200.0, values[f"{kind}Errors"][0] + 1
                        values[f"{kind}Ms"].append(ms)
                    for name, active in (counting or {}).items():
                        values[name] = [20.0 if active(component, zone, s - 1) else 0.0]
                    data += self._data(t, component, zone, values)
        for first in range(0, len(data), PUT_MAX):
            client = self.session.client("cloudwatch")
            client.put_metric_data(Namespace="PaperBroker", MetricData=data[first : first + PUT_MAX])

    def _ms(self) -> float:
        spike = 500 * self.dice.random() if self.dice.random() < self.noise else 0.0
        return round(3 + self.dice.expovariate(0.2) + spike, 1)

    def _data(self, t: float, component: str, zone: str, values: Mapping[str, list[float]]) -> list[dict[str, Any]]:
        every = [{"Name": "Env", "Value": self.env}, {"Name": "Component", "Value": component}]
        common = {"Timestamp": dt.datetime.fromtimestamp(t, dt.UTC), "StorageResolution": 1}
        return [
            {"MetricName": name, "Values": listed, "Counts": [1.0] * len(listed), "Dimensions": dimensions, **common}
            for name, listed in values.items()
            if listed
            for dimensions in (every, [*every, {"Name": "Az", "Value": zone}])
        ]

    def action(self, action_id: str, **more: Any) -> dict[str, Any]:
        """Return an action as the experiment describes it, from the start of the fault to its end."""
        parameters = {key: str(value) for key, value in more.pop("parameters", {}).items()}
        return {
            "name": "Hit", "action_id": action_id, "status": "completed", "reason": "", "duration": "",
            "start": self.start, "end": self.end, "targets": ["Tasks"], "parameters": parameters, **more,
        }  # fmt: skip

    def context(self, *actions: dict[str, Any], targets: Any = None, **more: Any) -> ProofContext:
        """Return the proof context of these actions. The targets are all tasks in HERE."""
        chosen = targets if targets is not None else [task(component) for component in self.components]
        return ProofContext(
            session=self.session,
            deployment=Deployment(stack_name="s", run_id="r", api_url="", outputs={"MetricsEnv": self.env}),
            experiment=experiment(*actions, targets=chosen),
            samples=Zones(),
            meters=collect.Meters(session=self.session),
            **more,
        )

    def prove(self, action_id: str, *, parameters: Mapping[str, Any] | None = None, **more: Any) -> Proof:
        """Return the result of the proof of one action of this kind."""
        action = self.action(action_id, parameters=dict(parameters or {}))
        return proof_of(self.context(action, **more), action)


class Zones:
    """Task samples that only contain the zones."""

    def tasks(self) -> pd.DataFrame:
        return pd.DataFrame({"t": [0.0, 0.0], "zone": [HERE, THERE], "service": ["api"] * 2, "running": [1, 1]})

    def targets(self) -> pd.DataFrame:
        return pd.DataFrame(columns=pd.Index(["t", "subnet", "zone", "state", "count"]))


def task(component: str, zone: str = HERE, name: str = "Tasks") -> dict[str, Any]:
    """Return a resolved target as the guards describe it."""
    return {
        "name": name, "type": "aws:ecs:task", "arn": f"arn:{component}-{zone}", "id": f"{component}-{zone}",
        "zone": zone, "service": component, "tags": {"Component": component},
    }  # fmt: skip


def subnet(zone: str = HERE) -> dict[str, Any]:
    return {
        "name": "Tasks", "type": "aws:ec2:subnet", "arn": "arn:subnet", "id": "subnet-1", "zone": zone, "service": "",
        "tags": {"Component": "app-subnet"},
    }  # fmt: skip
