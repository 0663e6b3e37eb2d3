"""Facts of a run for records that tests make."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kit.model import RunFacts

FACTS = RunFacts(
    run_id="r1", scenario="az-loss", build="sha256:1", target="local", region="us-east-1", seed=7,
    reproduce="gameday run az-loss --seed 7", started_at=1.0, ended_at=2.0,
)  # fmt: skip


def run_facts(**changes: Any) -> RunFacts:
    return replace(FACTS, **changes)
