"""Draw the state machine as a graph whose colours say what an execution does: entered, left, not reached, failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from kit.pipeline.execution import SUCCEEDED, Ending, Step

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN, ROW_IN = 9.0, 0.42
BOX = (0.86, 0.62)  # of a cell of the grid
TEXT_PT, EDGE_COLOUR = 7, "#8a8f98"
# The branches of the parallel state have columns 0 to 2; what follows a run that did not pass has the last one.
MAIN_COLUMN, FAILURE_COLUMN = 1, 3


class NodeState(StrEnum):
    """What an execution has done with a state."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


COLOURS = {
    NodeState.WAITING: "#eceef1",
    NodeState.RUNNING: "#4a7fd6",
    NodeState.DONE: "#4f9d69",
    NodeState.FAILED: "#b3261e",
}
DARK = frozenset({NodeState.RUNNING, NodeState.DONE, NodeState.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A state at its place in a grid, and the states that may follow it."""

    name: str
    column: int
    row: int
    following: tuple[str, ...]


def nodes(definition: Mapping[str, Any]) -> list[Node]:
    """Place every state: the main path and the branches of a parallel state downwards, the failures beside the end."""
    return list(_placed(definition))


def node_states(steps: Sequence[Step], ending: Ending | None) -> dict[str, NodeState]:
    """Say what an execution has done with the states that it has entered."""
    open_count: Counter[str] = Counter()
    for step in steps:
        open_count[step.state] += -1 if step.is_over else 1
    over = ending is not None
    return {
        name: NodeState.DONE if count <= 0 else NodeState.FAILED if over else NodeState.RUNNING
        for name, count in open_count.items()
    }


def draw(definition: Mapping[str, Any], steps: Sequence[Step], ending: Ending | None = None) -> Figure:
    """Draw the graph of an execution so far."""
    from matplotlib.figure import Figure

    placed, done = nodes(definition), node_states(steps, ending)
    rows = max(node.row for node in placed) + 1
    figure = Figure(figsize=(WIDTH_IN, rows * ROW_IN))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-0.5, max(node.column for node in placed) + 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.axis("off")
    at = {node.name: (node.column, node.row) for node in placed}
    for node in placed:
        for name in node.following:
            _edge(axes, at[node.name], at[name])
    for node in placed:
        _box(axes, node, done.get(node.name, NodeState.WAITING))
    if ending is not None:
        words = ending.status if ending.status == SUCCEEDED else f"{ending.status}: {ending.error}"
        axes.text(0, rows - 0.6, words, ha="center", va="bottom", fontsize=TEXT_PT + 2)
    return figure


def _placed(definition: Mapping[str, Any]) -> Iterator[Node]:
    states = definition["States"]
    main, row = _path(states, definition["StartAt"]), 0
    for name in main:
        state = states[name]
        branches = [list(_flat(branch)) for branch in state.get("Branches", ())]
        starts = tuple(branch[0][0] for branch in branches)
        yield Node(name=name, column=MAIN_COLUMN, row=row, following=starts or _following(state))
        row += 1
        for column, branch in enumerate(branches):
            for index, (inner, inner_state) in enumerate(branch):
                is_last = index + 1 == len(branch)
                each = (inner_state["ItemProcessor"]["StartAt"],) if "ItemProcessor" in inner_state else ()
                after = _following(state) if is_last else each or _following(inner_state)
                yield Node(name=inner, column=column, row=row + index, following=after)
        row += max((len(branch) for branch in branches), default=0)
    others = [name for name in states if name not in main]
    for index, name in enumerate(others):
        yield Node(name=name, column=FAILURE_COLUMN, row=row - len(others) + index, following=_following(states[name]))


def _flat(machine: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, state in machine["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from _flat(state["ItemProcessor"])


def _path(states: Mapping[str, Any], start: str) -> list[str]:
    """Return the states of the way that succeeds: the first choice of every Choice."""
    found, name = [], start
    while name and name not in found:
        found.append(name)
        state = states[name]
        name = state.get("Next") or next((choice["Next"] for choice in state.get("Choices", ())), "")
    return found


def _following(state: Mapping[str, Any]) -> tuple[str, ...]:
    names = [state.get("Next"), state.get("Default"), *(choice["Next"] for choice in state.get("Choices", ()))]
    return tuple(dict.fromkeys(name for name in names if name))


def _edge(axes: Axes, start: tuple[int, int], end: tuple[int, int]) -> None:
    arrow = {"arrowstyle": "-|>", "color": EDGE_COLOUR, "lw": 0.6, "shrinkA": 6, "shrinkB": 8}
    axes.annotate("", xy=end, xytext=start, arrowprops=arrow, zorder=1)


def _box(axes: Axes, node: Node, state: NodeState) -> None:
    from matplotlib.patches import FancyBboxPatch

    width, height = BOX
    corner = (node.column - width / 2, node.row - height / 2)
    axes.add_patch(
        FancyBboxPatch(corner, width, height, boxstyle="round,pad=0.02", fc=COLOURS[state], ec=EDGE_COLOUR, zorder=2)
    )
    colour = "white" if state in DARK else "#30343a"
    axes.text(node.column, node.row, node.name, ha="center", va="center", fontsize=TEXT_PT, color=colour, zorder=3)
