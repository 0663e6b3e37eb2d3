"""Faults of the network reach a function in a VPC: its calls to AWS, and its calls to tasks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.local.fis_rig import FisRig, disrupt, subnets_by_tag
from tests.local.function_rig import Function

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def placed(rig: FisRig) -> tuple[str, Function]:
    """A function in a subnet of its own, and the tag of this subnet."""
    name, subnets = rig.subnets("a")
    vpc = rig.ec2.describe_subnets(SubnetIds=subnets)["Subnets"][0]["VpcId"]
    group = rig.ec2.create_security_group(GroupName=name, Description="f", VpcId=vpc)["GroupId"]
    function = Function(rig.cloud, VpcConfig={"SubnetIds": subnets, "SecurityGroupIds": [group]}, Timeout=5)
    assert function.invoke({"do": "who"})[1] == ""
    return name, function


def cut(rig: FisRig, tag: str, **more: Any) -> Any:
    return rig.held(actions={"cut": disrupt(**more)}, targets={"Subnets": subnets_by_tag(tag)})


def test_a_cut_subnet_cuts_the_aws_calls_of_its_functions(rig: FisRig, placed: tuple[str, Function]) -> None:
    """Invocations still reach the function, as on AWS; calls of a function in no VPC are not cut."""
    (tag, function), outside = placed, Function(rig.cloud)
    outside.invoke()
    with cut(rig, tag):
        body, error = function.invoke({"do": "who"})
        assert (body["errorType"], error) == ("ReadTimeoutError", "Unhandled")
        assert function.invoke()[1] == ""
        assert outside.invoke({"do": "who"})[1] == ""
    assert function.invoke({"do": "who"})[1] == ""


def test_a_cut_of_another_service_leaves_the_others(rig: FisRig, placed: tuple[str, Function]) -> None:
    tag, function = placed
    with cut(rig, tag, scope="dynamodb"):
        assert function.invoke({"do": "who"})[1] == ""


def test_a_cut_subnet_cuts_the_calls_to_tasks(rig: FisRig, placed: tuple[str, Function], pair: Any) -> None:
    """Through their load balancer. Clients from the internet still reach it."""
    (tag, function), url = placed, f"http://{pair.host}/"
    assert function.invoke({"do": "get", "url": url}) == (200, "")
    with cut(rig, tag):
        body, error = function.invoke({"do": "get", "url": url})
        assert (error, body.get("errorType")) == ("Unhandled", "TimeoutError"), body
        assert sum(map(len, pair.through_balancer(2).values())) == 2
    assert function.invoke({"do": "get", "url": url}) == (200, "")
