"""Test alarms, the circuit breaker and the history of deployments, without processes and on a clock of the test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from kit.local.ecs.deployment_alarms import AlarmState
from kit.local.ecs.deployment_controller import DeploymentController
from kit.local.ecs.ecs_services import Deployment, DeploymentLimits, RolloutState, Service
from kit.local.ecs.placement import Subnet
from kit.local.ecs.tasks import Status, Task
from kit.local.ecs.timing import Timing
from kit.local.ecs.wire import containers

SUBNET = Subnet(id="subnet-a", zone="a", vpc="v", cidr="10.0.0.0/24")
ALARMS = {"alarms": {"alarmNames": ["errors"], "enable": True, "rollback": True}}
BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}


def definition(revision: int) -> dict[str, Any]:
    return {"taskDefinitionArn": f"web:{revision}", "family": "web", "revision": revision, "containerDefinitions": []}


@dataclass
class World:
    """A service whose tasks run at once, and one alarm. Each `step` is one step of the controller."""

    limits: dict[str, Any]
    alarm: AlarmState = field(default_factory=lambda: AlarmState(state="OK", span_s=0.0))
    tasks: list[Task] = field(default_factory=list)
    service: Service = field(init=False)

    def __post_init__(self) -> None:
        self.service = Service(
            name="api", account="0", region="r", cluster="c", desired=2, subnets=(SUBNET,),
            deployments=[Deployment(definition=definition(1), desired=2)], limits=DeploymentLimits.of(self.limits),
        )  # fmt: skip
        self.controller = DeploymentController(
            timing=Timing(stable_s=0.0), tasks_of=lambda _: self.tasks, launch=self.launch,
            target_health=lambda *_: "healthy", find_alarm=lambda *_: self.alarm,
        )  # fmt: skip

    def launch(self, **fields: Any) -> Task:
        wanted = {"deployment_id", "definition", "service"}
        task = Task(
            id=f"t{len(self.tasks)}", account="0", region="r", cluster="c", subnet=SUBNET, ip="", mac="",
            access_key="", secret_key="", containers=containers(definition(1), None), tags={},
            status=Status.RUNNING, **{name: value for name, value in fields.items() if name in wanted},
        )  # fmt: skip
        self.tasks.append(task)
        return task

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self.controller.advance(self.service)
            for task in self.tasks:
                if not task.live:
                    task.status = Status.STOPPED

    def running(self) -> set[str]:
        """Return the revisions that run."""
        return {task.definition_arn for task in self.tasks if task.running}


def play(scenario: Callable[[World], Coroutine[Any, Any, None]], **limits: Any) -> None:
    async def whole() -> None:
        world = World(limits)
        world.step(3)
        assert world.service.primary.rollout is RolloutState.COMPLETED
        await scenario(world)

    asyncio.run(whole())


def test_an_alarm_during_a_deployment_fails_it_and_brings_the_last_one_back() -> None:
    async def scenario(world: World) -> None:
        first = world.service.primary
        world.service.deploy(definition(2))
        world.step()
        assert "web:2" in world.running()
        world.alarm = AlarmState(state="ALARM", span_s=0.0)
        world.step()
        assert world.service.primary is first
        assert list(world.service.failed_reasons.values()) == ["ECS deployment alarm: alarm detected."]
        assert any("rolling back to" in event["message"] for event in world.service.events)
        world.step(5)
        assert (first.rollout, world.running()) == (RolloutState.COMPLETED, {"web:1"})
        history = world.service.history[0]
        assert (history.status, history.alarms["triggeredAlarmNames"]) == ("ROLLBACK_SUCCESSFUL", ["errors"])
        assert history.rollback is not None
        assert history.rollback["serviceRevisionArn"] == world.service.revisions[first.id].arn

    play(scenario, **ALARMS)


def test_the_history_tells_of_the_alarm_while_the_last_deployment_is_brought_back() -> None:
    async def scenario(world: World) -> None:
        world.service.deploy(definition(2))
        world.step()
        for task in world.tasks[:2]:
            # The old tasks are gone, so that the way back takes more than one step.
            task.request_stop("", "")
            task.status = Status.STOPPED
        world.alarm = AlarmState(state="ALARM", span_s=0.0)
        for _ in range(4):
            world.step()
            assert world.service.history[0].alarms["triggeredAlarmNames"] == ["errors"]
        assert world.running() == {"web:1"}

    play(scenario, **ALARMS)


def test_without_rollback_a_failed_deployment_starts_no_further_task() -> None:
    async def scenario(world: World) -> None:
        world.service.deploy(definition(2))
        world.step()
        world.alarm = AlarmState(state="ALARM", span_s=0.0)
        count = len(world.tasks)
        world.step(5)
        assert (world.service.primary.rollout, len(world.tasks)) == (RolloutState.FAILED, count)
        assert world.service.history[0].status == "STOPPED"

    play(scenario, alarms={**ALARMS["alarms"], "rollback": False})


def test_an_alarm_that_was_on_before_the_deployment_does_not_fail_it() -> None:
    """A deployment that repairs what the alarm shows must be possible."""

    async def scenario(world: World) -> None:
        world.alarm = AlarmState(state="ALARM", span_s=0.0)
        world.service.deploy(definition(2))
        world.step(5)
        assert (world.service.primary.rollout, world.running()) == (RolloutState.COMPLETED, {"web:2"})
        assert world.service.history[0].alarms["status"] == "DISABLED"

    play(scenario, **ALARMS)


def test_alarms_are_watched_for_their_span_after_the_tasks_were_replaced() -> None:
    async def scenario(world: World) -> None:
        world.alarm = AlarmState(state="OK", span_s=3600.0)
        world.service.deploy(definition(2))
        world.step(5)
        assert (world.service.primary.rollout, world.running()) == (RolloutState.IN_PROGRESS, {"web:2"})
        world.alarm = AlarmState(state="ALARM", span_s=3600.0)
        world.step(6)
        assert world.running() == {"web:1"}

    play(scenario, **ALARMS)


def test_an_alarm_that_is_not_enabled_changes_nothing() -> None:
    async def scenario(world: World) -> None:
        world.service.deploy(definition(2))
        world.step()
        world.alarm = AlarmState(state="ALARM", span_s=3600.0)
        world.step(5)
        assert world.service.primary.rollout is RolloutState.COMPLETED

    play(scenario, alarms={**ALARMS["alarms"], "enable": False})


def test_the_circuit_breaker_counts_failed_tasks_and_rolls_back() -> None:
    async def scenario(world: World) -> None:
        first = world.service.primary
        world.service.deploy(definition(2))
        world.step()
        broken = [task for task in world.tasks if task.definition_arn == "web:2"]
        for task in (*broken, *broken):
            task.failed_start = True
            world.controller.count_failure(world.service, task)
        world.step(6)
        assert world.service.primary is first
        history = world.service.history[0]
        assert (history.breaker, history.failure_count, history.threshold) == ("TRIGGERED", 4, 3)
        assert history.status == "ROLLBACK_SUCCESSFUL"

    play(scenario, **BREAKER)


def test_a_service_on_instances_starts_no_task_and_says_why() -> None:
    async def whole() -> None:
        world = World({})
        world.service.launch_type = "EC2"
        world.step(3)
        assert world.tasks == []
        events = [event["message"] for event in world.service.events]
        assert len(events) == 1
        assert "No Container Instances were found" in events[0]

    asyncio.run(whole())


def test_a_new_deployment_ends_the_one_before_in_the_history() -> None:
    async def scenario(world: World) -> None:
        world.service.deploy(definition(2))
        world.service.deploy(definition(3))
        world.step(6)
        assert [each.status for each in world.service.history] == ["SUCCESSFUL", "STOPPED", "SUCCESSFUL"]
        newest = world.service.history[0].describe(
            service_arn="s", cluster_arn="c", configuration={}, tasks=world.tasks
        )  # fmt: skip
        assert newest["targetServiceRevision"]["runningTaskCount"] == 2

    play(scenario)
