"""Test the decisions of rolling deployments, without processes."""

from __future__ import annotations

import time
from typing import Any

from kit.local.ecs.placement import Subnet, choose_subnet
from kit.local.ecs.rollout_plan import Plan, plan
from kit.local.ecs.tasks import Task
from kit.local.ecs.timing import Timing
from kit.local.ecs.wire import containers

A = Subnet(id="subnet-a", zone="a", vpc="v", cidr="10.0.0.0/24")
B = Subnet(id="subnet-b", zone="b", vpc="v", cidr="10.0.1.0/24")
DEFINITION = {"taskDefinitionArn": "arn", "family": "f", "revision": 1, "containerDefinitions": []}


def task(deployment: str, *, healthy: bool = True, subnet: Subnet = A, bad: str = "", at: float = 0.0) -> Task:
    return Task(
        id=f"{deployment}{at}", account="0", region="r", cluster="c", definition=DEFINITION, subnet=subnet, ip="",
        mac="", access_key="", secret_key="", containers=containers(DEFINITION, None), tags={},
        deployment_id=deployment, healthy=healthy, unhealthy_reason=bad, created_at=at,
    )  # fmt: skip


def decide(tasks: list[Task], desired: int = 4, low: int = 100, high: int = 200, **fields: Any) -> Plan:
    return plan(
        desired=desired, minimum_percent=low, maximum_percent=high, primary_id="new", tasks=tasks, **fields
    )  # fmt: skip


def test_a_complete_deployment_needs_no_step() -> None:
    assert decide([task("new") for _ in range(4)]) == Plan()


def test_new_tasks_start_first_when_the_maximum_allows() -> None:
    assert decide([task("old") for _ in range(4)]) == Plan(start=4)


def test_old_tasks_stop_first_when_the_maximum_forbids_more() -> None:
    step = decide([task("old") for _ in range(4)], low=50, high=100)
    assert (step.start, len(step.stop)) == (0, 2)


def test_as_many_old_tasks_stop_as_new_ones_are_healthy() -> None:
    old, new = [task("old") for _ in range(4)], [task("new"), task("new"), task("new", healthy=False)]
    step = decide(old + new)
    assert step.start == 1 and len(step.stop) == 2 and all(t in old for t in step.stop)


def test_a_failed_deployment_stops_no_old_task() -> None:
    assert decide([task("old") for _ in range(4)], may_start=False) == Plan()


def test_an_unhealthy_task_is_replaced_before_it_is_stopped() -> None:
    bad = task("new", healthy=False, bad="Task failed ELB health checks")
    good = [task("new") for _ in range(3)]
    assert decide([bad, *good]) == Plan(start=1)
    assert decide([bad, *good, task("new", healthy=False)]) == Plan()
    assert decide([bad, *good, task("new")]) == Plan(stop=(bad,))


def test_an_unhealthy_task_makes_room_when_the_maximum_is_reached() -> None:
    bad = task("new", healthy=False, bad="Task failed ELB health checks")
    assert decide([bad, *(task("new") for _ in range(3))], high=100) == Plan(stop=(bad,))


def test_scaling_in_takes_from_the_fullest_zone() -> None:
    tasks = [task("new", subnet=A, at=1.0), task("new", subnet=A, at=2.0), task("new", subnet=B, at=3.0)]
    assert decide(tasks, desired=2).stop == (tasks[1],)


def protected(one: Task) -> Task:
    one.protected_until = time.time() + 60
    return one


def test_scaling_in_leaves_protected_tasks_alone() -> None:
    tasks = [protected(task("new", at=3.0)), task("new", at=1.0), protected(task("new", at=2.0))]
    assert decide(tasks, desired=2).stop == (tasks[1],)
    assert decide(tasks, desired=0).stop == (tasks[1],)
    tasks[0].protected_until = time.time() - 1
    assert sorted(each.id for each in decide(tasks, desired=0).stop) == ["new1.0", "new3.0"]


def test_a_deployment_waits_for_protected_tasks() -> None:
    old = [protected(task("old")), task("old")]
    assert decide([*old, task("new"), task("new")], desired=2).stop == (old[1],)


def test_an_unhealthy_task_is_replaced_although_it_is_protected() -> None:
    bad = protected(task("new", healthy=False, bad="Task failed ELB health checks"))
    assert decide([bad, task("new")], desired=1).stop == (bad,)


def test_a_task_goes_to_the_zone_with_the_fewest() -> None:
    assert choose_subnet([A, B], []) is A
    assert choose_subnet([A, B], ["subnet-a"]) is B
    assert choose_subnet([A, B], ["subnet-a", "subnet-b", "subnet-b"]) is A


def test_the_throttling_wait_doubles_up_to_its_limit() -> None:
    timing = Timing(failed_starts_free=3, backoff_s=1.0, backoff_s_max=5.0)
    assert [timing.backoff_after(n) for n in range(1, 9)] == [0, 0, 0, 1, 2, 4, 5, 5]
    assert timing.backoff_after(10_000) == 5.0
