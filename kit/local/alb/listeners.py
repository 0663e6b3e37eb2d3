"""Show a listener to its client connections: its rules, its port, and the load balancer behind it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Protocol

from kit.local.alb.listener_rules import Rule
from kit.local.alb.metrics import Counters
from kit.local.alb.targets import TargetGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSpec:
    """A listener's configuration, read from the control plane."""

    arn: str
    port: int
    rules: tuple[Rule, ...]


class Owner(Protocol):
    """The load balancer of a listener."""

    connect_timeout_s: float
    counters: Counters
    random: random.Random
    away_from: frozenset[str]

    def listener(self, arn: str, /) -> ListenerSpec | None:
        """Return the present configuration of a listener; without an ARN, of the one with the lowest port."""
        ...

    def group(self, arn: str, /) -> TargetGroup | None:
        """Return the target group that a rule forwards to."""
        ...


class ListenerView:
    """One listener of a load balancer. Connections keep it while its configuration changes."""

    def __init__(self, owner: Owner, arn: str) -> None:
        self._owner = owner
        self._arn = arn

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in order of priority. Empty when the listener is deleted."""
        spec = self._owner.listener(self._arn)
        return spec.rules if spec else ()

    @property
    def listener_port(self) -> int:
        """The port that clients on AWS would use."""
        spec = self._owner.listener(self._arn)
        return spec.port if spec else 0

    @property
    def connect_timeout_s(self) -> float:
        return self._owner.connect_timeout_s

    @property
    def counters(self) -> Counters:
        return self._owner.counters

    @property
    def random(self) -> random.Random:
        return self._owner.random

    @property
    def away_from(self) -> frozenset[str]:
        return self._owner.away_from

    def group(self, arn: str, /) -> TargetGroup | None:
        """Return the target group that a rule forwards to."""
        return self._owner.group(arn)
