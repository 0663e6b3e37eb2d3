"""Test the linter of FIS templates: a golden template that passes, and one planted mistake for each rule."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kit.cli import main
from kit.faults.lint import Remark, Severity, lint
from kit.fis_rules.catalog import ACTIONS, REHEARSABLE, STALE_IDS
from tests.faults.changed_stacks import with_properties

ROOT = Path(__file__).parents[2]
STACK = ROOT / "paperbroker" / "deploy" / "stack.yaml"
ALARM = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:p95"
TASK = "arn:aws:ecs:us-east-1:123456789012:task/c/1"

GOLDEN: dict[str, Any] = {
    "description": "A third of the tasks stop, then one zone is cut off",
    "roleArn": "arn:aws:iam::123456789012:role/fis",
    "stopConditions": [{"source": "aws:cloudwatch:alarm", "value": ALARM}],
    "targets": {
        "Tasks": {
            "resourceType": "aws:ecs:task",
            "resourceTags": {"Env": "test", "App": "shop"},
            "selectionMode": "PERCENT(33)",
        },
        "Subnets": {
            "resourceType": "aws:ec2:subnet",
            "parameters": {"availabilityZoneIdentifier": "us-east-1a", "vpc": "vpc-1"},
            "selectionMode": "ALL",
        },
    },
    "actions": {
        "Stop": {"actionId": "aws:ecs:stop-task", "targets": {"Tasks": "Tasks"}},
        "Wait": {"actionId": "aws:fis:wait", "parameters": {"duration": "PT2M"}, "startAfter": ["Stop"]},
        "Cut": {
            "actionId": "aws:network:disrupt-connectivity",
            "parameters": {"duration": "PT5M", "scope": "all"},
            "targets": {"Subnets": "Subnets"},
            "startAfter": ["Wait"],
        },
    },
}

SLOW_TASKS = Path(__file__).with_name("stacks") / "slow_tasks.yaml"

Template = dict[str, Any]


def _write(path: Path, template: Any) -> Path:
    path.write_text(json.dumps(template))
    return path


def _remarks(tmp_path: Path, plant: Callable[[Template], object]) -> list[Remark]:
    template = copy.deepcopy(GOLDEN)
    plant(template)
    return [remark for _, remark in lint([_write(tmp_path / "t.json", template)])]


def _errors_and_warnings(remarks: list[Remark]) -> list[tuple[str, str]]:
    return [(remark.severity.value, remark.rule) for remark in remarks if remark.severity is not Severity.NOTE]


def _action(**changes: Any) -> Callable[[Template], object]:
    return lambda template: template["actions"]["Cut"].update(changes)


def _cut(**parameters: Any) -> Callable[[Template], object]:
    return lambda template: template["actions"]["Cut"]["parameters"].update(parameters)


def _tasks(**changes: Any) -> Callable[[Template], object]:
    return lambda template: template["targets"]["Tasks"].update(changes)


def _add(**actions: Any) -> Callable[[Template], object]:
    return lambda template: template["actions"].update(actions)


def _arns(count: int) -> Callable[[Template], object]:
    target = {"resourceType": "aws:ecs:task", "selectionMode": "ALL", "resourceArns": [TASK] * count}
    return lambda template: template["targets"].update(Tasks=target)


PLANTED: list[tuple[str, str, Callable[[Template], object], str]] = [
    ("error", "stop-condition-present", lambda t: t.update(stopConditions=[]), "stopConditions is empty"),
    ("error", "property-known-and-required", lambda t: t.pop("stopConditions"), "stopConditions is required"),
    ("error", "stop-condition-present", lambda t: t.update(stopConditions=[{"source": "none"}]), "'none'"),
    ("error", "stop-condition-alarm", lambda t: t.update(stopConditions=[{"source": "alarm"}]), "'alarm'"),
    ("error", "stop-condition-alarm", lambda t: t["stopConditions"][0].update(value=TASK), "ARN of a CloudWatch"),
    ("error", "stop-conditions-at-most-5", lambda t: t.update(stopConditions=t["stopConditions"] * 6), "6 stop cond"),
    ("error", "actions-at-most-20", _add(**{f"A{n}": {"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}}
                                            for n in range(18)}), "21 actions in a template exceed the quota of 20"),
    ("error", "template-limits", _arns(6), "length less than or equal to 5"),
    ("error", "resource-arns-stand-alone", _tasks(resourceArns=[TASK]), "resourceTags exclude each other"),
    ("error", "resource-arns-are-arns", lambda t: (_arns(1)(t), _tasks(resourceArns=[TASK[4:]])(t)), "must be an ARN"),
    ("error", "action-id-known", lambda t: t["actions"]["Stop"].update(actionId="aws:ecs:stop-tsk"),
     "nearest is aws:ecs:stop-task"),
    ("error", "action-id-known", lambda t: t["actions"]["Stop"].update(
        actionId="aws:elasticache:interrupt-cluster-az-power"),
     "its name today is aws:elasticache:replicationgroup-interrupt-az-power"),
    ("error", "action-parameters-known-and-required", _cut(scop="all"), "the nearest known is scope"),
    ("error", "action-parameters-known-and-required", lambda t: t["actions"]["Cut"]["parameters"].pop("scope"),
     "requires the parameter scope"),
    ("error", "action-parameters-known-and-required", _cut(scope="prefix-list"), "prefixListIdentifier"),
    ("error", "action-parameters-known-and-required",
     lambda t: t["actions"]["Stop"].update(parameters={"duration": "PT1M"}), "it takes none"),
    ("error", "action-parameter-value", _cut(scope="zone"), "must be one of all, availability-zone"),
    ("error", "duration-sane", _cut(duration="5 minutes"), "ISO 8601"),
    ("error", "duration-sane", _cut(duration="PT13H"), "PT1M to PT12H"),
    ("error", "duration-sane", _cut(duration="PT0S"), "PT1M to PT12H"),
    ("warning", "duration-sane", _cut(duration="PT20S"), "only the local AWS less"),
    ("error", "target-type-fits-action", _action(targets={"Subnets": "Tasks"}),
     "target Tasks is aws:ecs:task; Subnets of aws:network:disrupt-connectivity must be aws:ec2:subnet"),
    ("error", "target-type-fits-action", _action(targets={}), "requires the target Subnets"),
    ("error", "target-type-fits-action",
     lambda t: t["actions"]["Wait"].update(targets={"Tasks": "Tasks"}), "has no target Tasks"),
    ("error", "target-defined", _action(targets={"Subnets": "Subnet"}), "defined are: Tasks, Subnets"),
    ("warning", "target-used", lambda t: t["actions"].pop("Cut"), "target Subnets is used by no action"),
    ("error", "target-type-known", _tasks(resourceType="aws:ecs:tasks"), "nearest is aws:ecs:task"),
    ("error", "target-parameters-known-and-required", _tasks(parameters={"servce": "api"}), "service"),
    ("error", "target-parameters-known-and-required", _tasks(resourceType="aws:eks:pod"), "clusterIdentifier"),
    ("error", "selection-mode-known", _tasks(selectionMode="PERCENT(101)"), "'PERCENT(101)'"),
    ("error", "filter-path-known", _tasks(filters=[{"path": "state.name", "values": ["x"]}]), "PascalCase"),
    ("error", "blast-radius-limited", _tasks(resourceTags={}), "selects by nothing"),
    ("error", "blast-radius-limited", _tasks(resourceTags={"Env": "test"}), "whole environment"),
    ("warning", "blast-radius-limited",
     _tasks(resourceTags={"Env": "test"}, parameters={"cluster": "c", "service": "s"}), "whole environment"),
    ("warning", "blast-radius-limited", _tasks(selectionMode="ALL"), "ALL without filters"),
    ("error", "start-after-known", _action(startAfter=["Waits"]), "nearest action is Wait"),
    ("error", "start-after-acyclic", lambda t: t["actions"]["Stop"].update(startAfter=["Cut"]),
     "Stop → Cut → Wait → Stop"),
    ("error", "start-after-acyclic", _action(startAfter=["Cut"]), "Cut → Cut"),
    ("error", "property-known-and-required", lambda t: t.update(stopCondition=[]), "nearest known is stopConditions"),
    ("error", "property-known-and-required", lambda t: t.pop("roleArn"), "roleArn is required"),
    ("error", "property-known-and-required", lambda t: t["targets"]["Tasks"].pop("selectionMode"), "selectionMode"),
    ("error", "template-shape", _cut(duration=300), "strings only"),
    ("error", "template-shape", _action(startAfter="Wait"), "must be a list"),
    ("error", "template-shape", _tasks(resourceTags=[{"Key": "App", "Value": "shop"}]), "must be an object"),
]  # fmt: skip


def test_the_golden_template_is_silent_but_for_notes(tmp_path: Path) -> None:
    """There are notes only, and every action can be rehearsed locally."""
    remarks = _remarks(tmp_path, lambda template: None)
    assert [str(remark) for remark in remarks] == [
        "note local-rehearsal: can be rehearsed on the local AWS: Stop, Wait, Cut"
    ]


@pytest.mark.parametrize(("severity", "rule", "plant", "says"), PLANTED)
def test_each_planted_mistake_is_reported(
    tmp_path: Path, severity: str, rule: str, plant: Callable[[Template], object], says: str
) -> None:
    """The remark has the right rule, severity and text."""
    remarks = _remarks(tmp_path, plant)
    assert (severity, rule) in _errors_and_warnings(remarks)
    assert any(says in remark.sentence for remark in remarks if remark.rule == rule)


def test_one_mistake_is_reported_once(tmp_path: Path) -> None:
    """The other rules ignore a malformed value."""
    assert _errors_and_warnings(_remarks(tmp_path, _tasks(resourceTags="App"))) == [("error", "template-shape")]
    assert (
        _errors_and_warnings(_remarks(tmp_path, lambda t: t.update(targets=None))) == [("error", "target-defined")] * 2
    )


def test_an_ebs_pause_may_last_seconds(tmp_path: Path) -> None:
    """AWS accepts PT1S to PT12H for this action."""
    pause = {"actionId": "aws:ebs:pause-volume-io", "parameters": {"duration": "PT5S"}, "targets": {"Volumes": "V"}}
    volume = {"resourceType": "aws:ec2:ebs-volume", "resourceTags": {"App": "shop"}, "selectionMode": "COUNT(1)"}

    def plant(template: Template) -> None:
        template["actions"]["Pause"], template["targets"]["V"] = pause, volume

    assert _errors_and_warnings(_remarks(tmp_path, plant)) == []


def test_what_cannot_be_rehearsed_is_a_note(tmp_path: Path) -> None:
    """The note names the action. Such a template is still valid."""
    reboot = {"actionId": "aws:rds:failover-db-cluster", "targets": {"Clusters": "Db"}}
    db = {"resourceType": "aws:rds:cluster", "resourceArns": ["arn:aws:rds:eu-west-1:1:cluster:c"]}

    def plant(template: Template) -> None:
        template["actions"]["Fail"] = reboot
        template["targets"]["Db"] = {**db, "selectionMode": "ALL"}

    remarks = _remarks(tmp_path, plant)
    assert _errors_and_warnings(remarks) == []
    assert "note local-rehearsal: action Fail: aws:rds:failover-db-cluster acts on AWS only" in str(remarks[0])


def test_what_can_be_rehearsed_is_what_the_local_aws_does() -> None:
    """The list cannot be imported from the local AWS. If this fails, add the missing action to the list."""
    from kit.local.fis.actions import ACTIONS as ACTING

    assert set(ACTING) == REHEARSABLE
    assert set(ACTIONS) >= REHEARSABLE
    assert set(STALE_IDS.values()) <= set(ACTIONS)
    assert not set(STALE_IDS) & set(ACTIONS)


def _stack(tmp_path: Path, **properties: str) -> list[str]:
    path = with_properties(SLOW_TASKS, tmp_path / "stack.yaml", **properties)
    return [str(remark) for _, remark in lint([path]) if remark.rule != "local-rehearsal"]


def test_functions_of_cloudformation_are_unknown_and_not_wrong(tmp_path: Path) -> None:
    """Values of !Ref, !Sub, !If and Fn::GetAtt are unknown. The task definition of another component is not checked."""
    assert _stack(tmp_path) == []


def test_task_definitions_that_lack_the_prerequisites_are_errors(tmp_path: Path) -> None:
    """The error names the task definition and what it lacks."""
    assert _stack(tmp_path, PidMode="host", Image="nginx") == [
        "error ecs-fault-prerequisites: Slow: action Delay: aws:ecs:task-network-latency needs the SSM agent as a "
        "sidecar container and pidMode task, which task definition Api lacks"
    ]


def test_prerequisites_without_task_definitions_are_a_note(tmp_path: Path) -> None:
    """The template alone does not show whether they are met."""
    stress = {
        "actionId": "aws:ecs:task-cpu-stress",
        "parameters": {"duration": "PT1M"},
        "targets": {"Tasks": "Tasks"},
    }
    remarks = _remarks(tmp_path, _add(Stress=stress))
    notes = [remark for remark in remarks if remark.rule == "ecs-fault-prerequisites"]
    assert [note.severity for note in notes] == [Severity.NOTE]
    assert "needs the SSM agent as a sidecar container in the tasks' definition" in notes[0].sentence
    assert _errors_and_warnings(remarks) == []


def test_our_own_stack_has_no_errors() -> None:
    """PaperBroker's stack has no warnings either."""
    assert [str(remark) for _, remark in lint([STACK]) if remark.severity is not Severity.NOTE] == []


def test_yaml_and_the_answer_of_the_api_are_read_too(tmp_path: Path) -> None:
    """The linter reads the output of `aws fis get-experiment-template`, and a request in YAML."""
    answer = {
        "experimentTemplate": {**GOLDEN, "id": "EXT1", "creationTime": 1.5, "targetAccountConfigurationsCount": 0}
    }
    in_yaml = tmp_path / "t.yaml"
    in_yaml.write_text(yaml.safe_dump(GOLDEN))
    for path in (_write(tmp_path / "answer.json", answer), in_yaml):
        assert _errors_and_warnings([remark for _, remark in lint([path])]) == []


def test_an_empty_resource_is_reported_and_does_not_crash(tmp_path: Path) -> None:
    """Any value may be in the place of an object."""
    for properties in (None, [], "x", {}, {"Actions": {"A": None, "B": []}, "Targets": {"T": {"Filters": [1]}}}):
        resources = {"E": {"Type": "AWS::FIS::ExperimentTemplate", "Properties": properties}, "F": []}
        remarks = lint([_write(tmp_path / "t.json", {"Resources": resources})])
        assert any(remark.severity is Severity.ERROR for _, remark in remarks)
        assert all(remark.sentence.startswith("E: ") for _, remark in remarks)


def test_a_name_with_a_line_break_stays_on_one_line(tmp_path: Path) -> None:
    """A name in a file cannot forge a line of the output."""
    remarks = _remarks(tmp_path, _add(**{"A\nB": {"actionId": "aws:fis:wait"}}))
    assert any("action A B:" in str(remark) for remark in remarks)
    assert not any("\n" in str(remark) for remark in remarks)


def test_the_command_prints_a_line_a_remark_and_exits_by_the_worst(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 1 if there are errors, otherwise 0."""
    warned, wrong = copy.deepcopy(GOLDEN), copy.deepcopy(GOLDEN)
    _tasks(selectionMode="ALL")(warned)
    wrong["stopConditions"] = []
    good, bad = _write(tmp_path / "good.json", warned), _write(tmp_path / "bad.json", wrong)
    assert main.main(["lint-template", str(good)]) == 0
    assert capsys.readouterr().out.startswith(f"{good}: warning blast-radius-limited: target Tasks: ")
    assert main.main(["lint-template", str(good), str(bad)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"{bad}: error stop-condition-present: stopConditions is empty" in "\n".join(lines)
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read: No such file"),
        (b"a: [1", "is not YAML"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"", "holds no FIS template"),
        (b"just words", "holds no FIS template"),
        (b"{}", "holds no FIS template"),
        (b'{"Resources": {"B": {"Type": "AWS::S3::Bucket"}}}', "holds no FIS template"),
        (b"on: push\nactions: {a: 1}", "holds no FIS template"),
        (b"[" * 100_000, "nested too deeply"),
        (b"a: &a [*a]\nResources: {E: {Type: 'AWS::FIS::ExperimentTemplate', Properties: &p {A: *p}}}", "levels deep"),
    ],
)
def test_wrong_usage_is_exit_4_and_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, says: str
) -> None:
    """The command ends before it checks anything, and prints no stack trace."""
    good, path = _write(tmp_path / "good.json", GOLDEN), tmp_path / "x.yaml"
    if content is not None:
        path.write_bytes(content)
    assert main.main(["lint-template", str(good), str(path)]) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err and str(path) in err
    assert len(err.splitlines()) == 1
