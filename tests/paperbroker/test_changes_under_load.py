"""Under load and trouble PaperBroker keeps its word; with a known bad change it breaks what the change names.

Each round is real processes, the local AWS and the kit's load and checks; `troubles` stands in for the scenarios, so
that a round takes half a minute. Whether a whole game day sees the change is for game days to show.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kit import integrity, scenarios, slo
from kit.aws import LocalCloud, start_local
from kit.model import Phase, Status
from kit.slo.objectives import Metric
from paperbroker.storage.clients import Clients
from tests.paperbroker.change_rig import exchange, judged
from tests.paperbroker.known_changes import CHANGES, ROOT, copy_tree, header
from tests.paperbroker.paperbroker_rig import REGION, Stage
from tests.paperbroker.troubles import CALM_S, TROUBLES, endure, trouble_of

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(240)]
AFTERWARDS_S = 6.0  # of load, for what the trouble left behind to meet
# What takes many orders to show takes so long, with nothing else the matter.
MANY_ORDERS_S = 22.0
# Scenarios whose limit on latency is generous enough to hold on a machine that does other things, too.
TIMED = {"api-latency", "data-throttling"}
LATENCY = Metric.LATENCY_MS_P95.check
# What is told by the metrics that PaperBroker publishes: only game days read them.
PUBLISHED = {Metric.THROTTLED_CALLS_PER_ATTEMPT.check}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """The kit's own local AWS: it throttles a table, and has feature flags."""
    with start_local(tmp_path_factory.mktemp("cloud") / "state") as started:
        yield started


@pytest.fixture
def stage(cloud: LocalCloud, new_stage: Any, monkeypatch: pytest.MonkeyPatch) -> Stage:
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)
    factory = Clients(REGION)
    return new_stage(factory.make("dynamodb"), factory.make("sqs", read_timeout_s=4), cloud.environment())


def play(scenario: str, tree: Path, stage: Stage, folder: Path, lasts_s: float = 0.0) -> set[str]:
    """One round: the checks that failed, of integrity and of the scenario's limits while the trouble lasted."""
    phases: list[Phase] = []
    with trouble_of(scenario, stage) as trouble, exchange(with_env(stage, trouble.env), tree, folder) as running:
        if (door := getattr(trouble, "door", None)) is not None:
            door.target, running = running.api.port, replace(running, api=replace(running.api, port=door.port))
        lasts_s = lasts_s or trouble.lasts_s
        load_s = CALM_S + lasts_s + AFTERWARDS_S
        enduring = lambda: phases.append(endure(trouble, running, lasts_s))  # noqa: E731
        seen = judged(stage, running, folder, enduring, duration_s=load_s)
    limits = [one for one in scenarios.get(scenario).objectives if one.phase == phases[0].name]
    judgement = slo.evaluate(seen.attempts, seen.stream, seen.connections, seen.events, phases, limits)
    return {one.name for one in [*seen.found, *judgement] if one.status is Status.FAIL}


def with_env(stage: Stage, more: dict[str, str]) -> Stage:
    return replace(stage, env=stage.env | more)


@pytest.mark.parametrize("scenario", sorted(TROUBLES))
def test_paperbroker_keeps_its_word(scenario: str, stage: Stage, tmp_path: Path):
    """No check of integrity fails, nor, where that can be told here, is the limit on latency broken."""
    failed = play(scenario, ROOT, stage, tmp_path)
    assert failed & {check.name for check in integrity.CHECKS} == set()
    if scenario in TIMED:
        assert LATENCY not in failed


@pytest.mark.parametrize("diff", [d for d in CHANGES if header(d)["scenario"] in TROUBLES], ids=lambda path: path.stem)
def test_change_breaks_what_it_names(diff: Path, stage: Stage, tmp_path: Path):
    """All checks in its `caught-by` fail that can be told here."""
    said = header(diff)
    lasts_s = MANY_ORDERS_S if (said["scenario"], said["visible-since"]) == ("steady-state", "load") else 0.0
    failed = play(said["scenario"], copy_tree(tmp_path / "tree", diff), stage, tmp_path, lasts_s)
    named = set(said["caught-by"].split(", ")) - PUBLISHED
    assert named and named - failed == set()
