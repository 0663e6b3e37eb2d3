"""The stack of load tasks is valid, private, and what the fleet reads of it is there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from kit import aws, build, deploy
from kit.gameday import load_source
from kit.load import fleet
from kit.load.artifacts import Artifacts
from kit.load.fleet import CONTAINER, Place
from tests.polling import wait_until

ROOT = Path(__file__).parents[2]
TEMPLATE = load_source.STACK
UNTAGGED = {"AWS::EC2::Route", "AWS::EC2::SubnetRouteTableAssociation", "AWS::EC2::VPCGatewayAttachment",
            "AWS::S3::BucketPolicy"}  # fmt: skip

IMPORTED = ", ".join(
    (
        "boto3",
        "kit.load.task",
        "kit.load.__main__",
        "kit.load.writer_process",
        "kit.pipeline.watch",
        "kit.pipeline.judge",
    )
)
# botocore takes its own certificates where there is no certifi.
NOT_NEEDED = {"paperbroker-gameday", "certifi"}


class Loader(yaml.SafeLoader):
    """Reads CloudFormation's short functions as mappings."""


def _function(loader: Any, suffix: str, node: Any) -> Any:
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {f"!{suffix}": value}


Loader.add_multi_constructor("!", _function)


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    return yaml.load(TEMPLATE.read_text(), Loader)["Resources"]


def test_cfn_lint_finds_nothing():
    command = Path(sys.executable).with_name("cfn-lint")
    linted = subprocess.run([command, str(TEMPLATE)], capture_output=True, text=True, timeout=60, check=False)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_artifacts_are_private_encrypted_expire_and_need_tls(resources: dict[str, Any]):
    bucket, policy = resources["Artifacts"]["Properties"], resources["ArtifactsPolicy"]["Properties"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]
    assert (rule["Status"], rule["ExpirationInDays"]) == ("Enabled", {"!Ref": "ArtifactsDays"})
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert len(statement["Resource"]) == 2


def test_a_load_task_may_touch_nothing_but_the_load_of_its_run(resources: dict[str, Any]):
    (policy,) = resources["LoadRole"]["Properties"]["Policies"]
    statements = {one["Sid"]: one for one in policy["PolicyDocument"]["Statement"]}
    assert {one["Action"] for one in statements.values()} == {"s3:ListBucket", "s3:GetObject", "s3:PutObject"}
    own_run = {"Run": {"!If": ["AllRuns", "*", {"!Ref": "RunId"}]}}
    assert statements["Write"]["Resource"] == {"!Sub": ["${Artifacts.Arn}/${Run}/load/*", own_run]}
    assert "SecurityGroupIngress" not in resources["SecurityGroup"]["Properties"]


def test_every_taggable_resource_has_the_tags(resources: dict[str, Any]):
    for name, resource in resources.items():
        if resource["Type"] not in UNTAGGED:
            assert {tag["Key"] for tag in resource["Properties"]["Tags"]} >= {"Tier", "Component"}, name


def test_the_fleet_finds_its_container_and_outputs(resources: dict[str, Any]):
    (container,) = resources["LoadTaskDefinition"]["Properties"]["ContainerDefinitions"]
    assert container["Name"] == CONTAINER
    outputs = yaml.load(TEMPLATE.read_text(), Loader)["Outputs"]
    assert Place.from_outputs(dict.fromkeys(outputs, "a,b")).subnets == ("a", "b")


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    """The libraries of the base image and their versions."""
    found = re.findall(r"([a-z0-9]+)==([\d.]+)", (ROOT / "kit/load/Dockerfile").read_text())
    assert len(found) >= 8
    return dict(found)


def test_the_base_image_pins_the_versions_of_the_project(pins: dict[str, str]):
    project = (ROOT / "pyproject.toml").read_text()
    assert [pin for pin in pins.items() if f'"{pin[0]}=={pin[1]}"' not in project] == []


def test_a_task_and_its_generator_import_only_what_the_base_image_has(pins: dict[str, str]):
    # Development tools that every interpreter of the environment loads are of no concern.
    code = f"import sys; before = set(sys.modules); import {IMPORTED}; print(*set(sys.modules) - before)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
    modules = {name.partition(".")[0] for name in ran.stdout.split()}
    owners = metadata.packages_distributions()
    imported = {normal(owner) for name in modules for owner in owners.get(name, ())} - NOT_NEEDED
    assert imported >= {"boto3", "uvloop"}
    assert imported - with_requirements(pins) == set()


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def with_requirements(names: Iterable[str]) -> set[str]:
    """Return distributions with all that they require, and theirs."""
    found: set[str] = set()
    left = [normal(name) for name in names]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            required = [one for one in metadata.requires(name) or () if "extra ==" not in one]
            left += [normal(re.split(r"[ ;<>=!~\[(]", one)[0]) for one in required]
    return found


def test_the_image_holds_what_a_task_imports(local_session: aws.Session):
    """A task's image has the kit without its local AWS; the same tree is the same image."""
    image = build.build_kit_image(local_session, load_source.KIT)
    assert image == build.build_kit_image(local_session, load_source.KIT)
    assert f"/gameday@{image.digest}" in image.uri
    ecr = local_session.client("ecr")
    manifest = ecr.batch_get_image(repositoryName="gameday", imageIds=[{"imageDigest": image.digest}])["images"][0]
    assert len(json.loads(manifest["imageManifest"])["layers"]) == 1


def test_the_stack_is_made_and_deleted_with_the_artifacts_in_it(local_session: aws.Session):
    outputs = load_source.deploy_tasks(local_session, "test-load-stack", timeout_s=60)
    artifacts = Artifacts(s3=local_session.client("s3"), bucket=outputs["ArtifactsBucket"], run_id="test-load-stack")
    artifacts.put_json("load/load.json", {"a": 1})
    assert artifacts.get_json("load/load.json") == {"a": 1}
    assert artifacts.get_json("load/nothing.json") is None
    # A task that nobody ordered a load for waits; the stack ends it.
    place = Place.from_outputs(outputs)
    fleet._run_task(local_session, place, "test-load-stack", 0)
    wait_until(lambda: artifacts.get_json("load/ready/shard-00000.json") is not None, "the task is ready", 30)
    name = load_source.stack_name("test-load-stack")
    assert deploy.find_stacks(local_session, run_id="test-load-stack") == [name]
    deploy.tear_down(local_session, name, timeout_s=60)
    assert deploy.find_stacks(local_session, run_id="test-load-stack") == []
    assert [p.pid for p in psutil.process_iter(["cmdline"]) if "test-load-stack" in (p.info["cmdline"] or [])] == []
