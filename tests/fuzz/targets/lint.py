"""The linter of FIS templates: files of any content, and right templates with edits, as JSON and as YAML.

What it says of a template is compared with what the local AWS answers to the same template.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from kit.cli.main import main
from kit.errors import UsageError
from kit.faults.lint import lint
from kit.faults.lint.source import Source, read_templates
from kit.fis_rules.problems import UNKNOWN
from tests.fis_rules.three_ways import api_accepts, cloudformation_accepts, in_cloudformation
from tests.fuzz.json_edits import edited, edits
from tests.fuzz.resource_limits import limited
from tests.fuzz.runner import Check, Target

MEMORY_MB_MAX, SECONDS_MAX, CPU_S_MAX = 200, 20.0, 4.0
USAGE = 4
NAMES = ["t.json", "t.yaml", "t.yml", "T.JSON", "t.template", "t", "t.tf", "t.tf.json", "é\n.yaml"]
ARN = "arn:aws:{}:us-east-1:123456789012:{}".format
REQUEST: dict[str, Any] = {
    "clientToken": "token",
    "description": "Slow tasks, stop instances",
    "roleArn": "arn:aws:iam::123456789012:role/fis",
    "stopConditions": [{"source": "aws:cloudwatch:alarm", "value": ARN("cloudwatch", "alarm:late")}],
    "targets": {
        "tasks": {"resourceType": "aws:ecs:task", "selectionMode": "PERCENT(50)", "resourceTags": {"App": "shop"},
                  "parameters": {"cluster": "c", "service": "s"}},
        "hosts": {"resourceType": "aws:ec2:instance", "selectionMode": "COUNT(1)", "resourceTags": {"App": "shop"},
                  "filters": [{"path": "State.Name", "values": ["running"]}]},
        "pods": {"resourceType": "aws:eks:pod", "selectionMode": "ALL", "parameters": {
            "clusterIdentifier": "c", "namespace": "n", "selectorType": "labelSelector", "selectorValue": "app=x"}},
        "functions": {"resourceType": "aws:lambda:function", "selectionMode": "ALL",
                      "resourceArns": [ARN("lambda", "function:f")]},
    },
    "actions": {
        "slow": {"actionId": "aws:ecs:task-network-latency", "targets": {"Tasks": "tasks"}, "parameters": {
            "duration": "PT2M", "delayMilliseconds": "200", "jitterMilliseconds": "10", "sources": "s3"}},
        "stop": {"actionId": "aws:ec2:stop-instances", "targets": {"Instances": "hosts"}, "startAfter": ["slow"]},
        "pods": {"actionId": "aws:eks:pod-delete", "targets": {"Pods": "pods"},
                 "parameters": {"kubernetesServiceAccount": "fis"}},
        "fail": {"actionId": "aws:lambda:invocation-error", "targets": {"Functions": "functions"},
                 "parameters": {"duration": "PT5M", "invocationPercentage": "50"}},
        "run": {"actionId": "aws:ssm:start-automation-execution", "startAfter": ["stop", "slow"], "parameters": {
            "documentArn": ARN("ssm", "document/d"), "maxDuration": "PT5M", "documentParameters": '{"a": "b"}'}},
        "wait": {"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}},
    },
    "logConfiguration": {
        "logSchemaVersion": 2, "cloudWatchLogsConfiguration": {"logGroupArn": ARN("logs", "log-group:fis:*")}},
    "experimentOptions": {"accountTargeting": "single-account", "emptyTargetResolutionMode": "skip"},
    "tags": {"App": "shop"},
}  # fmt: skip
STACK: dict[str, Any] = {
    "AWSTemplateFormatVersion": "2010-09-09",
    "Globals": {"Function": {"Environment": {"Variables": {"A": "b"}}, "Layers": ["l"]}},
    "Resources": {
        "T": {"Type": "AWS::FIS::ExperimentTemplate", "Properties": in_cloudformation(
            {name: value for name, value in REQUEST.items() if name != "clientToken"})},
        "D": {"Type": "AWS::ECS::TaskDefinition", "Properties": {
            "PidMode": "task", "EnableFaultInjection": True, "Tags": [{"Key": "App", "Value": "shop"}],
            "ContainerDefinitions": [{"Name": "agent", "Image": "amazon-ssm-agent"}]}},
        "F": {"Type": "AWS::Serverless::Function", "Properties": {"Layers": ["l"], "Environment": {"Variables": {}}}},
    },
}  # fmt: skip
# Lines that mean something to a YAML parser.
LINES = [
    "a: &a [*a]", "a: &a {<<: *a}", "<<: [{a: 1}, x]", "<<: {}", "? [1]\n: 2", "? {a: 1}",
    "!!python/object:os.system x",
    "a: !Ref X", "a: !Sub [a, {b: c}]", "a: !GetAtt A.B", "!Ref X", "a: !If [x, {b: c}, !Ref 'AWS::NoValue']",
    "%YAML 1.1", "%TAG ! x", "---", "...", "\t", "{", "}", "[" * 70, "a: 2020-99-99", "a: 2020-01-01",
    "a: !!binary x",
    "a: !!set {a}", "a: !!omap [a: 1]", "a: !!int x", "a: !!float x", "a: .nan", "a: -.INF", "a: !!timestamp x", "=",
    "a: =", "a: 0b1_", "a: 190:20:30", "a: 0o8", "a: 1e999", "\x00", "\ufeff", "\x85", "\u2028", "a: yes", "1: 2",
    "null: 1",
    "1.5: 2", "true: 1", "2020-01-01: 1", "a: 'x", 'a: "\\ud800"', 'a: "\\x00"', "- a", "a: |", "a: >-\n  b", "#",
    "&a",
    "*b", "! x", "!<tag:yaml.org,2002:map> [1]", "? ", ": ", "a: b: c", "a: " + "9" * 5000, "x" * 1025 + ": 1",
]  # fmt: skip


@st.composite
def files(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw (name of the file, its content)."""
    name = draw(st.sampled_from(NAMES[:2] * 4 + NAMES))
    text = json.dumps(draw(st.sampled_from([REQUEST, STACK, {"experimentTemplate": REQUEST}, [REQUEST]])), indent=1)
    for edit in draw(st.lists(edits(), max_size=3)):
        text = edited(text, edit)
    if draw(st.booleans()):
        text = _in_yaml(draw, text)
    content = text.encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 9)) == 0:
        content = draw(st.sampled_from([b"\xff\xfe", b"\xef\xbb\xbf", b"\x00", b""])) + content
    if draw(st.integers(0, 9)) == 0:
        content = content[: draw(st.integers(0, len(content)))]
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3]))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        content = content[:place] + draw(st.binary(min_size=1, max_size=2)) + content[place + 1 :]
    return name, content


def _in_yaml(draw: st.DrawFn, text: str) -> str:
    """Write the document as YAML, if it is JSON, with lines of our own in between."""
    flow = draw(st.sampled_from([False, None]))
    try:
        text = yaml.safe_dump(json.loads(text), sort_keys=False, default_flow_style=flow)
    except (ValueError, RecursionError, yaml.YAMLError):
        return text
    lines = text.split("\n")
    for line in draw(st.lists(st.sampled_from(LINES), max_size=3)):
        number = draw(st.integers(0, len(lines)))
        indent = draw(st.sampled_from([0, 0, 2, 4, 6, 8]))
        lines.insert(number, " " * indent + line)
    return "\n".join(lines)


@contextmanager
def opened() -> Iterator[Check]:
    with tempfile.TemporaryDirectory() as folder:
        yield lambda case: check(Path(folder), *case)


def check(folder: Path, name: str, content: bytes) -> None:
    path = folder / name
    path.write_bytes(content)
    try:
        with limited(memory_mb=MEMORY_MB_MAX, seconds=SECONDS_MAX):
            check_answer(path)
            check_agreement(folder, path)
    finally:
        path.unlink()


def check_answer(path: Path) -> None:
    """Assert that the command answers in words: remarks, or what about the file cannot be read."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["lint-template", str(path)])
    said, complained = (each.buffer.getvalue().decode() for each in (out, err))  # type: ignore[attr-defined]
    assert "Traceback" not in complained and "internal error" not in complained, complained
    assert code in (0, 1, USAGE), f"exit code {code}: {complained}"
    assert (code == USAGE) == bool(complained), f"exit code {code} with {complained!r}"
    assert complained.count("\n") <= 1, complained
    assert code != 1 or " error " in said, said


def check_agreement(folder: Path, path: Path) -> None:
    """Assert that the linter refuses what the local AWS refuses, and nothing else."""
    try:
        sources = read_templates(path)
    except UsageError:
        return
    refused = any(remark.is_refusal for _, remark in lint([path]))
    accepted = [_is_accepted(folder, source) for source in sources if not _holds_unknown(source.body)]
    if len(accepted) == len(sources):
        assert refused != all(accepted), f"lint {'refuses' if refused else 'accepts'}, the local AWS says {accepted}"


def _is_accepted(folder: Path, source: Source) -> bool:
    return (cloudformation_accepts if source.is_cloudformation else api_accepts)(folder, source.body)


def _holds_unknown(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_unknown, value.values()))
    return value is UNKNOWN or (isinstance(value, list) and any(map(_holds_unknown, value)))


def bomb(levels: int, width: int, inside: str) -> bytes:
    """Write YAML in which few lines stand for `width` ** `levels` values, in the place of `inside` of a template."""
    lines = ["a0: &a0 x"]
    for level in range(levels):
        items = ", ".join(f"{inside}{number}: *a{level}" for number in range(width))
        lines.append(f"a{level + 1}: &a{level + 1} {{{items}}}")
    return "\n".join([*lines, f"actions: *a{levels}", f"targets: *a{levels}", f"tags: *a{levels}"]).encode()


TARGET = Target(
    promise="The linter answers any file in words, and refuses what the local AWS refuses.",
    cases=files(),
    open=opened,
    cpu_s_max=CPU_S_MAX,
    known=[
        ("t.json", json.dumps(REQUEST).encode()),
        ("t.json", json.dumps(STACK).encode()),
        ("t.yaml", yaml.safe_dump(STACK).encode()),
        ("t.json", b"[" * 100_000),
        ("t.yaml", b"a: &a [*a]\nactions: *a\ntargets: *a"),
        ("t.yaml", bomb(3, 80, "n")),
        ("t.yaml", bomb(2, 600, "n")),
        ("t.yaml", b"actions: {" + b"a: {}, " * 5_000 + b"}\ntargets: {}"),
        ("t.json", b'{"targets": {}, "actions": {' + b'"a": 1, ' * 100_000 + b'"b": 1}}'),
        ("t.json", b'{"targets": {}, "actions": [' + b"[], " * 20_000 + b"1]}"),
        ("t.json", b'{"targets": {}, "actions": {' + b",".join(b'"%d": 1' % n for n in range(9_000)) + b"}}"),
        ("t.json", b'{"targets": {}, "tags": {' + b",".join(b'"%d": "1"' % n for n in range(9_000)) + b"}}"),
        ("t.json", b'{"targets": {}, "actions": "' + b"x" * 500_000 + b'"}'),
    ],
)
