"""Test the linter's rules on faults inside ECS tasks that concern several actions or limits in the user guide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kit.faults.lint import lint

ALARM = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:p95"


def messages_of(tmp_path: Path, rule: str, **actions: dict[str, Any]) -> list[str]:
    """Return the remarks of the rule on a template with these task actions."""
    tasks = {"resourceType": "aws:ecs:task", "resourceTags": {"App": "shop", "Env": "test"}, "selectionMode": "ALL"}
    template = {
        "description": "Tasks suffer", "roleArn": "arn:aws:iam::123456789012:role/fis", "actions": actions,
        "stopConditions": [{"source": "aws:cloudwatch:alarm", "value": ALARM}],
        "targets": {name: tasks for action in actions.values() for name in action["targets"].values()},
    }  # fmt: skip
    path = tmp_path / "template.json"
    path.write_text(json.dumps(template))
    return [str(remark) for _, remark in lint([path]) if remark.rule == rule]


def network(kind: str, *after: str, target: str = "Tasks") -> dict[str, Any]:
    action = {"actionId": f"aws:ecs:task-network-{kind}", "parameters": {"duration": "PT5M"}, "startAfter": list(after)}
    return {**action, "targets": {"Tasks": target}}


def test_two_network_actions_at_a_time_on_one_target_are_an_error(tmp_path: Path) -> None:
    """The error names both actions and a solution."""
    (remark,) = messages_of(
        tmp_path, "ecs-network-actions-in-turn", Late=network("latency"), Loss=network("packet-loss")
    )
    assert "actions Late and Loss" in remark and "let one startAfter the other" in remark


@pytest.mark.parametrize(
    "actions",
    [
        {"Late": network("latency"), "Loss": network("packet-loss", "Late")},
        {"Late": network("latency"), "Hole": network("latency", "Late"), "Loss": network("packet-loss", "Hole")},
        {"Late": network("latency"), "Loss": network("packet-loss", target="Others")},
    ],
    ids=["in turn", "in turn by way of another", "other targets"],
)
def test_network_actions_in_turn_are_fine(tmp_path: Path, actions: dict[str, Any]) -> None:
    """One action may follow the other directly or indirectly, or have another target."""
    assert messages_of(tmp_path, "ecs-network-actions-in-turn", **actions) == []


@pytest.mark.parametrize(("signal", "count"), [("SIGKILL", 0), ("SIGSTOP", 1)])
def test_a_signal_that_the_user_guide_does_not_name_is_a_note(tmp_path: Path, signal: str, count: int) -> None:
    """The signal may still work on AWS, and the local AWS sends any signal."""
    kill = {"actionId": "aws:ecs:task-kill-process", "targets": {"Tasks": "Tasks"}}
    kill["parameters"] = {"processName": "python", "signal": signal}
    remarks = messages_of(tmp_path, "ecs-kill-signal", Kill=kill)
    assert len(remarks) == count and all(remark.startswith("note ") and signal in remark for remark in remarks)
