"""Test the elbv2 API: what it creates, describes in pages and tags, and what it refuses, in AWS's error codes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from ministack.services import alb as elbv2
from ministack.services import ec2

from kit.local.alb.operations import Operations
from kit.local.requests.contract import contracts
from tests.local import alb_rig
from tests.local.alb_rig import VPC, Refused, Rig, ask

Check = Callable[[Rig], Awaitable[None]]
FIXED = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}
PATH = {"Field": "path-pattern", "Values": ["/a"]}


async def refused(action: str, **members: Any) -> str:
    """Return the code with which a request is refused."""
    with pytest.raises(Refused) as error:
        await ask(action, **members)
    return error.value.code


def scenario(check: Check) -> Callable[[], None]:
    """Run a check in a rig; the name and the docstring stay."""

    def test() -> None:
        alb_rig.run(check)  # pyright: ignore[reportArgumentType]

    test.__name__, test.__doc__ = check.__name__, check.__doc__
    return test


def balancer(**members: Any) -> dict[str, Any]:
    return {"Name": "second", "Subnets": ["pub-a", "pub-b"], **members}


def group(**members: Any) -> dict[str, Any]:
    return {"Name": "g", "Protocol": "HTTP", "Port": 80, "VpcId": VPC, "TargetType": "ip", **members}


def test_every_operation_that_is_honoured_is_answered_by_the_room() -> None:
    """MiniStack's own answers check too little."""
    (contract,) = (each for each in contracts() if each.service == "elbv2")
    no_targets: Any = None
    assert set(contract.operations) == set(Operations(no_targets).handlers)


@scenario
async def test_the_same_load_balancer_again_is_the_same_one(rig: Rig) -> None:
    first = (await ask("CreateLoadBalancer", **balancer()))["LoadBalancers"][0]
    again = (await ask("CreateLoadBalancer", **balancer()))["LoadBalancers"][0]
    assert again == first
    assert await refused("CreateLoadBalancer", **balancer(Scheme="internal")) == "DuplicateLoadBalancerName"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Subnets": ["pub-a"]}, "ValidationError"),
        ({"Subnets": ["pub-a", "pub-a"]}, "ValidationError"),
        ({"Subnets": ["pub-a", "pub-x"]}, "SubnetNotFound"),
        ({"Subnets": ["pub-a", "pub-a2"]}, "InvalidConfigurationRequest"),
        ({"SecurityGroups": ["sg-x"]}, "InvalidSecurityGroup"),
        ({"Name": "x" * 33}, "ValidationError"),
        ({"Name": "-a"}, "ValidationError"),
        ({"Name": "internal-a"}, "ValidationError"),
        ({"Name": "a_b"}, "ValidationError"),
        ({"Type": "network"}, "UnsupportedOperation"),
        ({"Tags": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]}, "DuplicateTagKeys"),
    ],
)
def test_a_load_balancer_that_aws_refuses_is_refused(change: dict[str, Any], code: str) -> None:
    async def check(rig: Rig) -> None:
        ec2._subnets["pub-a2"] = {"SubnetId": "pub-a2", "VpcId": VPC, "AvailabilityZone": "us-east-1a"}
        assert await refused("CreateLoadBalancer", **balancer(**change)) == code
        assert len((await ask("DescribeLoadBalancers"))["LoadBalancers"]) == 1

    alb_rig.run(check)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Name": "a" * 33}, "ValidationError"),
        ({"Name": "a-"}, "ValidationError"),
        ({"Port": None}, "ValidationError"),
        ({"Protocol": None}, "ValidationError"),
        ({"VpcId": None}, "ValidationError"),
        ({"VpcId": "vpc-x"}, "ValidationError"),
        ({"Protocol": "TCP"}, "UnsupportedOperation"),
        ({"ProtocolVersion": "GRPC"}, "UnsupportedOperation"),
        ({"TargetType": "lambda"}, "UnsupportedOperation"),
        ({"HealthCheckProtocol": "TCP"}, "ValidationError"),
        ({"HealthCheckIntervalSeconds": 5, "HealthCheckTimeoutSeconds": 5}, "ValidationError"),
        ({"HealthCheckEnabled": False}, "ValidationError"),
        ({"HealthCheckPath": "healthz"}, "ValidationError"),
        ({"HealthCheckPort": "99999"}, "ValidationError"),
        ({"Matcher": {"HttpCode": "999"}}, "ValidationError"),
        ({"Matcher": {"HttpCode": "200-"}}, "ValidationError"),
    ],
)
def test_a_target_group_that_aws_refuses_is_refused(change: dict[str, Any], code: str) -> None:
    async def check(rig: Rig) -> None:
        members = {name: value for name, value in group(**change).items() if value is not None}
        assert await refused("CreateTargetGroup", **members) == code

    alb_rig.run(check)


@scenario
async def test_a_health_check_cannot_be_modified_into_one_that_aws_refuses(rig: Rig) -> None:
    arn = (await ask("CreateTargetGroup", **group()))["TargetGroups"][0]["TargetGroupArn"]
    change = {"TargetGroupArn": arn, "HealthCheckIntervalSeconds": 5}
    assert await refused("ModifyTargetGroup", **change) == "ValidationError"
    await ask("ModifyTargetGroup", **change, HealthCheckTimeoutSeconds=2)
    found = (await ask("DescribeTargetGroups", TargetGroupArns=[arn]))["TargetGroups"][0]
    assert (found["HealthCheckIntervalSeconds"], found["HealthCheckTimeoutSeconds"]) == (5, 2)
    assert (found["ProtocolVersion"], found["Matcher"]) == ("HTTP1", {"HttpCode": "200"})


@scenario
async def test_a_target_group_in_use_is_kept_and_shows_its_load_balancer(rig: Rig) -> None:
    assert await refused("DeleteTargetGroup", TargetGroupArn=rig.group_arn) == "ResourceInUse"
    # The rig's fractions of a second are nothing that a client can read.
    rig.set_group(HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=2)
    found = (await ask("DescribeTargetGroups", LoadBalancerArn=rig.arn))["TargetGroups"]
    assert [each["LoadBalancerArns"] for each in found] == [[rig.arn]]
    other = (await ask("CreateLoadBalancer", **balancer()))["LoadBalancers"][0]["LoadBalancerArn"]
    action = {"Type": "forward", "TargetGroupArn": rig.group_arn}
    listener = {"LoadBalancerArn": other, "Port": 80, "Protocol": "HTTP", "DefaultActions": [action]}
    assert await refused("CreateListener", **listener) == "TargetGroupAssociationLimit"
    await ask("DeleteLoadBalancer", LoadBalancerArn=rig.arn)
    await ask("DeleteTargetGroup", TargetGroupArn=rig.group_arn)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Port": None}, "ValidationError"),
        ({"Protocol": None}, "ValidationError"),
        ({"Port": 80}, "DuplicateListener"),
        ({"Protocol": "HTTPS"}, "UnsupportedProtocol"),
        ({"LoadBalancerArn": "arn:x"}, "LoadBalancerNotFound"),
        ({"DefaultActions": []}, "ValidationError"),
        ({"DefaultActions": [{"Type": "forward"}]}, "ValidationError"),
        ({"DefaultActions": [{"Type": "forward", "TargetGroupArn": "arn:x"}]}, "TargetGroupNotFound"),
        ({"DefaultActions": [{"Type": "redirect"}]}, "ValidationError"),
        ({"DefaultActions": [{"Type": "redirect", "RedirectConfig": {"StatusCode": "HTTP_301"}}]},
         "InvalidLoadBalancerAction"),
        ({"DefaultActions": [{"Type": "fixed-response", "FixedResponseConfig": {
            "StatusCode": "200", "ContentType": "text/x"}}]}, "InvalidLoadBalancerAction"),
        ({"DefaultActions": [{"Type": "authenticate-cognito"}]}, "UnsupportedOperation"),
        ({"DefaultActions": [FIXED, FIXED]}, "InvalidLoadBalancerAction"),
    ],
)  # fmt: skip
def test_a_listener_that_aws_refuses_is_refused(change: dict[str, Any], code: str) -> None:
    async def check(rig: Rig) -> None:
        members = {"LoadBalancerArn": rig.arn, "Port": 81, "Protocol": "HTTP", "DefaultActions": [FIXED], **change}
        members = {name: value for name, value in members.items() if value is not None}
        assert await refused("CreateListener", **members) == code
        assert len((await ask("DescribeListeners", LoadBalancerArn=rig.arn))["Listeners"]) == 1

    alb_rig.run(check)


@scenario
async def test_a_listener_cannot_be_modified_into_one_that_cannot_be_served(rig: Rig) -> None:
    listener = (await ask("DescribeListeners", LoadBalancerArn=rig.arn))["Listeners"][0]
    arn = listener["ListenerArn"]
    assert await refused("ModifyListener", ListenerArn=arn, Protocol="HTTPS") == "UnsupportedProtocol"
    second = {"LoadBalancerArn": rig.arn, "Port": 81, "Protocol": "HTTP", "DefaultActions": [FIXED]}
    await ask("CreateListener", **second)
    assert await refused("ModifyListener", ListenerArn=arn, Port=81) == "DuplicateListener"
    assert (await ask("DescribeListeners", ListenerArns=[arn]))["Listeners"][0] == listener


@scenario
async def test_a_forward_action_is_described_with_its_configuration(rig: Rig) -> None:
    listener = (await ask("DescribeListeners", LoadBalancerArn=rig.arn))["Listeners"][0]
    assert listener["DefaultActions"] == [
        {
            "Type": "forward",
            "TargetGroupArn": rig.group_arn,
            "ForwardConfig": {
                "TargetGroups": [{"TargetGroupArn": rig.group_arn, "Weight": 1}],
                "TargetGroupStickinessConfig": {"Enabled": False},
            },
        }
    ]
    sticky = {"TargetGroups": [{"TargetGroupArn": rig.group_arn}], "TargetGroupStickinessConfig": {"Enabled": True}}
    action = {"Type": "forward", "ForwardConfig": sticky}
    arn = listener["ListenerArn"]
    assert await refused("ModifyListener", ListenerArn=arn, DefaultActions=[action]) == "UnsupportedOperation"


CONDITIONS_REFUSED: list[dict[str, Any]] = [
    {"Field": "xxxxxxx", "Values": ["/a"]},
    {"Field": "host-header", "Values": []},
    {"Field": "host-header", "Values": ["a", "b"]},
    {"Field": "host-header", "Values": ["x" * 129]},
    {"Field": "host-header", "HostHeaderConfig": {"Values": ["x" * 129]}},
    {"Field": "path-pattern", "Values": []},
    {"Field": "path-pattern", "Values": ["/a", "/b"]},
    {"Field": "path-pattern", "Values": ["/" + "x" * 128]},
    {"Field": "path-pattern", "Values": ["/a"], "PathPatternConfig": {"Values": ["/a"]}},
    {"Field": "http-header", "Values": ["a"]},
    {"Field": "http-header"},
    {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "x" * 41, "Values": ["a"]}},
    {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "x", "Values": ["a" * 129]}},
    {"Field": "http-request-method", "Values": ["GET"]},
    {"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": ["get"]}},
    {"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": ["X" * 41]}},
    {"Field": "source-ip", "SourceIpConfig": {"Values": []}},
    {"Field": "source-ip", "SourceIpConfig": {"Values": ["10.0.0.1"]}},
    {"Field": "source-ip", "SourceIpConfig": {"Values": ["10.0.0.1/8"]}},
    {"Field": "query-string", "Values": ["a=b"]},
    {"Field": "query-string", "QueryStringConfig": {"Values": [{"Key": "a"}]}},
    {"Field": "query-string", "QueryStringConfig": {"Values": [{"Key": "x" * 129, "Value": "a"}]}},
    {"Field": "path-pattern", "HostHeaderConfig": {"Values": ["a"]}, "Values": ["/a"]},
    {"Field": "path-pattern", "PathPatternConfig": {"Values": ["*" * 7]}},
    {"Field": "path-pattern", "PathPatternConfig": {"Values": list("abcdef")}},
]


@scenario
async def test_a_condition_that_aws_refuses_is_refused(rig: Rig) -> None:
    listener = (await ask("DescribeListeners", LoadBalancerArn=rig.arn))["Listeners"][0]["ListenerArn"]
    rule = {"ListenerArn": listener, "Priority": 1, "Actions": [FIXED]}
    for condition in CONDITIONS_REFUSED:
        assert await refused("CreateRule", **rule, Conditions=[condition]) == "ValidationError", condition
    assert await refused("CreateRule", **rule, Conditions=[]) == "ValidationError"
    assert await refused("CreateRule", **rule, Conditions=[PATH, PATH]) == "ValidationError"
    regex = {"Field": "path-pattern", "PathPatternConfig": {"RegexValues": ["a.*"]}}
    assert await refused("CreateRule", **rule, Conditions=[regex]) == "UnsupportedOperation"
    assert len((await ask("DescribeRules", ListenerArn=listener))["Rules"]) == 1


@scenario
async def test_priorities_are_unique_and_change_together_or_not_at_all(rig: Rig) -> None:
    listener = (await ask("DescribeListeners", LoadBalancerArn=rig.arn))["Listeners"][0]["ListenerArn"]
    rule = {"ListenerArn": listener, "Conditions": [PATH], "Actions": [FIXED]}
    arns = [(await ask("CreateRule", **rule, Priority=p))["Rules"][0]["RuleArn"] for p in (1, 2, 3)]
    assert await refused("CreateRule", **rule, Priority=2) == "PriorityInUse"
    clash = [{"RuleArn": arns[0], "Priority": 9}, {"RuleArn": arns[1], "Priority": 3}]
    assert await refused("SetRulePriorities", RulePriorities=clash) == "PriorityInUse"
    swap = [{"RuleArn": arns[0], "Priority": 2}, {"RuleArn": arns[1], "Priority": 1}]
    await ask("SetRulePriorities", RulePriorities=swap)
    found = (await ask("DescribeRules", ListenerArn=listener))["Rules"]
    assert [each["RuleArn"] for each in found[:3]] == [arns[1], arns[0], arns[2]]
    assert [each["Priority"] for each in found] == ["1", "2", "3", "default"]
    default = found[-1]["RuleArn"]
    assert await refused("DeleteRule", RuleArn=default) == "OperationNotPermitted"
    assert await refused("ModifyRule", RuleArn=default, Actions=[FIXED]) == "OperationNotPermitted"
    assert await refused("DescribeRules") == "ValidationError"
    assert await refused("DeleteRule", RuleArn="arn:x") == "RuleNotFound"


@scenario
async def test_a_condition_is_described_with_its_configuration(rig: Rig) -> None:
    listener = (await ask("DescribeListeners", LoadBalancerArn=rig.arn))["Listeners"][0]["ListenerArn"]
    query = {"Field": "query-string", "QueryStringConfig": {"Values": [{"Key": "v", "Value": "1*"}]}}
    rule = await ask("CreateRule", ListenerArn=listener, Priority=1, Conditions=[PATH, query], Actions=[FIXED])
    assert rule["Rules"][0]["Conditions"] == [{**PATH, "PathPatternConfig": {"Values": ["/a"]}}, query]
    assert rule["Rules"][0]["Actions"] == [FIXED]


@scenario
async def test_lists_come_in_pages(rig: Rig) -> None:
    for number in range(4):
        await ask("CreateLoadBalancer", **balancer(Name=f"page-{number}"))
    first = await ask("DescribeLoadBalancers", PageSize=3)
    rest = await ask("DescribeLoadBalancers", PageSize=3, Marker=first["NextMarker"])
    names = [each["LoadBalancerName"] for each in first["LoadBalancers"] + rest["LoadBalancers"]]
    assert names == ["web", "page-0", "page-1", "page-2", "page-3"]
    assert "NextMarker" not in rest
    assert await refused("DescribeLoadBalancers", Marker="nonsense") == "ValidationError"
    assert await refused("DescribeLoadBalancers", Names=["nope"]) == "LoadBalancerNotFound"
    assert await refused("DescribeTargetGroups", Names=["nope"]) == "TargetGroupNotFound"


@scenario
async def test_tags_are_set_removed_and_limited(rig: Rig) -> None:
    await ask("AddTags", ResourceArns=[rig.arn, rig.group_arn], Tags=[{"Key": "a", "Value": "1"}, {"Key": "b"}])
    await ask("RemoveTags", ResourceArns=[rig.arn], TagKeys=["b"])
    found = (await ask("DescribeTags", ResourceArns=[rig.arn, rig.group_arn]))["TagDescriptions"]
    one, two = {"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}
    assert [each["Tags"] for each in found] == [[one], [one, two]]
    many = [{"Key": str(number), "Value": ""} for number in range(50)]
    assert await refused("AddTags", ResourceArns=[rig.arn], Tags=many) == "TooManyTags"
    assert await refused("DescribeTags", ResourceArns=["arn:x:loadbalancer/app/x"]) == "LoadBalancerNotFound"


@scenario
async def test_attributes_have_defaults_and_values_without_effect_are_refused(rig: Rig) -> None:
    found = (await ask("DescribeTargetGroupAttributes", TargetGroupArn=rig.group_arn))["Attributes"]
    assert {"Key": "load_balancing.algorithm.type", "Value": "round_robin"} in found
    cases = [
        ("stickiness.enabled", "true", "UnsupportedOperation"),
        ("slow_start.duration_seconds", "30", "UnsupportedOperation"),
        ("stickiness.type", "source_ip", "ValidationError"),
        ("deregistration_delay.timeout_seconds", "3601", "ValidationError"),
        ("nonsense", "1", "ValidationError"),
    ]
    for key, value, code in cases:
        change = {"TargetGroupArn": rig.group_arn, "Attributes": [{"Key": key, "Value": value}]}
        assert await refused("ModifyTargetGroupAttributes", **change) == code, key
    protected = [{"Key": "deletion_protection.enabled", "Value": "true"}]
    await ask("ModifyLoadBalancerAttributes", LoadBalancerArn=rig.arn, Attributes=protected)
    assert await refused("DeleteLoadBalancer", LoadBalancerArn=rig.arn) == "OperationNotPermitted"
    logs = [{"Key": "access_logs.s3.enabled", "Value": "true"}]
    change = {"LoadBalancerArn": rig.arn, "Attributes": logs}
    assert await refused("ModifyLoadBalancerAttributes", **change) == "UnsupportedOperation"


@scenario
async def test_subnets_can_be_changed_within_the_vpc(rig: Rig) -> None:
    assert await refused("SetSubnets", LoadBalancerArn=rig.arn, Subnets=["pub-a"]) == "ValidationError"
    changed = await ask("SetSubnets", LoadBalancerArn=rig.arn, Subnets=["pub-b", "pub-a"])
    assert [each["SubnetId"] for each in changed["AvailabilityZones"]] == ["pub-b", "pub-a"]


@scenario
async def test_the_port_of_a_listener_that_nobody_used_is_freed(rig: Rig) -> None:
    second = {"LoadBalancerArn": rig.arn, "Port": 81, "Protocol": "HTTP", "DefaultActions": [FIXED]}
    arn = (await ask("CreateListener", **second))["Listeners"][0]["ListenerArn"]
    await ask("DeleteListener", ListenerArn=arn)
    await asyncio.sleep(0.05)
    assert arn not in rig.service._control._sockets
    assert arn not in rig.service._balancers[rig.arn]._sockets
    assert arn not in elbv2._listener_attrs
