"""Faults in routes: a VPC endpoint, another Region, a prefix list, a zonal shift."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.local.fis_pair import Pair, get
from tests.local.fis_rig import FisRig, disrupt
from tests.polling import wait_until

HANGS_S = 0.8


def by_arn(resource_type: str, *arns: str) -> dict[str, Any]:
    return {"resourceType": resource_type, "resourceArns": list(arns), "selectionMode": "ALL"}


def subnet_arn(subnet_id: str) -> str:
    return f"arn:aws:ec2:us-east-1:000000000000:subnet/{subnet_id}"


def hangs(pair: Pair, path: str) -> bool:
    return pair.ask_hit(path, HANGS_S)[1] == {}


def zone_of_hit(pair: Pair) -> tuple[str, str]:
    """The zone and the subnet of the task that is hit."""
    task = pair.ecs.describe_tasks(cluster=pair.name, tasks=[pair.hit])["tasks"][0]
    details = {each["name"]: each["value"] for each in task["attachments"][0]["details"]}
    return task["availabilityZone"], details["subnetId"]


def endpoint(pair: Pair, service: str, kind: str = "Interface") -> dict[str, Any]:
    """A VPC endpoint of the pair's VPC, as a target."""
    made = pair.rig.ec2.create_vpc_endpoint(
        VpcId=pair.vpc, ServiceName=service, VpcEndpointType=kind, SubnetIds=pair.subnets[:1]
    )["VpcEndpoint"]["VpcEndpointId"]
    return by_arn("aws:ec2:vpc-endpoint", f"arn:aws:ec2:us-east-1:000000000000:vpc-endpoint/{made}")


DISRUPT_ENDPOINT = {
    "actionId": "aws:network:disrupt-vpc-endpoint",
    "parameters": {"duration": "PT1M"},
    "targets": {"VPCEndpoints": "Endpoint"},
}


def test_a_disrupted_vpc_endpoint_cuts_its_service_from_the_vpc(pair: Pair) -> None:
    """Calls to SQS hang for both tasks and calls to DynamoDB do not.

    After the experiment the hanging calls complete.
    """
    target = endpoint(pair, "com.amazonaws.us-east-1.sqs")
    with ThreadPoolExecutor(1) as pool:
        with pair.rig.held(actions={"cut": DISRUPT_ENDPOINT}, targets={"Endpoint": target}):
            hanging = pool.submit(pair.ask_hit, "sqs", 20.0)
            assert pair.ask_other("sqs", HANGS_S)[1] == {}
            assert pair.ask_hit("dynamodb")[1]
            assert not hanging.done()
        assert hanging.result()[1]


@pytest.mark.parametrize(
    ("service", "kind", "named"),
    [
        ("com.amazonaws.us-east-1.dynamodb", "Gateway", "is a Gateway endpoint"),
        ("com.amazonaws.vpce.us-east-1.vpce-svc-1", "Interface", "leads to no service"),
    ],
)
def test_an_endpoint_that_cannot_be_cut_fails(pair: Pair, service: str, kind: str, named: str) -> None:
    """Gateway endpoints have no security group, and services of third parties have no traffic here."""
    target = endpoint(pair, service, kind)
    experiment = pair.rig.run(actions={"cut": DISRUPT_ENDPOINT}, targets={"Endpoint": target})
    assert experiment["state"]["error"]["code"] == "ConfigurationFailure"
    assert named in experiment["state"]["reason"]


def cross_region(region: str) -> dict[str, Any]:
    return {
        "actionId": "aws:network:route-table-disrupt-cross-region-connectivity",
        "parameters": {"duration": "PT1M", "region": region},
        "targets": {"Subnets": "Subnets"},
    }


def test_a_lost_region_is_lost_for_the_subnet_only(pair: Pair) -> None:
    """Calls to the other Region hang. Calls to the own Region, and calls from the other subnet, do not."""
    _, subnet = zone_of_hit(pair)
    target = by_arn("aws:ec2:subnet", subnet_arn(subnet))
    with pair.rig.held(actions={"cut": cross_region("eu-west-1")}, targets={"Subnets": target}):
        assert hangs(pair, "sqs@eu-west-1")
        assert pair.ask_hit("sqs")[1] and pair.ask_hit("sqs@us-west-2")[1]
        assert pair.ask_other("sqs@eu-west-1")[1]
    assert pair.ask_hit("sqs@eu-west-1")[1]


@pytest.mark.parametrize("region", ["us-east-1", "mars-north-1"])
def test_the_lost_region_must_be_another_one(pair: Pair, region: str) -> None:
    target = by_arn("aws:ec2:subnet", subnet_arn(pair.subnets[0]))
    experiment = pair.rig.run(actions={"cut": cross_region(region)}, targets={"Subnets": target})
    assert f"region '{region}' must be another Region" in experiment["state"]["reason"]


def prefix_list(pair: Pair, *cidrs: str) -> dict[str, Any]:
    return pair.rig.ec2.create_managed_prefix_list(
        PrefixListName=f"p{time.monotonic_ns()}", MaxEntries=20, AddressFamily="IPv4",
        Entries=[{"Cidr": cidr} for cidr in cidrs],
    )["PrefixList"]  # fmt: skip


def cut_list(identifier: str) -> dict[str, Any]:
    cut = disrupt(scope="prefix-list")
    cut["parameters"]["prefixListIdentifier"] = identifier
    return cut


@pytest.mark.parametrize("by", ["PrefixListId", "PrefixListName", "PrefixListArn"])
def test_a_prefix_list_cuts_the_subnets_that_it_covers(pair: Pair, by: str) -> None:
    """The load balancer's node in the other subnet cannot reach the task.

    The node in its own subnet can, and AWS stays reachable.
    """
    _, subnet = zone_of_hit(pair)
    other = next(each for each in pair.subnets if each != subnet)
    cidrs = [each["CidrBlock"] for each in pair.rig.ec2.describe_subnets(SubnetIds=[other, subnet])["Subnets"]]
    listed = prefix_list(pair, *cidrs)
    target = by_arn("aws:ec2:subnet", subnet_arn(subnet))
    with pair.rig.held(actions={"cut": cut_list(listed[by])}, targets={"Subnets": target}):
        times = pair.through_balancer(12, timeout_s=HANGS_S)
        answered = {task: len(found) for task, found in times.items()}
        # Of each node's requests half go to each task; of the four ways two cross from one subnet to the other.
        assert 1 <= answered[pair.hit] <= 5 and 1 <= answered[pair.other] <= 5, answered
        assert pair.ask_hit("sqs")[1]


@pytest.mark.parametrize(
    ("identifier", "named"), [("pl-none", "does not exist"), ("com.amazonaws.us-east-1.s3", "is managed by AWS")]
)
def test_a_prefix_list_must_be_customer_managed(pair: Pair, identifier: str, named: str) -> None:
    target = by_arn("aws:ec2:subnet", subnet_arn(pair.subnets[0]))
    experiment = pair.rig.run(actions={"cut": cut_list(identifier)}, targets={"Subnets": target})
    assert experiment["state"]["error"]["code"] == "ConfigurationFailure"
    assert named in experiment["state"]["reason"]


def autoshift(zone: str, **parameters: str) -> dict[str, Any]:
    return {
        "actionId": "aws:arc:start-zonal-autoshift",
        "parameters": {"duration": "PT1M", "availabilityZoneIdentifier": zone, **parameters},
        "targets": {"ManagedResources": "Balancers"},
    }


def opt_in(pair: Pair) -> dict[str, Any]:
    """The pair's load balancer as a managed resource of ARC."""
    elb = pair.rig.cloud.client("elbv2")
    attributes = [{"Key": "zonal_shift.config.enabled", "Value": "true"}]
    elb.modify_load_balancer_attributes(LoadBalancerArn=pair.balancer, Attributes=attributes)
    return by_arn("aws:arc:zonal-shift-managed-resource", pair.balancer)


def test_a_zone_that_is_shifted_away_from_gets_no_request(pair: Pair) -> None:
    """This also holds while the zone is cut off, when a request to it would hang. Afterwards both tasks answer."""
    zone, subnet = zone_of_hit(pair)
    targets = {"Balancers": opt_in(pair), "Subnets": by_arn("aws:ec2:subnet", subnet_arn(subnet))}
    actions = {"shift": autoshift(zone, managedResourceTypes="ALB,NLB"), "cut": disrupt()}
    with pair.rig.held(actions=actions, targets=targets):
        answers = [get(pair.host, timeout_s=HANGS_S)[1].get("task") for _ in range(12)]
        assert answers == [pair.other] * 12
    # The load balancer's own checks may have given the task up meanwhile.
    wait_until(lambda: len({get(pair.host)[1].get("task") for _ in range(6)}) == 2, "both tasks answer", 25.0)


def test_a_load_balancer_that_did_not_opt_in_is_no_target(rig: FisRig, pair: Pair) -> None:
    """ARC does not manage such a load balancer, so the target does not exist."""
    elb = rig.cloud.client("elbv2")
    made = elb.create_load_balancer(Name=f"{pair.name}-x", Subnets=pair.subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    target = by_arn("aws:arc:zonal-shift-managed-resource", made)
    experiment = rig.run(actions={"shift": autoshift("us-east-1a")}, targets={"Balancers": target})
    assert experiment["state"]["error"]["code"] == "InvalidTarget"


@pytest.mark.parametrize(
    ("zone", "parameters", "named"),
    [
        ("us-east-1f", {}, "'us-east-1f'"),
        ("us-east-1a", {"managedResourceTypes": "ASG"}, "ASG"),
        ("us-east-1a", {"zonalAutoshiftStatus": "DISABLED"}, "DISABLED"),
    ],
)
def test_a_shift_that_would_do_nothing_fails(pair: Pair, zone: str, parameters: dict[str, str], named: str) -> None:
    experiment = pair.rig.run(actions={"shift": autoshift(zone, **parameters)}, targets={"Balancers": opt_in(pair)})
    assert experiment["state"]["error"]["code"] == "ConfigurationFailure"
    assert named in experiment["state"]["reason"]
