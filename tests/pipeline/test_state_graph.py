"""The graph of an execution shows every state once, and what the execution has done with it."""

from __future__ import annotations

import json

import pytest

from kit.pipeline.conductor_stack import DEFINITION
from kit.pipeline.execution import Ending, Step
from kit.pipeline.state_graph import COLOURS, NodeState, draw, node_states, nodes

MACHINE = json.loads(DEFINITION.read_text())


def steps(*taken: str) -> list[Step]:
    """Return steps; a name with a minus is a state that was left."""
    return [Step(state=one.lstrip("-"), at=float(at), is_over=one.startswith("-")) for at, one in enumerate(taken)]


def test_every_state_has_a_place_of_its_own():
    placed = nodes(MACHINE)
    assert len({(node.column, node.row) for node in placed}) == len({node.name for node in placed}) == len(placed)
    names = {node.name for node in placed}
    assert {name for node in placed for name in node.following} <= names
    assert names >= {"Prepare", "LoadTask", "Watch", "StartExperiment", "Judge", "PassGate", "Passed", "Blocked"}


def test_the_parallel_branches_follow_the_state_that_starts_them():
    at = {node.name: node for node in nodes(MACHINE)}
    assert at["Run"].following == ("Load", "Watch", "LookForReady")
    assert at["LoadTask"].following == at["Watch"].following == at["Conducted"].following == ("CleanUp",)


def test_states_are_running_left_or_interrupted():
    taken = steps("Run", "LoadTask", "LoadTask", "-LoadTask", "Watch", "-Watch")
    running = {"Run": NodeState.RUNNING, "LoadTask": NodeState.RUNNING, "Watch": NodeState.DONE}
    assert node_states(taken, None) == running
    ended = node_states(taken, Ending(status="ABORTED", error="", cause=""))
    assert ended == running | dict.fromkeys(("Run", "LoadTask"), NodeState.FAILED)


@pytest.mark.parametrize("ending", [None, Ending(status="FAILED", error="GameDay.FAIL", cause="why")])
def test_the_figure_shows_all_states_and_how_it_ended(ending: Ending | None):
    figure = draw(MACHINE, steps("Prepare", "-Prepare", "Run"), ending)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert set(texts) >= {node.name for node in nodes(MACHINE)}
    assert ("FAILED: GameDay.FAIL" in texts) == (ending is not None)
    colours = {patch.get_facecolor() for patch in figure.axes[0].patches}
    assert len(colours) == 3 and len(COLOURS) == 4
