"""Task faults with real effect: one task of a service is hit, its neighbour is not, and then both are well again."""

from __future__ import annotations

import http.client
import json
import os
import signal
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from kit.local.fis.journal import FILE_NAME
from tests.local.ecs_fixtures import processes, state
from tests.local.fis_rig import FisRig, stop_on, until

IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/paperbroker-base:latest"
# Answers who it is; `/dynamodb` and `/sqs` call AWS first, under the task's own key; `/burn` computes for 20 ms.
APP = """
import http.client, http.server, json, os, subprocess, time
child = subprocess.Popen(["sleep", "600"])
task = os.environ["ECS_CONTAINER_METADATA_URI_V4"].rpartition("/")[2]
TARGETS = {"dynamodb": "DynamoDB_20120810.ListTables", "sqs": "AmazonSQS.ListQueues"}
def call(service):
    aws = http.client.HTTPConnection(os.environ["AWS_ENDPOINT_URL"].rpartition("/")[2], timeout=30)
    key = os.environ["AWS_ACCESS_KEY_ID"]
    scope = f"Credential={key}/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    aws.request("POST", "/", "{}", {"Authorization": f"AWS4-HMAC-SHA256 {scope}", "X-Amz-Target": TARGETS[service],
                                    "Content-Type": "application/x-amz-json-1.0"})
    answer = aws.getresponse()
    answer.read()
    aws.close()
    return answer.status
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.strip("/")
        status = call(name) if name in TARGETS else 200
        if name == "burn":
            end = time.thread_time() + 0.02
            while time.thread_time() < end:
                pass
        body = json.dumps({"task": task, "port": os.environ["PORT"], "child": child.poll()}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
UP_S_MAX = 25.0
# Far above what a busy machine adds, so that "late" and "in time" cannot be mistaken.
DELAY_MS = 600
LATE_S, IN_TIME_S = 0.6, 0.4


class Pair:
    """Two tasks behind a load balancer: the one that is hit, and the other."""

    def __init__(self, rig: FisRig, failed_checks_max: int = 10) -> None:
        self.rig = rig
        self.name, self.subnets = rig.subnets("ab")
        self.ecs, elb = rig.cloud.client("ecs"), rig.cloud.client("elbv2")
        vpc = rig.ec2.describe_subnets(SubnetIds=self.subnets)["Subnets"][0]["VpcId"]
        # Checked often, so that it is soon up, but given up late: no test wants the hit task replaced.
        group = elb.create_target_group(
            Name=self.name, Protocol="HTTP", Port=8080, VpcId=vpc, TargetType="ip", HealthCheckPath="/",
            HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=4, UnhealthyThresholdCount=failed_checks_max,
        )["TargetGroups"][0]["TargetGroupArn"]  # fmt: skip
        balancer = elb.create_load_balancer(Name=self.name, Subnets=self.subnets)["LoadBalancers"][0]
        forward = [{"Type": "forward", "TargetGroupArn": group}]
        elb.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"], Protocol="HTTP", Port=80, DefaultActions=forward
        )
        elb.modify_target_group_attributes(
            TargetGroupArn=group, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "0"}]
        )
        self.host = balancer["DNSName"]
        self.ecs.create_cluster(clusterName=self.name)
        container = {
            "name": "app", "image": IMAGE, "command": ["python", "-c", APP], "stopTimeout": 2,
            "portMappings": [{"containerPort": 8080}],
        }  # fmt: skip
        definition = self.ecs.register_task_definition(
            family=self.name, networkMode="awsvpc", cpu="256", memory="512", containerDefinitions=[container]
        )["taskDefinition"]["taskDefinitionArn"]
        self.ecs.create_service(
            cluster=self.name, serviceName="app", taskDefinition=definition, desiredCount=2, launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": {"subnets": self.subnets}},
            loadBalancers=[{"targetGroupArn": group, "containerName": "app", "containerPort": 8080}],
        )  # fmt: skip
        health = until(lambda: self._healthy(elb, group), "two healthy targets", UP_S_MAX)
        assert len(health) == 2
        found = until(self._found, "both tasks answer", UP_S_MAX)
        (self.hit, self.hit_port), (self.other, self.other_port) = sorted(found.items())

    def _healthy(self, elb: Any, group: str) -> list[Any]:
        targets = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return targets if [t["TargetHealth"]["State"] for t in targets] == ["healthy"] * 2 else []

    def _found(self) -> dict[str, int] | None:
        answers = [get(self.host)[1] for _ in range(4)]
        found = {answer["task"]: int(answer["port"]) for answer in answers if "task" in answer}
        return found if len(found) == 2 else None

    def close(self) -> None:
        self.ecs.delete_service(cluster=self.name, service="app", force=True)

    def template(self, kind: str, **parameters: str) -> dict[str, Any]:
        """One action of this kind on the one task."""
        arn = f"arn:aws:ecs:us-east-1:000000000000:task/{self.name}/{self.hit}"
        target = {"resourceType": "aws:ecs:task", "resourceArns": [arn], "selectionMode": "ALL"}
        action = {"actionId": f"aws:ecs:task-{kind}", "parameters": parameters, "targets": {"Tasks": "Tasks"}}
        return {"actions": {"hit": action}, "targets": {"Tasks": target}}

    @contextmanager
    def fault(self, kind: str, **parameters: str) -> Iterator[None]:
        """Hold the fault; stopping the experiment is what ends it."""
        experiment_id = self.rig.running(**self.template(kind, duration="PT1M", **parameters))
        try:
            yield
        finally:
            self.rig.fis.stop_experiment(id=experiment_id)
            ended = self.rig.end(experiment_id)
        assert ended["state"]["status"] == "stopped", ended
        assert self.open_entries() == []

    def open_entries(self) -> list[str]:
        """What the undo journal still holds: lines remembered and not forgotten."""
        lines = [json.loads(line) for line in (self.rig.cloud.state_dir / FILE_NAME).read_text().splitlines()]
        forgotten = {line["forget"] for line in lines if "forget" in line}
        return [line["kind"] for line in lines if "remember" in line and line["remember"] not in forgotten]

    def through_balancer(self, count: int, timeout_s: float = 5.0) -> dict[str, list[float]]:
        """`count` requests at once; the times of those that were answered, by task."""
        times: dict[str, list[float]] = {self.hit: [], self.other: []}
        with ThreadPoolExecutor(count) as pool:
            for took_s, answer in pool.map(lambda _: get(self.host, timeout_s=timeout_s), range(count)):
                if "task" in answer:
                    times[answer["task"]].append(took_s)
        return times

    def ask_hit(self, path: str = "", timeout_s: float = 5.0) -> tuple[float, dict[str, Any]]:
        """Ask the task that is hit, past the load balancer."""
        return get(f"127.0.0.1:{self.hit_port}", path, timeout_s)

    def ask_other(self, path: str = "", timeout_s: float = 5.0) -> tuple[float, dict[str, Any]]:
        return get(f"127.0.0.1:{self.other_port}", path, timeout_s)


def get(host: str, path: str = "", timeout_s: float = 5.0) -> tuple[float, dict[str, Any]]:
    """How long it took, and the answer; an empty one when the time was up or the status was not 200."""
    began_at = time.perf_counter()
    connection = http.client.HTTPConnection(host, timeout=timeout_s)
    try:
        connection.request("GET", f"/{path}")
        response = connection.getresponse()
        body = response.read()
        return time.perf_counter() - began_at, json.loads(body) if response.status == 200 else {}
    except TimeoutError:
        return time.perf_counter() - began_at, {}
    finally:
        connection.close()


@pytest.fixture(scope="module")
def rig(cloud: Any) -> FisRig:
    return FisRig(cloud)


@pytest.fixture(scope="module")
def pair(rig: FisRig) -> Iterator[Pair]:
    pair = Pair(rig)
    yield pair
    pair.close()


def test_latency_delays_what_the_task_sends(pair: Pair) -> None:
    """Through the load balancer the task's answers come late, the neighbour's do not."""
    with pair.fault("network-latency", delayMilliseconds=str(DELAY_MS), jitterMilliseconds="0"):
        times = pair.through_balancer(6)
        assert min(times[pair.hit]) >= LATE_S
        assert statistics.median(times[pair.other]) < IN_TIME_S
    assert statistics.median(pair.through_balancer(6)[pair.hit]) < IN_TIME_S


def test_latency_with_a_source_delays_only_what_goes_there(pair: Pair) -> None:
    """DYNAMODB is slow for the task; SQS and its own clients are not, nor DynamoDB for the neighbour."""
    slow = {"delayMilliseconds": str(DELAY_MS), "jitterMilliseconds": "0", "sources": "DYNAMODB"}
    with pair.fault("network-latency", **slow):
        took_s, answer = pair.ask_hit("dynamodb")
        assert answer and took_s >= LATE_S
        assert pair.ask_hit("sqs")[0] < IN_TIME_S
        assert pair.ask_other("dynamodb")[0] < IN_TIME_S
        assert statistics.median(pair.through_balancer(6)[pair.hit]) < IN_TIME_S
    assert pair.ask_hit("dynamodb")[0] < IN_TIME_S


def test_packet_loss_costs_the_task_retransmissions(pair: Pair) -> None:
    """Answers are sent again after 200 ms or more, some too late for their client; the neighbour's are in time."""
    with pair.fault("network-packet-loss", lossPercent="80"):
        times = pair.through_balancer(24, timeout_s=1.5)
        in_time = sum(took_s < 0.2 for took_s in times[pair.hit])
        assert len(times[pair.other]) - in_time >= 3
        assert statistics.median(times[pair.other]) < IN_TIME_S
    assert statistics.median(pair.through_balancer(6)[pair.hit]) < IN_TIME_S


def test_a_blackholed_ingress_port_hangs_until_it_is_undone(pair: Pair) -> None:
    """Requests to the task hang, those to the neighbour are answered; the task itself reaches AWS all the time."""
    with pair.fault("network-blackhole-port", port="8080", trafficType="ingress"):
        times = pair.through_balancer(6, timeout_s=0.8)
        assert times[pair.hit] == []
        assert len(times[pair.other]) >= 2
        assert pair.ask_hit("sqs")[1]["task"] == pair.hit
    assert pair.through_balancer(6)[pair.hit]


def test_a_blackholed_egress_port_cuts_the_task_from_aws(pair: Pair) -> None:
    """A call hangs and then gets through; clients still reach the task, and the neighbour still reaches AWS."""
    with ThreadPoolExecutor(1) as pool:
        with pair.fault("network-blackhole-port", port="443", trafficType="egress", protocol="tcp"):
            hanging = pool.submit(pair.ask_hit, "sqs")
            assert pair.ask_other("sqs")[1]["task"] == pair.other
            assert pair.through_balancer(4)[pair.hit]
            time.sleep(0.3)
            assert not hanging.done()
        assert hanging.result()[1]["task"] == pair.hit


def test_stress_that_an_alarm_stops_leaves_no_process_stopped(pair: Pair) -> None:
    """It freezes all processes of the task; the stop condition ends it as the user would, and all go on."""
    alarm, stress = pair.rig.alarm(), pair.template("cpu-stress", duration="PT20S", workers="8")
    pids = processes(pair.hit)
    assert pids
    experiment_id = pair.rig.running(**stress, stopConditions=stop_on(alarm))
    until(lambda: {state(pid) for pid in pids} == {"T"}, "the whole task is frozen")
    pair.rig.set_alarm(alarm, "ALARM")
    ended = pair.rig.end(experiment_id)
    assert (ended["state"]["status"], pair.open_entries()) == ("stopped", [])
    assert "T" not in [state(pid) for pid in pids for _ in range(20) if not time.sleep(0.01)]


def test_a_process_is_killed_by_name_in_the_task_only(pair: Pair) -> None:
    """The child named `sleep` gets the signal; its parent goes on, and so does the neighbour's child."""
    experiment = pair.rig.run(**pair.template("kill-process", processName="sleep", signal="SIGUSR1"))
    assert experiment["state"]["status"] == "completed", experiment["state"]
    until(lambda: pair.ask_hit()[1]["child"] == -signal.SIGUSR1, "the child is gone")
    assert pair.ask_other()[1]["child"] is None


def test_a_stressed_task_starves_and_its_neighbour_does_not(pair: Pair) -> None:
    """20 ms of work take several periods; the machine is not burnt for it, and the task recovers at once."""
    spent_before = os.times()
    with pair.fault("cpu-stress"):
        hit = statistics.median(pair.ask_hit("burn")[0] for _ in range(5))
        other = statistics.median(pair.ask_other("burn")[0] for _ in range(5))
        assert hit > 2 * other
        assert hit > 0.1
    assert os.times().user - spent_before.user < 2
    assert statistics.median(pair.ask_hit("burn")[0] for _ in range(5)) < hit


def test_a_stressed_task_can_still_be_stopped(pair: Pair) -> None:
    """StopTask ends it in its usual time, and the experiment goes on to complete."""
    network = {"awsvpcConfiguration": {"subnets": pair.subnets}}
    task = pair.ecs.run_task(cluster=pair.name, taskDefinition=pair.name, networkConfiguration=network)["tasks"][0]
    arn = task["taskArn"]

    def status() -> str:
        return pair.ecs.describe_tasks(cluster=pair.name, tasks=[arn])["tasks"][0]["lastStatus"]

    until(lambda: status() == "RUNNING", "running", UP_S_MAX)
    template = pair.template("cpu-stress", duration="PT1S")
    template["targets"]["Tasks"]["resourceArns"] = [arn]
    experiment_id = pair.rig.running(**template)
    pair.ecs.stop_task(cluster=pair.name, task=arn)
    until(lambda: status() == "STOPPED", "stopped", UP_S_MAX)
    assert processes(arn) == []
    assert pair.rig.end(experiment_id)["state"]["status"] == "completed"


@pytest.mark.slow
def test_a_task_that_is_blackholed_for_long_is_replaced(rig: FisRig) -> None:
    """The load balancer finds it ill, and ECS says so when it stops it: the fault's proof stands on these words."""
    pair = Pair(rig, failed_checks_max=2)
    try:
        with pair.fault("network-blackhole-port", port="8080", trafficType="ingress"):
            until(lambda: "failed ELB health checks" in stopped_reason(pair), "replaced", 3 * UP_S_MAX)
    finally:
        pair.close()


def stopped_reason(pair: Pair) -> str:
    """Why ECS stopped the task that is hit; empty while it runs."""
    return pair.ecs.describe_tasks(cluster=pair.name, tasks=[pair.hit])["tasks"][0].get("stoppedReason", "")


@pytest.mark.parametrize(
    ("kind", "parameters", "named"),
    [
        ("network-latency", {"duration": "PT1M", "sources": "ALL,example.com"}, "'example.com'"),
        ("network-packet-loss", {"duration": "PT1M", "sources": "203.0.113.7"}, "'203.0.113.7'"),
        ("network-blackhole-port", {"duration": "PT1M", "port": "9999", "trafficType": "ingress"}, "8080"),
        ("network-blackhole-port", {"duration": "PT1M", "port": "8080", "trafficType": "egress"}, "443"),
        (
            "network-blackhole-port",
            {"duration": "PT1M", "port": "443", "trafficType": "egress", "protocol": "udp"},
            "'udp'",
        ),
        ("kill-process", {"processName": "no-such-program"}, "'no-such-program'"),
        ("kill-process", {"processName": "python", "signal": "SIGNOPE"}, "'SIGNOPE'"),
    ],
)
def test_what_would_do_nothing_fails_and_says_why(
    pair: Pair, kind: str, parameters: dict[str, str], named: str
) -> None:
    """ConfigurationFailure that names the value; nothing is left in force."""
    experiment = pair.rig.run(**pair.template(kind, **parameters))
    assert experiment["state"]["status"] == "failed"
    assert experiment["state"]["error"]["code"] == "ConfigurationFailure"
    assert named in experiment["state"]["reason"]
    assert pair.open_entries() == []
