"""Test load balancers through the AWS API of a running cloud, with CloudFormation and real listeners."""

import http.client
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.polling import wait_until

STACK = {
    "Resources": {
        "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.9.0.0/16"}},
        **{
            f"Subnet{letter.upper()}": {
                "Type": "AWS::EC2::Subnet",
                "Properties": {
                    "VpcId": {"Ref": "Vpc"},
                    "CidrBlock": f"10.9.{index}.0/24",
                    "AvailabilityZone": f"us-east-1{letter}",
                },
            }
            for index, letter in enumerate("ab")
        },
        "Balancer": {
            "Type": "AWS::ElasticLoadBalancingV2::LoadBalancer",
            "Properties": {"Name": "alb-cloud", "Subnets": [{"Ref": "SubnetA"}, {"Ref": "SubnetB"}]},
        },
        "Group": {
            "Type": "AWS::ElasticLoadBalancingV2::TargetGroup",
            "Properties": {
                "Name": "alb-cloud",
                "Port": 8080,
                "Protocol": "HTTP",
                "VpcId": {"Ref": "Vpc"},
                "TargetType": "ip",
                "HealthCheckIntervalSeconds": 5,
                "HealthCheckTimeoutSeconds": 2,
            },
        },
        "Listener": {
            "Type": "AWS::ElasticLoadBalancingV2::Listener",
            "Properties": {
                "LoadBalancerArn": {"Ref": "Balancer"},
                "Port": 80,
                "Protocol": "HTTP",
                "DefaultActions": [{"Type": "forward", "TargetGroupArn": {"Ref": "Group"}}],
            },
        },
    },
    "Outputs": {
        "Url": {"Value": {"Fn::Sub": "http://${Balancer.DNSName}"}},
        "Group": {"Value": {"Ref": "Group"}},
        "BalancerFullName": {"Value": {"Fn::GetAtt": ["Balancer", "LoadBalancerFullName"]}},
        "GroupFullName": {"Value": {"Fn::GetAtt": ["Group", "TargetGroupFullName"]}},
    },
}


class Answer(BaseHTTPRequestHandler):
    """A target that answers hello."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def target_port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def ask(url: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
    connection.request("GET", "/")
    response = connection.getresponse()
    found = response.status, response.read()
    connection.close()
    return found


@pytest.fixture
def stack(cloud: Any) -> Iterator[dict[str, str]]:
    """Create a load balancer by CloudFormation. Yields the outputs of the stack."""
    stacks = cloud.client("cloudformation")
    bounds = {"Delay": 1, "MaxAttempts": 20}
    stacks.create_stack(StackName="alb-cloud", TemplateBody=json.dumps(STACK))
    stacks.get_waiter("stack_create_complete").wait(StackName="alb-cloud", WaiterConfig=bounds)
    made = stacks.describe_stacks(StackName="alb-cloud")["Stacks"][0]
    outputs = {o["OutputKey"]: o["OutputValue"] for o in made["Outputs"]}
    yield outputs
    stacks.delete_stack(StackName="alb-cloud")
    stacks.get_waiter("stack_delete_complete").wait(StackName="alb-cloud", WaiterConfig=bounds)
    with pytest.raises(ConnectionRefusedError):
        wait_until(lambda: ask(outputs["Url"])[0] == 0, "port closed", timeout_s=3)


def states(elb: Any, group: str) -> list[str]:
    described = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    return [d["TargetHealth"]["State"] for d in described]


def test_a_stack_serves_requests_through_a_real_listener_until_it_is_deleted(
    cloud: Any, stack: dict[str, str], target_port: int
) -> None:
    """From CreateStack to DeleteStack: address, RegisterTargets, health, requests, port closed."""
    elb = cloud.client("elbv2")
    balancer = elb.describe_load_balancers(Names=["alb-cloud"])["LoadBalancers"][0]
    assert stack["Url"] == f"http://{balancer['DNSName']}"
    assert [z["ZoneName"] for z in balancer["AvailabilityZones"]] == ["us-east-1a", "us-east-1b"]
    assert ask(stack["Url"])[0] == 503

    group = stack["Group"]
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": "127.0.0.1", "Port": target_port}])
    with pytest.raises(elb.exceptions.ClientError, match=r"10\.1\.2\.3:80 is no task"):
        elb.register_targets(TargetGroupArn=group, Targets=[{"Id": "10.1.2.3", "Port": 80}])
    wait_until(lambda: states(elb, group) == ["healthy"], "target healthy")
    elb.get_waiter("target_in_service").wait(TargetGroupArn=group)
    for _ in range(5):
        assert ask(stack["Url"]) == (200, b"hello")

    elb.deregister_targets(TargetGroupArn=group, Targets=[{"Id": "127.0.0.1", "Port": target_port}])
    wait_until(lambda: states(elb, group) == [], "target gone")
    assert ask(stack["Url"])[0] == 503


@pytest.mark.slow
def test_metrics_are_read_by_get_metric_data(cloud: Any, stack: dict[str, str], target_port: int) -> None:
    """The dimensions come from the stack's outputs. Waits for one period of ten seconds."""
    elb, cloudwatch = cloud.client("elbv2"), cloud.client("cloudwatch")
    group = stack["Group"]
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": "127.0.0.1", "Port": target_port}])
    wait_until(lambda: states(elb, group) == ["healthy"], "target healthy")
    for _ in range(5):
        assert ask(stack["Url"]) == (200, b"hello")
    dims = [
        {"Name": "LoadBalancer", "Value": stack["BalancerFullName"]},
        {"Name": "TargetGroup", "Value": stack["GroupFullName"]},
    ]

    def metric(name: str, stat: str, dimensions: list[dict[str, str]]) -> float:
        now = datetime.now(UTC)
        asked = {"Namespace": "AWS/ApplicationELB", "MetricName": name, "Dimensions": dimensions}
        result = cloudwatch.get_metric_data(
            StartTime=now - timedelta(minutes=2),
            EndTime=now + timedelta(minutes=1),
            MetricDataQueries=[{"Id": "m", "MetricStat": {"Metric": asked, "Period": 10, "Stat": stat}}],
        )
        return sum(result["MetricDataResults"][0]["Values"])

    wait_until(lambda: metric("RequestCount", "Sum", dims[:1]) == 5, "RequestCount by load balancer")
    assert metric("HTTPCode_Target_2XX_Count", "Sum", dims) == 5
    assert 0 < metric("TargetResponseTime", "p95", dims) < 5
    assert metric("HealthyHostCount", "Maximum", dims) == 1
