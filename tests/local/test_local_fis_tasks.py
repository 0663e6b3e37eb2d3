"""Task faults with real effect: one task of a service is hit, its neighbour is not, and then both recover."""

from __future__ import annotations

import os
import signal
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.local.ecs_fixtures import processes, state
from tests.local.fis_pair import DELAY_MS, IN_TIME_S, LATE_S, UP_S_MAX, Pair, stopped_reason
from tests.local.fis_rig import FisRig, stop_on
from tests.polling import wait_until


def test_latency_delays_what_the_task_sends(pair: Pair) -> None:
    """Answers of the task through the load balancer are late, answers of the other task are not."""
    with pair.fault("network-latency", delayMilliseconds=str(DELAY_MS), jitterMilliseconds="0"):
        times = pair.through_balancer(6)
        assert min(times[pair.hit]) >= LATE_S
        assert statistics.median(times[pair.other]) < IN_TIME_S
    assert statistics.median(pair.through_balancer(6)[pair.hit]) < IN_TIME_S


def test_latency_with_a_source_delays_only_what_goes_there(pair: Pair) -> None:
    """With source DYNAMODB only the task's calls to DynamoDB are late.

    Its calls to SQS, its clients' requests and the other task's calls are not.
    """
    slow = {"delayMilliseconds": str(DELAY_MS), "jitterMilliseconds": "0", "sources": "DYNAMODB"}
    with pair.fault("network-latency", **slow):
        took_s, answer = pair.ask_hit("dynamodb")
        assert answer and took_s >= LATE_S
        assert pair.ask_hit("sqs")[0] < IN_TIME_S
        assert pair.ask_other("dynamodb")[0] < IN_TIME_S
        assert statistics.median(pair.through_balancer(6)[pair.hit]) < IN_TIME_S
    assert pair.ask_hit("dynamodb")[0] < IN_TIME_S


def test_the_host_name_of_a_service_is_that_service(pair: Pair) -> None:
    """The task's calls to sqs.us-east-1.amazonaws.com are lost.

    Its calls to DynamoDB, or to SQS of another Region, are not.
    """
    lost = {"lossPercent": "100", "sources": "sqs.us-east-1.amazonaws.com"}
    with ThreadPoolExecutor(1) as pool:
        with pair.fault("network-packet-loss", **lost):
            hanging = pool.submit(pair.ask_hit, "sqs", 10.0)
            assert pair.ask_hit("sqs@eu-west-1")[1]
            assert pair.ask_hit("dynamodb")[1]
            assert pair.ask_other("sqs")[1]
            assert not hanging.done()
        assert hanging.result()[1]


def test_two_network_actions_do_not_run_on_a_task_in_parallel(pair: Pair) -> None:
    """The second action fails with the ECS agent's message, as the user guide documents.

    Actions that follow one another are accepted.
    """
    late = pair.action("network-latency", duration="PT30S")
    loss = pair.action("network-packet-loss", duration="PT30S")
    experiment = pair.rig.run(actions={"late": late, "loss": loss}, targets=pair.targets)
    assert experiment["state"]["error"]["code"] == "ConfigurationFailure"
    assert "There is already one network" in experiment["state"]["reason"]
    first = pair.action("network-latency", duration="PT0.1S")
    then = pair.action("network-packet-loss", "first", duration="PT0.1S")
    experiment = pair.rig.run(actions={"first": first, "then": then}, targets=pair.targets)
    assert experiment["state"]["status"] == "completed", experiment["state"]
    assert pair.rig.open_entries() == []


def test_packet_loss_costs_the_task_retransmissions(pair: Pair) -> None:
    """Some of the task's answers are late by 200 ms or more, and the other task's answers are in time."""
    with pair.fault("network-packet-loss", lossPercent="80"):
        times = pair.through_balancer(24, timeout_s=1.5)
        in_time = sum(took_s < 0.2 for took_s in times[pair.hit])
        assert len(times[pair.other]) - in_time >= 3
        assert statistics.median(times[pair.other]) < IN_TIME_S
    assert statistics.median(pair.through_balancer(6)[pair.hit]) < IN_TIME_S


def test_a_blackholed_ingress_port_hangs_until_it_is_undone(pair: Pair) -> None:
    """Requests to the task hang, requests to the other task are answered, and the task itself still reaches AWS."""
    with pair.fault("network-blackhole-port", port="8080", trafficType="ingress"):
        times = pair.through_balancer(6, timeout_s=0.8)
        assert times[pair.hit] == []
        assert len(times[pair.other]) >= 2
        assert pair.ask_hit("sqs")[1]["task"] == pair.hit
    assert pair.through_balancer(6)[pair.hit]


def test_a_blackholed_egress_port_cuts_the_task_from_aws(pair: Pair) -> None:
    """The task's call hangs and completes after the experiment.

    Clients still reach the task, and the other task still reaches AWS.
    """
    with ThreadPoolExecutor(1) as pool:
        with pair.fault("network-blackhole-port", port="443", trafficType="egress", protocol="tcp"):
            hanging = pool.submit(pair.ask_hit, "sqs")
            assert pair.ask_other("sqs")[1]["task"] == pair.other
            assert pair.through_balancer(4)[pair.hit]
            time.sleep(0.3)
            assert not hanging.done()
        assert hanging.result()[1]["task"] == pair.hit


def test_stress_that_an_alarm_stops_leaves_no_process_stopped(pair: Pair) -> None:
    """The stress freezes all processes of the task.

    A stop condition ends it like a stop by the user, and all processes continue.
    """
    alarm, stress = pair.rig.alarm(), pair.template("cpu-stress", duration="PT20S", workers="8")
    pids = processes(pair.hit)
    assert pids
    experiment_id = pair.rig.running(**stress, stopConditions=stop_on(alarm))
    wait_until(lambda: {state(pid) for pid in pids} == {"T"}, "the whole task is frozen")
    pair.rig.set_alarm(alarm, "ALARM")
    ended = pair.rig.end(experiment_id)
    assert (ended["state"]["status"], pair.rig.open_entries()) == ("stopped", [])
    assert "T" not in [state(pid) for pid in pids for _ in range(20) if not time.sleep(0.01)]


def test_a_process_is_killed_by_name_in_the_task_only(pair: Pair) -> None:
    """The child named `sleep` gets the signal. Its parent and the other task's child keep running."""
    experiment = pair.rig.run(**pair.template("kill-process", processName="sleep", signal="SIGUSR1"))
    assert experiment["state"]["status"] == "completed", experiment["state"]
    wait_until(lambda: pair.ask_hit()[1]["child"] == -signal.SIGUSR1, "the child is gone")
    assert pair.ask_other()[1]["child"] is None


def test_a_stressed_task_starves_and_its_neighbour_does_not(pair: Pair) -> None:
    """20 ms of CPU time take the task several periods. The other task is not slower, and the task recovers at once."""
    spent_before = os.times()
    with pair.fault("cpu-stress"):
        hit = statistics.median(pair.ask_hit("burn")[0] for _ in range(5))
        other = statistics.median(pair.ask_other("burn")[0] for _ in range(5))
        assert hit > 2 * other
        assert hit > 0.1
    assert os.times().user - spent_before.user < 2
    assert statistics.median(pair.ask_hit("burn")[0] for _ in range(5)) < hit


def test_a_stressed_task_can_still_be_stopped(pair: Pair) -> None:
    """StopTask ends the task in its usual time, and the experiment completes."""
    network = {"awsvpcConfiguration": {"subnets": pair.subnets}}
    run = {"taskDefinition": pair.name, "networkConfiguration": network, "launchType": "FARGATE"}
    arn = pair.ecs.run_task(cluster=pair.name, **run)["tasks"][0]["taskArn"]

    def status() -> str:
        return pair.ecs.describe_tasks(cluster=pair.name, tasks=[arn])["tasks"][0]["lastStatus"]

    wait_until(lambda: status() == "RUNNING", "running", UP_S_MAX)
    template = pair.template("cpu-stress", duration="PT1S")
    template["targets"]["Tasks"]["resourceArns"] = [arn]
    experiment_id = pair.rig.running(**template)
    pair.ecs.stop_task(cluster=pair.name, task=arn)
    wait_until(lambda: status() == "STOPPED", "stopped", UP_S_MAX)
    assert processes(arn) == []
    assert pair.rig.end(experiment_id)["state"]["status"] == "completed"


@pytest.mark.slow
def test_a_task_that_is_blackholed_for_long_is_replaced(rig: FisRig) -> None:
    """ECS stops the task with the load balancer's reason, which the effect check needs."""
    pair = Pair(rig, failed_checks_max=2)
    try:
        with pair.fault("network-blackhole-port", port="8080", trafficType="ingress"):
            wait_until(lambda: "failed ELB health checks" in stopped_reason(pair), "replaced", 3 * UP_S_MAX)
    finally:
        pair.close()


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
def test_a_fault_without_effect_fails_with_its_reason(
    pair: Pair, kind: str, parameters: dict[str, str], named: str
) -> None:
    """The error is a ConfigurationFailure that names the value, and no change is left in force."""
    experiment = pair.rig.run(**pair.template(kind, **parameters))
    assert experiment["state"]["status"] == "failed"
    assert experiment["state"]["error"]["code"] == "ConfigurationFailure"
    assert named in experiment["state"]["reason"]
    assert pair.rig.open_entries() == []
