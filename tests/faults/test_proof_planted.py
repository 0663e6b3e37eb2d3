"""Test proofs from PaperBroker's metrics: real effects are proven, and similar disturbances are not.

Each case plants the metrics of a fault with or without its effect into a real local CloudWatch.
"""

from __future__ import annotations

import itertools
import random
import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kit import aws, collect
from kit.aws.session import Credentials
from kit.aws.session import local_session as local_session_of
from kit.collect.metric_points import COMPONENTS, VISIBLE_S_MAX
from kit.faults import tasks
from kit.faults.proofs import EVIDENCE_SOURCES, Proof, proof_of
from kit.faults.tasks import TaskStop
from tests.faults.planted_metrics import (
    AFTER_S,
    BEFORE_S,
    FAULT_S,
    HERE,
    PUBLISH_S,
    SHAPES,
    THERE,
    Active,
    Broker,
    in_force,
    subnet,
    task,
)

pytestmark = pytest.mark.slow

LATENCY, LOSS = "aws:ecs:task-network-latency", "aws:ecs:task-network-packet-loss"
CUT, STRESS, KILL = "aws:network:disrupt-connectivity", "aws:ecs:task-cpu-stress", "aws:ecs:task-kill-process"
SSM = "aws:ssm:start-automation-execution"
QUEUE_LOST = {"lossPercent": 100, "sources": "sqs.us-east-1.amazonaws.com"}
NUMBERS = itertools.count(1)
# The targets end after so many seconds of the fault.
REPLACED_S = 12.0
# Shapes that must not prove the effect.
FALSE_SHAPES = ("null", "wrong-zone", "began-before", "just-before", "burst", "half-done")


@pytest.fixture
def broker(local_session: aws.Session) -> Callable[..., Broker]:
    """Publish a PaperBroker's past metrics under an Env of its own."""

    def make(**more: Any) -> Broker:
        begin = time.time() - BEFORE_S - FAULT_S - AFTER_S
        return Broker(session=local_session, env=f"planted-{next(NUMBERS)}", begin=begin, **more)

    return make


def is_whole(proof: Proof, broker: Broker) -> bool:
    """Seen in the fault's time and healed soon after it."""
    assert proof.observed_at is not None and proof.healed_at is not None, proof.detail
    return (
        broker.start <= proof.observed_at <= broker.end + PUBLISH_S
        and broker.end <= proof.healed_at <= broker.end + 3 * PUBLISH_S
    )


KINDS = {
    "latency": (LATENCY, {"delayMilliseconds": 300, "sources": "DYNAMODB"}, "slow", {}),
    "latency-of-the-queue": (
        LATENCY, {"delayMilliseconds": 300, "sources": "sqs.us-east-1.amazonaws.com"}, "slow", {"kind": "Queue"},
    ),
    "loss": (LOSS, {"lossPercent": 30, "sources": "us-east-1b,DYNAMODB"}, "slow", {"share": 0.3, "added_ms": 400}),
    "total-loss": (LOSS, QUEUE_LOST, "failing", {"kind": "Queue"}),
    "starved": (STRESS, {"percent": 80}, "slow", {"added_ms": 90, "share": 0.7}),
    "frozen": (KILL, {"processName": "python", "signal": "SIGSTOP"}, "silent", {}),
    "all-traffic-lost": (LOSS, {"lossPercent": 100, "sources": "ALL"}, "silent", {}),
    "egress": ("aws:ecs:task-network-blackhole-port", {"port": 443, "trafficType": "egress"}, "silent", {}),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("noise", [0.01, 0.06])
def test_an_effect_at_the_targets_is_proven_and_seen_healed(kind: str, noise: float, broker: Callable[..., Broker]):
    """This holds on a quiet machine, and on one where one call in sixteen is slow for no reason."""
    action_id, parameters, effect, more = KINDS[kind]
    planted = broker(noise=noise)
    planted.publish(**{effect: in_force}, **more)
    assert is_whole(planted.prove(action_id, parameters=parameters), planted)


@pytest.mark.parametrize("shape", FALSE_SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_only_looks_like_the_effect_proves_nothing(kind: str, shape: str, broker: Callable[..., Broker]):
    action_id, parameters, effect, more = KINDS[kind]
    planted = broker(noise=0.03)
    planted.publish(**{effect: SHAPES[shape]}, **more)
    found = planted.prove(action_id, parameters=parameters)
    assert found.observed_at is None, found.detail
    assert found.detail


@pytest.mark.parametrize("kind", KINDS)
def test_an_effect_that_stays_is_never_healed(kind: str, broker: Callable[..., Broker]):
    action_id, parameters, effect, more = KINDS[kind]
    planted = broker()
    planted.publish(**{effect: SHAPES["never-healed"]}, **more)
    found = planted.prove(action_id, parameters=parameters)
    assert found.observed_at is not None and found.healed_at is None, found.detail
    assert "never seen" in found.detail


@pytest.mark.parametrize("kind", KINDS)
def test_an_effect_that_neighbours_show_too_is_not_the_actions(kind: str, broker: Callable[..., Broker]):
    """The machine is slow for a while, or a service or CloudWatch does not answer for a while."""
    action_id, parameters, effect, more = KINDS[kind]
    planted = broker()
    planted.publish(**{effect: SHAPES["everywhere"]}, **more)
    assert planted.prove(action_id, parameters=parameters).observed_at is None


def test_a_component_that_hardly_calls_is_left_out_but_not_all_of_them(broker: Callable[..., Broker]):
    """An idle relay is ignored. If it is the only component, the fault is unproven."""
    planted = broker()
    planted.publish(slow=in_force)
    parameters = {"delayMilliseconds": 300, "sources": "DYNAMODB"}
    busy = [task("api"), task("matcher")]
    found = planted.prove(LATENCY, parameters=parameters, targets=[*busy, task("relay")])
    assert is_whole(found, planted) and "relay" not in found.detail
    alone = planted.prove(LATENCY, parameters=parameters, targets=[task("relay")])
    assert alone.observed_at is None and "relay in us-east-1a: no store call before the fault" in alone.detail


def test_the_detail_gives_the_added_latency_in_numbers(broker: Callable[..., Broker]):
    planted = broker()
    planted.publish(slow=in_force)
    detail = planted.prove(LATENCY, parameters={"delayMilliseconds": 300, "sources": "DYNAMODB"}).detail
    told = re.search(r"api in us-east-1a, median (\d+) → (\d+) ms: ([\d.]+) % of \d+ calls", detail)
    assert told is not None, detail
    before_ms, during_ms, share = (float(number) for number in told.groups())
    # The first publish after the start also covers calls from before it.
    assert before_ms < 20 and 290 <= during_ms <= 330 and share > 95, detail


@pytest.mark.parametrize(
    ("scope", "effect"),
    [("dynamodb", {"failing": in_force}), ("vpc", {"silent": in_force})],
)
def test_a_cut_subnet_is_proven_by_what_its_scope_cuts(scope: str, effect: Any, broker: Callable[..., Broker]):
    planted = broker()
    planted.publish(**effect)
    assert is_whole(planted.prove(CUT, parameters={"scope": scope}, targets=[subnet()]), planted)
    assert planted.prove(CUT, parameters={"scope": scope}, targets=[subnet(THERE)]).observed_at is None


def test_a_scope_that_nothing_calls_stays_unproven(broker: Callable[..., Broker]):
    found = broker().prove(CUT, parameters={"scope": "s3"}, targets=[subnet()])
    assert (found.observed_at, found.detail) == (None, "scope s3: PaperBroker makes no calls that this scope cuts")


def test_continuing_a_stopped_process_is_proven_by_the_end_of_its_silence(broker: Callable[..., Broker]):
    """The process is stopped for twenty of the thirty seconds. Each action has its own proof."""
    planted = broker()
    planted.publish(silent=lambda component, zone, s: zone == HERE and 0 <= s < 20)
    signal = {"processName": "python"}
    freeze = planted.action(KILL, name="Freeze", parameters={**signal, "signal": "SIGSTOP"}, end=planted.start + 0.1)
    thaw = planted.action(KILL, name="Thaw", parameters={**signal, "signal": "SIGCONT"}, start=planted.start + 20)
    context = planted.context(freeze, thaw)
    frozen, thawed = (proof_of(context, action) for action in (freeze, thaw))
    assert frozen.observed_at is not None and frozen.healed_at is not None, frozen.detail
    assert planted.start + 20 <= frozen.healed_at <= planted.start + 20 + PUBLISH_S
    assert thawed.observed_at == thawed.healed_at == frozen.healed_at
    alone = proof_of(planted.context(thaw), thaw)
    assert (alone.observed_at, alone.detail) == (None, "no earlier action stopped its targets")


FREEZE = {"processName": "python", "signal": "SIGSTOP"}
# In a brief run each task has published three heartbeats, in ten seconds of steady state, when the fault begins.
BRIEF_STEADY_S = 15.0
# How long a brief freeze may last; in less than this no two heartbeats are due.
FREEZES_S = (13.0, 15.0, 17.0, 20.0, 25.0)


@pytest.mark.parametrize("seed", range(6))
def test_few_heartbeats_do_not_make_a_disarmed_freeze_a_silence(seed: int, broker: Callable[..., Broker]):
    """Three heartbeats have only two intervals, whenever the tasks publish and however long the freeze was to last."""
    planted = broker(dice=random.Random(seed))
    planted.publish(silent=lambda component, zone, s: s < -BRIEF_STEADY_S)
    for freeze_s in FREEZES_S:
        freeze = planted.action(KILL, parameters=FREEZE, end=planted.start + freeze_s)
        found = proof_of(planted.context(freeze), freeze)
        assert found.observed_at is None, found.detail
        assert "heartbeats in" in found.detail


@pytest.mark.parametrize("freeze_s", FREEZES_S)
def test_a_freeze_after_few_heartbeats_is_proven(freeze_s: float, broker: Callable[..., Broker]):
    planted = broker()
    planted.publish(silent=lambda component, zone, s: s < -BRIEF_STEADY_S or (zone == HERE and 0 <= s < freeze_s))
    freeze = planted.action(KILL, parameters=FREEZE, end=planted.start + freeze_s)
    found = proof_of(planted.context(freeze), freeze)
    assert found.observed_at is not None and found.healed_at is not None, found.detail


def between(start: float, end: float, zones: str = HERE) -> Active:
    return lambda component, zone, s: zone in zones and start <= s < end


PART_S = 10.0


@pytest.mark.parametrize(("slow", "lossy"), [(True, True), (True, False), (False, True), (False, False)])
def test_short_actions_that_follow_each_other_have_separate_proofs(
    slow: bool, lossy: bool, broker: Callable[..., Broker]
):
    """Both actions make calls equally slow, but the effect of one must not prove the other."""
    planted = broker()
    planted.publish(slow=between(0, PART_S) if slow else None, lossy=between(PART_S, 2 * PART_S) if lossy else None)
    middle, end = planted.start + PART_S, planted.start + 2 * PART_S
    first = planted.action(LATENCY, name="First", end=middle, parameters={"delayMilliseconds": 300})
    second = planted.action(LOSS, name="Second", start=middle, end=end, parameters={"lossPercent": 30})
    context = planted.context(first, second)
    found = [proof_of(context, action) for action in (first, second)]
    assert [proof.observed_at is not None for proof in found] == [slow, lossy], found
    assert [proof.healed_at is not None for proof in found] == [slow, lossy], found


@pytest.mark.parametrize(("near", "far"), [(True, True), (True, False), (False, True)])
def test_a_cut_that_grows_is_proven_step_by_step(near: bool, far: bool, broker: Callable[..., Broker]):
    """First one zone is cut, then both. Hanging calls fail up to six seconds after the end of their cut."""
    planted = broker()
    planted.publish(
        failing=lambda component, zone, s: (
            (near and between(0, PART_S + 5)(component, zone, s))
            or (far and between(PART_S, 2 * PART_S, HERE + THERE)(component, zone, s))
        ),
        kind="Queue",
    )
    middle, end = planted.start + PART_S, planted.start + 2 * PART_S
    zone = planted.action(LOSS, name="Zone", end=middle, parameters=QUEUE_LOST)
    whole = planted.action(LOSS, name="Whole", start=middle, end=end, parameters=QUEUE_LOST, targets=["All"])
    here = [task(component) for component in planted.components]
    everywhere = [task(component, zone, "All") for component in planted.components for zone in (HERE, THERE)]
    context = planted.context(zone, whole, targets=[*here, *everywhere])
    assert (proof_of(context, zone).observed_at is not None) is near
    assert (proof_of(context, whole).observed_at is not None) is far


@pytest.mark.parametrize("leaves_after_s", [None, REPLACED_S])
def test_targets_that_are_replaced_count_until_they_stop(
    leaves_after_s: float | None, broker: Callable[..., Broker], monkeypatch: pytest.MonkeyPatch
):
    """A deployment during the fault starts new API tasks in the zone. They are not targets, and they are fast."""
    planted = broker()
    planted.publish(
        slow=lambda component, zone, s: in_force(component, zone, s) and (component != "api" or s < REPLACED_S)
    )
    latency = planted.action(LATENCY, parameters={"delayMilliseconds": 300, "sources": "DYNAMODB"})
    deploy = planted.action(SSM, name="Deploy", targets=[])
    at = None if leaves_after_s is None else planted.start + leaves_after_s
    stop = TaskStop(arn="", service="", zone="", code="", reason="", exit_code=0, stopped_at=at, stopping_at=at)
    monkeypatch.setattr(tasks, "describe", lambda *_: {"arn:api": stop, "arn:matcher": None})
    found = proof_of(planted.context(latency, deploy), latency)
    assert (found.observed_at is not None and found.healed_at is not None) is (leaves_after_s is not None), found


# Scenario.evidence → what the evidence source then has to see.
EVIDENCE = {
    "store-latency": {"slow": in_force},
    "queue-latency": {"slow": in_force, "kind": "Queue"},
    "store-errors": {"failing": in_force},
    "queue-errors": {"failing": in_force, "kind": "Queue"},
    "store-throttled": {"counting": {"StoreThrottled": in_force}},
    "shed": {"counting": {"Shed": in_force}},
}


@pytest.mark.parametrize("source", EVIDENCE)
def test_an_automation_is_proven_by_the_evidence_that_its_scenario_names(source: str, broker: Callable[..., Broker]):
    planted = broker()
    planted.publish(**EVIDENCE[source])
    assert is_whole(planted.prove(SSM, targets=[], evidence={"Hit": source}), planted)


@pytest.mark.parametrize("source", EVIDENCE)
def test_an_automation_that_did_nothing_has_no_evidence(source: str, broker: Callable[..., Broker]):
    planted = broker(noise=0.03)
    planted.publish()
    assert planted.prove(SSM, targets=[], evidence={"Hit": source}).observed_at is None


def test_without_a_known_evidence_source_an_automation_stays_unproven(broker: Callable[..., Broker]):
    """An automation can do anything, so no general proof exists."""
    planted = broker()
    said = planted.prove(SSM, targets=[]).detail
    assert said == "its document may do anything: the scenario names no evidence"
    unknown = planted.prove(SSM, targets=[], evidence={"Hit": "luck"}).detail
    assert "'luck'; known: api-replaced, client-latency" in unknown


def test_scenarios_may_name_exactly_the_evidence_sources():
    assert set(EVIDENCE_SOURCES) == {*EVIDENCE, "api-replaced", "client-latency", "silence"}


def test_evidence_that_cannot_be_read_is_no_evidence(broker: Callable[..., Broker]):
    """If CloudWatch cannot be reached, the fault is unproven, and the rest of the verdict is not affected."""
    planted = broker()
    credentials = Credentials(access_key="k", secret_key="s")
    gone = collect.Meters(session=local_session_of("http://127.0.0.1:9", "us-east-1", credentials))
    action = planted.action(LATENCY, parameters={"sources": "DYNAMODB"})
    found = proof_of(replace(planted.context(action), meters=gone), action)
    assert found.observed_at is None and "its evidence could not be read: metric PaperBroker" in found.detail


def test_meters_wait_for_the_last_publish_but_not_for_ever(broker: Callable[..., Broker]):
    planted = broker(components=COMPONENTS)
    planted.publish()
    deployment = planted.context(planted.action(LATENCY)).deployment
    clock = [planted.stop]
    meters = collect.Meters(
        session=planted.session, now=lambda: clock[0], sleep=lambda s: clock.__setitem__(0, clock[0] + s)
    )
    assert meters.settle(deployment, planted.end)
    assert not meters.settle(deployment, planted.stop + 3600)
    assert clock[0] - planted.stop >= VISIBLE_S_MAX
