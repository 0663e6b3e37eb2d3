"""Changes that last until the experiment ends are undone, or the experiment fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from kit.local.fis.actions import ACTIONS, UNDO, ActionContext
from kit.local.fis.engine import STOPPED_BY_USER, Run
from kit.local.fis.experiments import Experiment
from kit.local.fis.journal import FILE_NAME, Journal
from kit.local.fis.templates import create

ACTION = "aws:fis:wait"


class Keeps:
    """An action with a change that outlives it."""

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        return cls()

    async def start(self, context: ActionContext) -> None:
        context.remember("kept", {"by": context.action_name}, until_experiment_ends=True)


def run(folder: Path, *, stops: bool = False) -> tuple[Experiment, list[str], list[str]]:
    """Run two such actions in turn; return the experiment, the undone changes and those still in force."""
    actions = {
        "first": {"actionId": ACTION, "parameters": {"duration": "PT0.01S"}},
        "second": {
            "actionId": ACTION, "parameters": {"duration": "PT60S" if stops else "PT0.01S"}, "startAfter": ["first"],
        },
    }  # fmt: skip
    template = create(
        {
            "description": "d", "actions": actions, "stopConditions": [{"source": "none"}],
            "roleArn": "arn:aws:iam::000000000000:role/fis",
        }
    )  # fmt: skip
    journal = Journal(folder)
    journal.load()

    async def experiment() -> Experiment:
        made = Experiment.of(template, actions_mode="run-all", tags={})
        cloud: Any = SimpleNamespace(state_dir=folder)
        one = Run(cloud, journal, made, dice_seed="s", is_lever_engaged=lambda: False)
        if stops:
            asyncio.get_running_loop().call_later(0.1, one.end, STOPPED_BY_USER)
        await one.run()
        return made

    made = asyncio.run(experiment())
    lines = [json.loads(line) for line in (folder / FILE_NAME).read_text().splitlines()]
    forgotten = [line["forget"] for line in lines if "forget" in line]
    return made, forgotten, [each.id for each in Journal(folder).load()]


@pytest.mark.parametrize(("stops", "status"), [(False, "completed"), (True, "stopped")])
def test_kept_changes_are_undone_last_first_when_the_experiment_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stops: bool, status: str
) -> None:
    """They are not undone when their action ends: the second action finds the first one's change in force."""
    undone: list[str] = []

    async def undo(_cloud: Any, entry: Any) -> None:
        undone.append(entry.data["by"])

    monkeypatch.setitem(ACTIONS, ACTION, Keeps)  # type: ignore[arg-type]
    monkeypatch.setitem(UNDO, "kept", undo)  # type: ignore[arg-type]
    made, forgotten, left = run(tmp_path, stops=stops)
    assert (made.status, undone, forgotten, left) == (status, ["second", "first"], ["2", "1"], [])


@pytest.mark.parametrize("stops", [False, True])
def test_a_kept_change_that_cannot_be_undone_fails_the_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stops: bool
) -> None:
    """This holds for a stopped experiment, too.

    The entry stays for the next start, and the other change is still undone.
    """

    async def undo(_cloud: Any, entry: Any) -> None:
        if entry.data["by"] == "second":
            raise RuntimeError("no way back")

    monkeypatch.setitem(ACTIONS, ACTION, Keeps)  # type: ignore[arg-type]
    monkeypatch.setitem(UNDO, "kept", undo)  # type: ignore[arg-type]
    made, forgotten, left = run(tmp_path, stops=stops)
    assert (made.status, forgotten, left) == ("failed", ["1"], ["2"])
    assert "no way back" in made.reason
