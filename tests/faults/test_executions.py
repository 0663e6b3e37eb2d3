"""A run that is stopped has no execution left that would inject its fault, and its experiment is known."""

from __future__ import annotations

from typing import Any

import pytest

from kit import faults
from kit.errors import FaultError

ARN = "arn:aws:states:us-east-1:000000000000:"
EXECUTIONS = {
    f"{ARN}stateMachine:gameday-pipeline": [("run-1", "RUNNING"), ("run-2", "RUNNING")],
    f"{ARN}stateMachine:gameday-other": [("run-1", "RUNNING")],
    f"{ARN}stateMachine:payments": [("run-1", "RUNNING")],
}


class Pages:
    def __init__(self, read: Any) -> None:
        self._read = read

    def paginate(self, **asked: Any) -> list[dict[str, Any]]:
        return self._read(**asked)


class States:
    def __init__(self) -> None:
        self.stopped: list[str] = []

    def client(self, name: str) -> States:
        assert name == "stepfunctions"
        return self

    def get_paginator(self, operation: str) -> Pages:
        return Pages({"list_state_machines": self._machines, "list_executions": self._executions}[operation])

    def _machines(self) -> list[dict[str, Any]]:
        return [{"stateMachines": [{"stateMachineArn": arn, "name": arn.rpartition(":")[2]}]} for arn in EXECUTIONS]

    def _executions(self, *, stateMachineArn: str, statusFilter: str) -> list[dict[str, Any]]:
        found = [name for name, status in EXECUTIONS[stateMachineArn] if status == statusFilter]
        return [{"executions": [{"name": name, "executionArn": f"{stateMachineArn}/{name}"}]} for name in found]

    def stop_execution(self, *, executionArn: str, error: str, cause: str) -> None:
        assert (error, cause) == ("GameDay.Stopped", "run run-1 was stopped")
        self.stopped.append(executionArn)


def test_the_executions_of_a_run_are_stopped_and_no_others():
    states = States()
    found = faults.stop_executions(states, "run-1")
    assert found == states.stopped == [
        f"{ARN}stateMachine:gameday-pipeline/run-1", f"{ARN}stateMachine:gameday-other/run-1"
    ]  # fmt: skip


class Fis:
    """FIS with experiments by id: (run, actions mode)."""

    def __init__(self, **experiments: tuple[str, str]) -> None:
        self._experiments = experiments

    def client(self, name: str) -> Fis:
        assert name == "fis"
        return self

    def get_paginator(self, operation: str) -> Pages:
        assert operation == "list_experiments"
        found = [{"id": name, "tags": {"RunId": run}} for name, (run, _) in self._experiments.items()]
        return Pages(lambda: [{"experiments": found}])

    def get_experiment(self, *, id: str) -> dict[str, Any]:
        run, mode = self._experiments[id]
        described = {"id": id, "experimentTemplateId": "EXT", "state": {"status": "completed"}, "tags": {"RunId": run}}
        return {"experiment": {**described, "experimentOptions": {"actionsMode": mode}}}


def test_the_experiment_of_a_run_is_the_one_that_acts():
    fis = Fis(EXP1=("run-1", "skip-all"), EXP2=("run-1", "run-all"), EXP3=("run-2", "run-all"))
    found = faults.acting_experiment(fis, "run-1")
    assert found is not None and found.id == "EXP2"


def test_a_run_whose_preview_alone_was_started_has_no_experiment():
    assert faults.acting_experiment(Fis(EXP1=("run-1", "skip-all")), "run-1") is None


def test_a_run_with_two_experiments_is_refused():
    fis = Fis(EXP1=("run-1", "run-all"), EXP2=("run-1", "run-all"))
    with pytest.raises(FaultError, match="run run-1 has 2 experiments: EXP1, EXP2"):
        faults.acting_experiment(fis, "run-1")
